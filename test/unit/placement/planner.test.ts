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
  const clock = new SimClock();
  const seen = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const planner = new Planner({ context: { store, view, clock, log, event: () => undefined } as unknown as NodeContext, leader: { guard: () => guard }, liveness: { alive: () => new Set(), silentMs: () => 0 } });
  return { state, put, planner, clock, seen, leave: () => (guard = undefined), ahead: (revision: string) => (guard = { key: keys.leader, modRevision: revision }) };
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

test("a picture from which nothing was to be done is planned from again when it changes, and when the calendar may have moved on", async () => {
  const { state, put, planner, clock, seen } = await setup();
  expect(await planner.step()).toBe(1);
  // expires by the calendar alone, and nobody holds it
  put(keys.trash("t1"), { version: 1, id: "t1", unit: "site-old", epoch: 1, nodes: ["n1"], deletedAtMs: 0, expiresAtMs: clock.wallMs() + 1_000, document: { version: 1, kind: "site", name: "old", origin: "git", spec: { template: "x" } } });
  await seen();
  expect(await planner.step()).toBe(0);
  const purge = (): unknown => (JSON.parse(state.get(keys.trash("t1"))?.value ?? "{}") as { purge?: boolean }).purge;
  await clock.advance(2_000);
  expect(await planner.step()).toBe(0);
  expect(purge()).toBeUndefined();
  await clock.advance(9_000);
  expect(await planner.step()).toBe(1);
  expect(purge()).toBe(true);
  // a change is planned from at once
  put(keys.desired("customer", "other"), { version: 1, kind: "customer", name: "other", origin: "git", spec: { displayName: "", contact: "" } });
  await seen();
  expect(await planner.step()).toBe(1);
});
