import { createLogger } from "../../../daemon/lib/log.js";
import { keys, unitShard } from "../../../daemon/lib/records.js";
import { applyChanges, emptyPicture } from "../../../daemon/state/apply.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";

const warned: string[] = [];
const log = createLogger("test", { write: (line: string) => void warned.push(line) });
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
const settle = async (): Promise<void> => { for (let at = 0; at < 5; at += 1) await turn(); };
const unit = (id: string, more: object = {}): { put: string; value: string } => ({ put: keys.unit(id), value: JSON.stringify({ version: 1, unit: id, home: "n1", ...more }) });
const session = (node: string, counter: number, generation = 1): { put: string; value: string } => ({ put: keys.session(node), value: JSON.stringify({ version: 1, node, generation, counter }) });

async function start() {
  const state = new MemoryState();
  const store = new MemoryStore(state);
  const view = new WatchedView(store, log);
  const ending = new AbortController();
  const calls: ClusterState[] = [];
  const beats: string[][] = [];
  view.onChange((seen) => calls.push(seen));
  view.onSession((nodes) => beats.push([...nodes]));
  return { state, store, view, calls, beats, ending, begin: () => view.start(ending.signal) };
}

test("NOT_READY before the first read; then the whole picture, changed incrementally and never in place", async () => {
  const { state, view, begin, calls, ending } = await start();
  expect(() => view.current()).toThrow(expect.objectContaining({ code: "NOT_READY" }));
  state.txn([], [unit("site-a")]);
  await begin();
  const before = view.current();
  expect([...before.units.keys()]).toEqual(["site-a"]);
  const told = calls.length;
  for (const id of ["site-b", "site-c"]) state.txn([], [unit(id)]);
  state.txn([], [{ delete: keys.unit("site-a") }]);
  await settle();
  expect([...view.current().units.keys()]).toEqual(["site-b", "site-c"]);
  expect(view.current().units.get("site-c")?.revision).toBe(state.get(keys.unit("site-c"))?.modRevision);
  expect(view.current().revision).toBe(state.list("/").revision);
  expect([...before.units.keys()]).toEqual(["site-a"]);
  expect(calls.length - told).toBe(1); // coalesced
  expect(view.current().nodes).toBe(before.nodes); // what did not change is the same object
  ending.abort();
});

test("heartbeats wake only those who time sessions; a new generation wakes everybody", async () => {
  const { state, begin, calls, beats, view, ending } = await start();
  state.txn([], [session("n1", 1)]);
  await begin();
  const told = calls.length;
  beats.length = 0;
  state.txn([], [session("n1", 2)]);
  await settle();
  expect(beats).toEqual([["n1"]]);
  expect(calls.length).toBe(told);
  expect(view.current().sessions.get("n1")?.value.counter).toBe(2);
  state.txn([], [session("n1", 1, 2)]);
  await settle();
  expect(calls.length).toBe(told + 1);
  ending.abort();
});

test("after a compaction that it missed the view reads everything anew, and counts only changed sessions as alive", async () => {
  const { state, store, view, beats, begin, ending } = await start();
  state.txn([], [session("n1", 1), session("n2", 1), unit("site-a")]);
  await begin();
  beats.length = 0;
  store.cut();
  state.txn([], [session("n1", 2), unit("site-b")]);
  state.txn([], [{ delete: keys.unit("site-a") }]);
  state.compact();
  store.heal();
  await settle();
  expect([...view.current().units.keys()]).toEqual(["site-b"]);
  expect(beats).toEqual([["n1"]]);
  ending.abort();
});

test("shards of one node are merged; a unit that leaves its shard leaves the picture", () => {
  const shard = (node: string, at: number, ids: string[]): { key: string; value: string; modRevision: string } => ({ key: keys.observedUnits(node, at), value: JSON.stringify({ version: 1, node, shard: at, units: Object.fromEntries(ids.map((id) => [id, { state: "serving" }])) }), modRevision: "5" });
  const [a, b] = ["site-a", "site-b"] as const;
  expect(unitShard(a)).not.toBe(unitShard(b));
  const first = applyChanges(emptyPicture, [shard("n1", unitShard(a), [a]), shard("n1", unitShard(b), [b])], "5").picture;
  expect([...(first.state.observedUnits.get("n1") ?? new Map()).keys()].sort()).toEqual([a, b]);
  const second = applyChanges(first, [{ key: keys.observedUnits("n1", unitShard(a)), value: undefined, modRevision: "6" }], "6").picture;
  expect([...(second.state.observedUnits.get("n1") ?? new Map()).keys()]).toEqual([b]);
  expect(first.state.observedUnits.get("n1")?.size).toBe(2);
});

test("records of a later version and broken ones are left out and named; the version before is read", () => {
  const change = (version: unknown): { key: string; value: string; modRevision: string } => ({ key: keys.customer("acme"), value: JSON.stringify({ version, name: "acme" }), modRevision: "2" });
  for (const [value, read] of [[1, true], [0, true], [2, false], ["1", false]] as const) {
    const { picture, unreadable } = applyChanges(emptyPicture, [change(value)], "2");
    expect(picture.state.customers.has("acme")).toBe(read);
    expect(unreadable).toEqual(read ? [] : [keys.customer("acme")]);
  }
  expect(applyChanges(emptyPicture, [{ key: keys.unit("x"), value: "{", modRevision: "2" }], "2").unreadable).toEqual([keys.unit("x")]);
});
