import type { ObservedNode, SessionRecord } from "../../../daemon/lib/records.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { onLastingChange } from "../../../daemon/state/lasting-changes.js";
import { StateBuilder } from "../placement/fixture.js";

test("signs of life and what nodes tell of themselves wake nobody; a death, a new generation and any record do", () => {
  let told: (state: ClusterState) => void = () => undefined;
  let calls = 0;
  onLastingChange({ onChange: (listener) => {
    told = listener;
    return () => undefined;
  } }, () => (calls += 1));
  const wakes = (state: ClusterState): boolean => {
    const before = calls;
    told(state);
    return calls > before;
  };
  const state = new StateBuilder().cluster(["n1", "n2"]).node("n1").node("n2").customer("acme").template("php").site("shop").unit("shop", "n1", ["n2"]).build();
  const session = state.sessions.get("n1");
  if (session === undefined) throw new Error("no session");
  const withSession = (more: Partial<SessionRecord>): ClusterState => ({ ...state, sessions: new Map(state.sessions).set("n1", { value: { ...session.value, ...more }, revision: "9" }) });
  expect(wakes(state)).toBe(true);
  expect(wakes({ ...withSession({ counter: 77 }), revision: "1000" })).toBe(false);
  expect(wakes({ ...state, observedNodes: new Map(state.observedNodes).set("n1", { ...(state.observedNodes.get("n1") as ObservedNode), load: 9 }) })).toBe(false);
  expect(wakes(withSession({ dead: true }))).toBe(true);
  expect(wakes(withSession({ dead: true, counter: 78 }))).toBe(false);
  expect(wakes(withSession({ generation: 55 }))).toBe(true);
  expect(wakes({ ...withSession({ generation: 55 }), units: new Map(state.units) })).toBe(true);
});
