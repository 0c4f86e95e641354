import pino from "pino";
import type { NodeContext } from "../../../daemon/context.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { keys, type RecoveryRecord, type UnitRecord } from "../../../daemon/lib/records.js";
import type { DiskReport } from "../../../daemon/recovery/disk-report.js";
import { Recovery } from "../../../daemon/recovery/recovery.js";
import { MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";
import { quorumText } from "../../../cli/commands/quorum.js";
import { disk, line, siteDocument } from "./fixture.js";

const log = pino({ level: "silent" });
const ends: AbortController[] = [];
afterAll(() => {
  for (const end of ends) end.abort();
});

/** A leader in the middle of a recovery; what its members answer is set by the test, "" = silent. */
async function leading(excluded: string[] = []) {
  const store = new MemoryStore();
  const put = async (key: string, value: object): Promise<string> => (await store.txn([], [{ put: key, value: JSON.stringify(value) }])).revision;
  const record: RecoveryRecord = { version: 1, lineage: 4, state: "recovering", reason: "a test", node: "n1", atMs: 0, excluded, detail: "" };
  await put(keys.recovery, record);
  await put("/hc/desired/site/shop", siteDocument("shop"));
  await put("/hc/desired/customer/acme", { version: 1, kind: "customer", name: "acme", origin: "git", spec: { displayName: "acme", contact: "" } });
  await put("/hc/customer/acme", { version: 1, name: "acme", uid: 20000, gid: 20000, user: "hc-acme" });
  await put("/hc/unit/site-shop", { version: 1, unit: "site-shop", kind: "site", name: "shop", home: "n1", homeGeneration: 3, epoch: 3, epochStartGuid: "97", replicas: ["n2"], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "php", version: "1", guid: "77" } } satisfies UnitRecord);
  const leader = await put(keys.leader, { version: 1, node: "n1", generation: 1, term: 1 });
  const end = new AbortController();
  ends.push(end);
  const view = new WatchedView(store, log);
  await view.start(end.signal);
  const answers: Record<string, DiskReport | "silent"> = {};
  const calls: string[] = [];
  const events: string[] = [];
  const peers = {
    call: async (node: string, _method: string, path: string) => {
      calls.push(`${node} ${path}`);
      const answer = answers[node];
      if (answer === undefined || answer === "silent") throw new HcError("UNREACHABLE", `${node} cannot be reached.`);
      if (path === "/peer/v1/disk") return answer;
      return { version: 1, exists: true, mounted: false, epoch: 3, holdsOrigin: false, snapshots: line(lists[node] ?? "") };
    },
  };
  const lists: Record<string, string> = {};
  const clock = { nowMs: 0, monotonicMs: () => clock.nowMs, wallMs: () => 0, sleep: async () => undefined };
  const context = { host: { node: "n1" }, cluster: { members: ["n1", "n2", "n3"].map((node) => ({ node, role: "node" })).concat([{ node: "w", role: "witness" }]) }, store, view, peers, log, clock: { monotonicMs: () => clock.nowMs }, signal: end.signal, event: (unit: string, event: string) => void events.push(`${unit} ${event}`) } as unknown as NodeContext;
  const recovery = new Recovery({ context, leader: { guard: () => ({ key: keys.leader, modRevision: leader }) } });
  const read = async <T>(key: string): Promise<T> => JSON.parse((await store.get(key))?.value ?? "null") as T;
  return { clock, recovery, answers, lists, calls, events, store, put, read };
}
const report = (node: string, units: DiskReport["units"], lineage = 4): DiskReport => ({ version: 1, node, lineage, units });

test("it waits for who is silent, who has not joined, and whose units are mounted; nothing is written meanwhile", async () => {
  const { recovery, answers, read } = await leading();
  Object.assign(answers, { n1: report("n1", [disk("shop", "3a")], 3), n2: report("n2", [disk("shop", "3a 5c", { home: "n2", mounted: true })]), n3: "silent" });
  await recovery.step();
  expect(recovery.waitsFor()).toBe("n1: it has not joined this recovery yet (it knows 3 of 4); n2: site-shop is still mounted there; n3: n3 cannot be reached.");
  expect(await read<UnitRecord>("/hc/unit/site-shop")).toMatchObject({ home: "n1", epoch: 3 });
});
test("when all have told, the records are rebuilt and the recovery is over; a witness is not asked", async () => {
  const { recovery, answers, calls, events, read } = await leading();
  Object.assign(answers, { n1: report("n1", [disk("shop", "3a")]), n2: report("n2", [disk("shop", "3a 5c", { home: "n2" })]), n3: report("n3", []) });
  await recovery.step();
  expect(recovery.waitsFor()).toBe("");
  expect(await read<UnitRecord>("/hc/unit/site-shop")).toMatchObject({ home: "n2", epoch: 6, homeGeneration: 0, replicas: ["n1"] });
  expect(await read<RecoveryRecord>(keys.recovery)).toMatchObject({ state: "done", detail: "1 units rebuilt from the disks of n1, n2, n3" });
  expect([events, calls.some((call) => call.startsWith("w "))]).toEqual([["site-shop recovered", " recovered"], false]);
});
test("copies that must be compared are asked for their whole lists", async () => {
  const { recovery, answers, lists, calls, read } = await leading();
  Object.assign(answers, { n1: report("n1", []), n2: report("n2", [disk("shop", "3a 3b", { home: "n1" })]), n3: report("n3", [disk("shop", "3a 3b 3c", { home: "n1" })]) });
  Object.assign(lists, { n2: "3a 3b", n3: "3a 3b 3c" });
  await recovery.step();
  expect(calls.filter((call) => call.includes("snapshots")).sort()).toEqual(["n2 /peer/v1/units/site-shop/snapshots", "n3 /peer/v1/units/site-shop/snapshots"]);
  expect(await read<UnitRecord>("/hc/unit/site-shop")).toMatchObject({ home: "n3", epoch: 4, epochStartGuid: "99", replicas: ["n2"] });
});
test("a node that a person left out is not asked, and its word counts for nothing", async () => {
  const { clock, recovery, answers, calls, read } = await leading(["n2"]);
  Object.assign(answers, { n1: report("n1", [disk("shop", "3a")]), n2: report("n2", [disk("shop", "3a 5c", { home: "n2" })]), n3: report("n3", []) });
  await recovery.step();
  expect(recovery.waitsFor()).toBe("promises that were given to nodes that are left out have to end");
  clock.nowMs += 10_000;
  await recovery.step();
  expect([calls.some((call) => call.startsWith("n2 ")), await read<UnitRecord>("/hc/unit/site-shop")]).toEqual([false, expect.objectContaining({ home: "n1", epoch: 4 })]);
});
test("when the recovery changes under it, or another leads, it writes nothing", async () => {
  const { recovery, answers, put, read, store } = await leading();
  Object.assign(answers, { n1: report("n1", [disk("shop", "3a")]), n2: report("n2", []), n3: report("n3", []) });
  await store.txn([], [{ put: keys.leader, value: JSON.stringify({ version: 1, node: "n2", generation: 1, term: 2 }) }]);
  await recovery.step();
  expect(await read<UnitRecord>("/hc/unit/site-shop")).toMatchObject({ epoch: 3 });
  await put(keys.recovery, { ...(await read<RecoveryRecord>(keys.recovery)), state: "done" });
  expect((await read<RecoveryRecord>(keys.recovery)).detail).toBe("");
});

test("hc quorum status says what is waited for and what to type", () => {
  const text = quorumText({
    cluster: "eu", node: "n1", quorum: true, needed: 2, etcdCluster: "77", revision: "912", lineage: 1,
    voters: [{ node: "n1", answers: true, leader: true, learner: false, revision: "912", dbSizeBytes: "40960", why: "" }, { node: "n2", answers: false, leader: false, learner: false, revision: "0", dbSizeBytes: "0", why: "no answer within 2000 ms" }],
    members: [{ node: "n1", role: "node", answers: true, why: "" }, { node: "n2", role: "node", answers: false, why: "n2 cannot be reached" }],
    recovery: { version: 1, lineage: 1, state: "recovering", reason: "etcd was restored from a backup, by a person's word on n1", node: "n1", atMs: 0, excluded: ["n3"], detail: "" },
    waitsFor: [{ node: "n2", why: "n2 cannot be reached" }],
  });
  expect(text).toContain("has its quorum, 1 of 2 voters answer, 2 are needed; revision 912, recoveries so far 1");
  expect(text).toContain("(left out: n3)");
  expect(text).toContain("waits for n2: n2 cannot be reached\n  bring it back, or go on without it: hc quorum recover --without n2\n");
});
