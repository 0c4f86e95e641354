import { explore } from "./explorer.js";
import { makeModel } from "./model.js";
import { mutants } from "./mutants.js";
import { daemonRules } from "./rules.js";
import { faultKinds } from "./world.js";

// Exhaustive within small bounds; `npm run model` has the large ones.
const most = 400_000;

describe("every state of a small cluster, whatever is late, lost, cut, stopped or killed", () => {
  test.each([
    { nodes: 2, faults: 1, moves: 1, kinds: faultKinds, least: 20_000 },
    { nodes: 3, faults: 1, moves: 0, kinds: faultKinds, least: 10_000 },
    { nodes: 2, faults: 2, moves: 0, kinds: ["power", "cut"] as const, least: 5_000 },
  ] as const)("$nodes nodes, $faults faults of $kinds, $moves moves: one writer, nothing acknowledged lost, a move done or undone, served in the end", ({ nodes, faults, moves, kinds, least }) => {
    const { violation, exhausted, states, healS } = explore(makeModel({ nodes, faults, moves, kinds, rules: daemonRules }), { most });
    expect([violation?.what, ...(violation?.trace ?? [])]).toEqual([undefined]);
    expect(exhausted).toBe(true);
    // the faults do reach the mechanism
    expect(states).toBeGreaterThan(least);
    // 8 s of silence, and one or two turns for seal, promotion and start
    expect(healS?.["one node away for good"]).toBeLessThanOrEqual(12);
  });
});

describe("a broken rule is found", () => {
  test.each(mutants)("$name", ({ rules, bounds, says }) => {
    const { violation } = explore(makeModel({ ...bounds, rules: { ...daemonRules, ...rules } }), { most });
    expect(violation?.what).toMatch(says);
    // short enough to be read
    expect(violation?.trace.length).toBeLessThan(60);
  });
  test("and by the rules as they are nothing is, within the same bounds", () => {
    for (const { name, bounds } of mutants.filter((one) => one.bounds.faults <= 2)) {
      const { violation } = explore(makeModel({ ...bounds, rules: daemonRules }), { most });
      expect([name, violation?.what]).toEqual([name, undefined]);
    }
  });
});
