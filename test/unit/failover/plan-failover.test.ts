import { StateBuilder } from "../placement/fixture.js";
import { fencedUnits } from "../../../daemon/failover/fence-routes.js";
import { lastAliveMs, nextDeathMs, planDeath, silenceOf } from "../../../daemon/failover/plan-death.js";
import { failoverRest, promoted, refusal, victims } from "../../../daemon/failover/plan-failover.js";
import { possibleLossS } from "../../../daemon/failover/possible-loss.js";
import type { ObservedNode, ObservedUnit, SessionRecord, UnitRecord } from "../../../daemon/lib/records.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";

const unit = (name: string, rest: Partial<UnitRecord> = {}): UnitRecord => ({
  version: 1, unit: `site-${name}`, kind: "site", name, home: "n1", homeGeneration: 4, epoch: 7, epochStartGuid: "70", replicas: ["n2", "n3"], state: "live",
  runtime: { platform: "linux", php: "8.2" }, origin: { template: "", version: "", guid: "" }, ...rest,
});
function state(units: UnitRecord[], dead: readonly string[] = ["n1"]): ClusterState {
  const empty = new Map();
  const sessions = new Map(["n1", "n2", "n3"].map((node, at) => [node, { revision: String(100 + at), value: { version: 1, node, generation: 4, counter: 9, ...(dead.includes(node) ? { dead: true } : {}) } }]));
  return { revision: "200", desired: empty, units: new Map(units.map((value, at) => [value.unit, { value, revision: String(50 + at) }])), sessions, nodes: empty, observedNodes: empty, observedUnits: empty, customers: empty, templates: empty, trash: empty, leader: undefined };
}

describe("death", () => {
  const silence = (ms: Record<string, number>) => (node: string): number => ms[node] ?? 0;
  test("is declared from 8.0 s of silence on, compared with the session as it was seen last", () => {
    expect(planDeath(state([], []), silence({ n1: 7_999 }))).toEqual([]);
    const [write, ...more] = planDeath(state([], []), silence({ n1: 8_000 }));
    expect(more).toEqual([]);
    expect(write).toMatchObject({ compare: [{ key: "/hc/session/n1", modRevision: "100" }], event: { event: "node-dead" } });
    expect(JSON.parse((write as { ops: { value: string }[] } | undefined)?.ops[0]?.value ?? "{}")).toEqual({ version: 1, node: "n1", generation: 4, counter: 9, dead: true });
  });
  test("tells when the node was last seen alive, for whoever leads later and never saw it", () => {
    const [write] = planDeath(state([], []), silence({ n1: 8_250 }), 1_000_000);
    const dead = JSON.parse((write as { ops: { value: string }[] } | undefined)?.ops[0]?.value ?? "{}") as SessionRecord;
    expect(dead.lastAliveAtMs).toBe(991_750);
    const never = Number.POSITIVE_INFINITY;
    expect([lastAliveMs(dead, never, 2_000_000), lastAliveMs(dead, 300, 2_000_000)]).toEqual([991_750, 991_750]);
    expect([silenceOf(dead, never, 1_060_000), silenceOf(dead, 70_000, 1_060_000), silenceOf(dead, never, 900_000)]).toEqual([68_250, 70_000, 0]);
    // written by the version before: what is not known counts as now, so that a loss is never told too small
    const { lastAliveAtMs: _at, ...older } = dead;
    expect([lastAliveMs(older, never, 2_000_000), lastAliveMs(older, 9_000, 2_000_000), silenceOf(older, never, 2_000_000)]).toEqual([2_000_000, 1_991_000, never]);
    expect(possibleLossS({ node: "n2", last: { guid: "1", atMs: 400_000 }, home: undefined, homeNode: undefined, lastAliveMs: lastAliveMs(older, never, 1_000_000) })).toBe(607);
  });
  test("is no verdict about a node that was never seen to live, and is not repeated", () => {
    expect([nextDeathMs(state([], []), silence({ n1: 7_990 })), nextDeathMs(state([], []), silence({ n1: 9_000 }))]).toEqual([10, 1]);
    expect(planDeath(state([], ["n1"]), silence({ n1: 60_000, n2: Number.POSITIVE_INFINITY }))).toEqual([]);
  });
});

describe("victims", () => {
  const alive = (node: string): boolean => node !== "n1";
  test("are live units whose home's session is dead, those with the fewest copies first", () => {
    const found = victims(state([unit("a"), unit("b", { replicas: ["n3"] }), unit("c", { home: "n2" }), unit("d", { state: "creating" }), unit("e", { state: "deleting" })]), alive);
    expect(found.map(({ unit: id, copies, session }) => [id, copies, session])).toEqual([["site-b", ["n3"], { generation: 4, revision: "100" }], ["site-a", ["n2", "n3"], { generation: 4, revision: "100" }]]);
  });
  test("have the target of a move among their copies, never the dead home", () => {
    const [found] = victims(state([unit("a", { replicas: ["n2", "n1"], move: { id: "m", target: "n3", phase: "stopping", reason: "" } })]), alive);
    expect(found?.copies).toEqual(["n2", "n3"]);
  });
});

describe("a unit that fails over again and again", () => {
  const minute = 60_000;
  const at = (...minutes: number[]): { failovers: number[] } => ({ failovers: minutes.map((one) => 1e9 + one * minute) });
  test.each<[string, { failovers: number[] }, number, object]>([
    ["four in an hour are nothing", at(0, 1, 2, 3), 4, { count: 4, restMs: 0, leftMs: 0 }],
    ["after the fifth it waits a minute", at(0, 1, 2, 3, 4), 4.5, { count: 5, restMs: minute, leftMs: minute / 2 }],
    ["and goes then", at(0, 1, 2, 3, 4), 5, { count: 5, restMs: minute, leftMs: 0 }],
    ["after the seventh four", at(0, 1, 2, 3, 4, 6, 9), 9, { count: 7, restMs: 4 * minute, leftMs: 4 * minute }],
    ["never more than ten", at(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 12, { count: 13, restMs: 10 * minute, leftMs: 10 * minute }],
    ["what is an hour ago does not count", at(0, 1, 2, 3, 4), 61, { count: 3, restMs: 0, leftMs: 0 }],
    ["a clock that is behind does not make it wait for ever: nothing is known of its last hour", at(0, 1, 2, 3, 4), -600, { count: 0, restMs: 0, leftMs: 0 }],
    ["and what comes after it counts", at(0, 1, 2, 3, 4, -604, -603, -602, -601, -600.5), -600, { count: 5, restMs: minute, leftMs: minute / 2 }],
  ])("%s", (_name, record, minutes, rest) => expect(failoverRest(record, 1e9 + minutes * minute, 5)).toEqual(rest));
  test("the program may forbid the wait", () => expect(failoverRest(at(0, 0, 0, 0, 0, 0), 1e9, 0)).toEqual({ count: 6, restMs: 0, leftMs: 0 }));
});

test("the record after a failover: epoch + 1 from the chosen snapshot, the dead home a replica, no move", () => {
  const choice = { kind: "chosen" as const, node: "n3", last: { name: "7-x", guid: "99", atMs: 1 }, tail: 0, whole: true };
  const told = { generation: 4, atMs: 1_000, lossS: 3 };
  expect(promoted(unit("a", { move: { id: "m", target: "n3", phase: "presync", reason: "" }, replicas: ["n2"], failovers: [7] }), choice, told)).toEqual(unit("a", { home: "n3", homeGeneration: 0, epoch: 8, epochStartGuid: "99", replicas: ["n2", "n1"], failovers: [7, 1000], failover: { from: "n1", epoch: 8, ...told } }));
  expect(promoted(unit("a", { move: { id: "m", target: "n3", phase: "presync", reason: "" }, replicas: ["n2"] }), { ...choice, node: "n2" }, told).replicas).toEqual(["n1"]);
});

test("policies: safe up to maxLoss, manual never by itself, force always", () => {
  expect(refusal({ policy: "safe", maxLossS: 60 }, 60, "shop")).toBe("");
  expect(refusal({ policy: "safe", maxLossS: 60 }, 61, "shop")).toMatch(/61 s of writes.*maxLoss \(60 s\).*hc promote shop/);
  expect(refusal({ policy: "manual", maxLossS: 60 }, 0, "shop")).toMatch(/manual.*hc promote shop/);
  expect(refusal({ policy: "force", maxLossS: 0 }, 9999, "shop")).toBe("");
});

describe("possible loss", () => {
  const told = (lagS: number): ObservedUnit => ({ replicas: { n2: { guid: "1", snapshot: "s", confirmedAtMs: 0, lagS, error: "" } } }) as unknown as ObservedUnit;
  const node = (unitsAtMs?: number): ObservedNode => ({ atMs: 999_000, ...(unitsAtMs === undefined ? {} : { unitsAtMs }) }) as ObservedNode;
  const of = (rest: Partial<Parameters<typeof possibleLossS>[0]>): number => possibleLossS({ node: "n2", last: { guid: "1", atMs: 100_000 }, home: undefined, homeNode: undefined, lastAliveMs: 1_000_000, ...rest });
  test("counts from the newest snapshot when the home has told nothing", () => {
    expect(of({})).toBe(907);
    expect(of({ home: told(0), homeNode: node() })).toBe(907);
  });
  test("is small for an idle site: its home had told that nothing was missing", () => {
    expect(of({ home: told(0), homeNode: node(998_000) })).toBe(9);
    expect(of({ home: told(30), homeNode: node(998_000) })).toBe(39);
  });
  test("of a home that dies soon after it was chosen is no longer than it was the home, if the copy has what it began from", () => {
    expect(of({ epochBeganMs: 987_500 })).toBe(13);
    // what it has got since counts from there as before
    expect(of({ epochBeganMs: 500_000, last: { guid: "1", atMs: 990_000 } })).toBe(17);
    expect(of({ epochBeganMs: 1_000_500 })).toBe(0);
  });
  test("never takes a report for later than the home's last sign of life", () => {
    expect(of({ home: told(0), homeNode: node(2_000_000) })).toBe(7);
  });
});

test("fence by order: what is at home on the node, and what of it nobody else can serve", () => {
  const state = new StateBuilder().node("n1").node("n2").node("n3").unit("b", "n1", ["n2"]).unit("a", "n1", ["n3"]).unit("alone", "n1", []).unit("other", "n2", ["n1"]).unit("new", "n1", [], { state: "creating" }).build();
  expect(fencedUnits(state, "n1", (node) => node !== "n3")).toEqual({ units: ["site-a", "site-alone", "site-b"], down: ["site-a", "site-alone"] });
});
