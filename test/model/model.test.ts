import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Report } from "./explorer.js";
import { mutants } from "./mutants.js";

// Exhaustive within small bounds; `npm run model` has the large ones. In a process of its own: in Jest's contexts the search is five times slower.
const model = async (...args: string[]): Promise<string[]> => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(__dirname, "main.js"), ...args], { maxBuffer: 1 << 26 }).catch((error: { stdout: string }) => error);
  return stdout.trim().split("\n");
};

describe("every state of a small cluster, whatever is late, lost, cut, stopped or killed: one writer, nothing acknowledged lost, a move done or undone, served in the end", () => {
  test.each([
    { args: "--nodes 2 --faults 1 --moves 1", least: 20_000 },
    { args: "--nodes 3 --faults 1", least: 10_000 },
    { args: "--nodes 2 --faults 2 --only power,cut,crash", least: 5_000 },
  ])("$args", async ({ args, least }) => {
    const { violation, exhausted, states, healS } = JSON.parse((await model(...args.split(" "))).at(-1) as string) as Report;
    expect([violation?.what, ...(violation?.trace ?? [])]).toEqual([undefined]);
    expect(exhausted).toBe(true);
    // the faults do reach the mechanism
    expect(states).toBeGreaterThan(least);
    // 8 s of silence, or 10 after a start, and one or two turns for seal, promotion and start
    expect(healS?.["one node away for good"]).toBeLessThanOrEqual(13);
  }, 600_000);
});

describe("a broken rule is found, and nothing by the rules as they are", () => {
  const found = new Map<string, { broken: Report; asIs?: Report }>();
  beforeAll(async () => {
    for (const line of await model("--mutants")) {
      const { name, ...reports } = JSON.parse(line) as { name: string; broken: Report; asIs?: Report };
      found.set(name, reports);
    }
  }, 600_000);
  test.each(mutants)("$name", ({ name, says }) => {
    const { broken, asIs } = found.get(name)!;
    expect(broken.violation?.what).toMatch(says);
    // short enough to be read
    expect(broken.violation?.trace.length).toBeLessThan(60);
    if (asIs !== undefined) expect([asIs.violation?.what, asIs.exhausted]).toEqual([undefined, true]);
  });
});
