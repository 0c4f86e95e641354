import { basisOf, sameBasis } from "../../../daemon/placement/plan-basis.js";
import type { ObservedNode } from "../../../daemon/lib/records.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { StateBuilder } from "./fixture.js";

const base = (): ClusterState => new StateBuilder().cluster(["n1", "n2"]).node("n1").node("n2").customer("acme").template("php").site("shop").unit("shop", "n1", ["n2"]).confirmed("n1", "shop", ["n2"]).links().build();
const alive = new Set(["n1", "n2"]);
const withNode = (state: ClusterState, more: Partial<ObservedNode>): ClusterState => {
  const seen = state.observedNodes.get("n1") as ObservedNode;
  return { ...state, observedNodes: new Map(state.observedNodes).set("n1", { ...seen, ...more }) };
};
const same = (a: ClusterState, b: ClusterState): boolean => sameBasis(basisOf(a, ["7", alive]), basisOf(b, ["7", alive]));

test("a heartbeat, and what a node says of its load and of when it looked, gives no other plan", () => {
  const state = base();
  const session = state.sessions.get("n1");
  if (session === undefined) throw new Error("no session");
  const beaten: ClusterState = { ...state, revision: "999", sessions: new Map(state.sessions).set("n1", { value: { ...session.value, counter: 2 }, revision: "999" }) };
  expect(same(state, beaten)).toBe(true);
  const etcd = { role: "voter", healthy: true, fsyncMs: 40 } as const;
  expect(same(state, withNode(beaten, { atMs: 5, unitsAtMs: 5, load: 9, memory: { totalBytes: 1, availableBytes: 0 }, etcd, links: { n2: 77 } }))).toBe(true);
  expect(sameBasis(undefined, basisOf(state, []))).toBe(false);
});

test("whatever else changes does", () => {
  const state = base();
  const session = state.sessions.get("n1");
  if (session === undefined) throw new Error("no session");
  const changed: Record<string, ClusterState> = {
    dead: { ...state, sessions: new Map(state.sessions).set("n1", { ...session, value: { ...session.value, dead: true } }) },
    generation: { ...state, sessions: new Map(state.sessions).set("n1", { ...session, value: { ...session.value, generation: 2 } }) },
    pool: withNode(state, { pool: null }),
    templates: withNode(state, { templates: { "php@1": "77" } }),
    links: withNode(state, { links: {} }),
    etcd: withNode(state, { etcd: { role: "voter", healthy: false, fsyncMs: 1 } }),
    // every map that a change replaces, whatever is in it: also one that a later version adds
    ...Object.fromEntries((["units", "desired", "nodes", "observedUnits", "customers", "templates", "trash"] as const).map((part) => [part, { ...state, [part]: new Map(state[part] as ReadonlyMap<string, unknown>) }])),
    later: { ...state, drains: new Map() },
  };
  for (const [what, next] of Object.entries(changed)) expect([what, same(state, next)]).toEqual([what, false]);
});

test("who leads, lives or is reached does too, in whatever order they are told", () => {
  const state = base();
  const of = (...standing: Parameters<typeof basisOf>[1]) => basisOf(state, standing);
  expect(sameBasis(of("7", new Set(["n1", "n2"])), of("7", new Set(["n2", "n1"])))).toBe(true);
  expect(sameBasis(of("7", alive), of("8", alive))).toBe(false);
  expect(sameBasis(of("7", alive), of("7", new Set(["n1"])))).toBe(false);
});
