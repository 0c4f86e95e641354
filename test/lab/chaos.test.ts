import { chaos } from "../chaos/run.js";
import { faultKinds, faultsOf, faultText } from "../chaos/faults.js";

// A short run of `npm run chaos`: real nodes, real faults, every record checked. Long runs are started by hand.
test("two faults of one seed: one writer, nothing lost beyond what was reported, everything healed", async () => {
  const said: string[] = [];
  const report = await chaos({ seed: 8, minutes: 3, sites: 2, faults: 2, only: ["kill", "cut", "pause-all", "kill-hcd"], tell: (line) => void said.push(line) });
  expect({ violations: report.violations, said }).toEqual({ violations: [], said: expect.anything() });
  expect(report.struck).toHaveLength(2);
  expect(report.acknowledged).toBeGreaterThan(100);
}, 600_000);

test("a seed means the same faults everywhere, each kind comes, and sites' homes are hit most", () => {
  const row = (seed: number): string[] => {
    const next = faultsOf(seed, ["n1", "n2", "n3"]);
    return Array.from({ length: 300 }, () => faultText(next(["n2"])));
  };
  expect(row(1)).toEqual(row(1));
  expect(row(1)).not.toEqual(row(2));
  expect(new Set(row(3).map((text) => text.split(" ")[0]))).toEqual(new Set(faultKinds));
  expect(row(5).filter((text) => text.split(" ")[1] === "n2").length).toBeGreaterThan(180);
  for (const text of row(6)) if (text.startsWith("cut-link")) expect(text).not.toMatch(/(n\d) and \1/);
  const inOrder = faultsOf(4, ["n1", "n2", "n3"], ["cut", "pause-hcd"], true);
  expect([inOrder(["n2"]), inOrder(["n3"]), inOrder(["n1"])].map(({ kind, node }) => `${kind} ${node}`)).toEqual(["cut n2", "pause-hcd n3", "cut n1"]);
});
