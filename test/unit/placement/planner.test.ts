import type { NodeContext } from "../../../daemon/context.js";
import { createLogger } from "../../../daemon/lib/log.js";
import { keys } from "../../../daemon/lib/records.js";
import { Planner } from "../../../daemon/placement/planner.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";
import { SimClock } from "../../support/sim-clock.js";

const log = createLogger("test", { write: () => undefined });
async function setup() {
  const state = new MemoryState();
  const store = new MemoryStore(state);
  const put = (key: string, value: object): string => state.txn([], [{ put: key, value: JSON.stringify(value) }]).revision;
  const leader = put(keys.leader, { version: 1, node: "n1", generation: 1, term: 1 });
  put(keys.desired("customer", "acme"), { version: 1, kind: "customer", name: "acme", origin: "git", spec: { displayName: "", contact: "" } });
  const view = new WatchedView(store, log);
  await view.start(new AbortController().signal);
  let guard: { key: string; modRevision: string } | undefined = { key: keys.leader, modRevision: leader };
  const planner = new Planner({ context: { store, view, clock: new SimClock(), log, event: () => undefined } as unknown as NodeContext, leader: { guard: () => guard }, liveness: { alive: () => new Set(), silentMs: () => 0 } });
  return { state, put, planner, leave: () => (guard = undefined), ahead: (revision: string) => (guard = { key: keys.leader, modRevision: revision }) };
}

test("the leader carries the plan out; nobody else does", async () => {
  const { state, planner, leave } = await setup();
  leave();
  expect(await planner.step()).toBe(0);
  const other = await setup();
  expect(await other.planner.step()).toBe(1);
  expect(other.state.get(keys.customer("acme"))?.value).toContain("20000");
  expect(state.get(keys.customer("acme"))).toBeUndefined();
});

test("a leader that was overtaken and does not know it writes nothing", async () => {
  const { state, put, planner } = await setup();
  put(keys.leader, { version: 1, node: "n2", generation: 1, term: 2 }); // its view is a turn behind
  expect(await planner.step()).toBe(0);
  expect(state.get(keys.customer("acme"))).toBeUndefined();
});

test("no plan from a picture older than the own election", async () => {
  const { state, planner, ahead } = await setup();
  ahead("999");
  expect(await planner.step()).toBe(0);
  expect(state.get(keys.customer("acme"))).toBeUndefined();
});
