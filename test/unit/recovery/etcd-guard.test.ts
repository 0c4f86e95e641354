import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import type { RecoveryRecord } from "../../../daemon/lib/records.js";
import { systemClock } from "../../../daemon/lib/clock.js";
import { EtcdGuard } from "../../../daemon/recovery/etcd-guard.js";
import { type EtcdMemory, MemoryFile } from "../../../daemon/recovery/etcd-memory.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import type { EtcdPoint } from "../../../daemon/state/etcd-store.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";

const clusterId = "c-12345678";
const folder = mkdtempSync(join(tmpdir(), "hc-guard-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const memory = (more: Partial<EtcdMemory> = {}): EtcdMemory => ({ version: 1, clusterId, etcdCluster: "77", revision: "1000", lineage: 0, generation: 3, ...more });

/** A store that tells, as etcd does, which one it is and how far; both are set by the test. */
function etcd(cluster: MemoryState, point: EtcdPoint) {
  const inner = new MemoryStore(cluster);
  let before: EtcdPoint | undefined;
  const told = {
    point,
    onAnswer: undefined as ((seen: EtcdPoint, before: EtcdPoint | undefined) => void) | undefined,
    get: async (key: string) => { const found = await inner.get(key); tell(); return found; },
    txn: async (...args: Parameters<MemoryStore["txn"]>) => { const result = await inner.txn(...args); tell(); return result; },
    list: (prefix: string) => inner.list(prefix),
    watch: (...args: Parameters<MemoryStore["watch"]>) => inner.watch(...args),
  };
  const tell = (): void => {
    const last = before;
    before = told.point;
    told.onAnswer?.(told.point, last);
  };
  return told;
}
let count = 0;
function guard(store: ReturnType<typeof etcd>, others: unknown[] = []) {
  count += 1;
  const path = join(folder, `${count}.json`);
  const broken: string[] = [];
  const made = new EtcdGuard({ node: "n1", clusterId, file: new MemoryFile(path, clusterId), store, clock: systemClock, log: pino({ level: "silent" }), others: async () => others, generation: () => 9, broken: (why) => void broken.push(why) });
  return { made, broken, path, written: (): EtcdMemory => JSON.parse(readFileSync(path, "utf8")) as EtcdMemory };
}
const recoveryOf = async (cluster: MemoryState): Promise<RecoveryRecord | undefined> => {
  const found = await new MemoryStore(cluster).get("/hc/recovery");
  return found === undefined ? undefined : (JSON.parse(found.value) as RecoveryRecord);
};

test("a new node remembers what it sees; an etcd that goes on is no recovery", async () => {
  const cluster = new MemoryState();
  const { made, written } = guard(etcd(cluster, { etcdCluster: "77", revision: "5" }), [undefined, memory({ revision: "4" }), "nonsense"]);
  await made.begin(new AbortController().signal);
  expect(written()).toMatchObject({ etcdCluster: "77", revision: "5", lineage: 0 });
  expect(await recoveryOf(cluster)).toBeUndefined();
});

test("a revision below what another member remembers opens one recovery, whoever comes later joins it", async () => {
  const cluster = new MemoryState();
  const store = etcd(cluster, { etcdCluster: "77", revision: "900" });
  const first = guard(store, [memory()]);
  await first.made.begin(new AbortController().signal);
  expect(await recoveryOf(cluster)).toMatchObject({ state: "recovering", lineage: 1, node: "n1", reason: expect.stringContaining("at revision 900 and was at 1000") });
  expect(first.written()).toMatchObject({ lineage: 1, revision: "900" });
  const picture = (revision: string, recovery?: ClusterState["recovery"]): ClusterState => ({ revision, recovery }) as ClusterState;
  expect(first.made.isRecovering(picture("0"))).toBe(true); // a picture from before it
  const second = guard(etcd(cluster, { etcdCluster: "77", revision: "901" }), [memory({ revision: "2000" })]);
  await second.made.begin(new AbortController().signal);
  expect(await recoveryOf(cluster)).toMatchObject({ lineage: 1 });
  expect(second.written()).toMatchObject({ lineage: 1 });
});

test("an etcd that goes backwards under a running process ends it, with a memory that shows it to the next one", async () => {
  const cluster = new MemoryState();
  const store = etcd(cluster, { etcdCluster: "77", revision: "50" });
  const { made, broken, path, written } = guard(store);
  await made.begin(new AbortController().signal);
  store.point = { etcdCluster: "77", revision: "80" };
  await store.get("/hc/x");
  expect([made.known()?.revision, made.known()?.generation, broken]).toEqual(["80", 9, []]);
  store.point = { etcdCluster: "77", revision: "60" };
  await store.get("/hc/x");
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(broken).toEqual(["etcd went back from revision 80 to 60"]);
  expect(written().revision).toBe("80");
  const next = new EtcdGuard({ node: "n1", clusterId, file: new MemoryFile(path, clusterId), store, clock: systemClock, log: pino({ level: "silent" }), others: async () => [], generation: () => 0, broken: () => undefined });
  await next.begin(new AbortController().signal);
  expect(await recoveryOf(cluster)).toMatchObject({ state: "recovering", lineage: 1 });
  expect(next.known()).toMatchObject({ lineage: 1, revision: "60", generation: 9 });
});

test("a recovery that others open in the same etcd is joined; one that a watch tells of another etcd ends the process with the old memory", async () => {
  const cluster = new MemoryState();
  const store = etcd(cluster, { etcdCluster: "77", revision: "50" });
  const same = guard(store);
  await same.made.begin(new AbortController().signal);
  const record: RecoveryRecord = { version: 1, lineage: 1, state: "recovering", reason: "", node: "n2", atMs: 0, excluded: [], detail: "" };
  await same.made.joined(record);
  expect([same.made.known()?.lineage, same.broken]).toEqual([1, []]);
  const other = guard(store);
  await other.made.begin(new AbortController().signal);
  const before = other.made.known()?.lineage;
  store.point = { etcdCluster: "99", revision: "9000" };
  await other.made.joined({ ...record, lineage: 7 });
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect([other.made.known()?.lineage, other.written().etcdCluster, other.broken.length]).toEqual([before, "77", 1]);
  expect(other.made.isRecovering({ revision: "9000" } as ClusterState)).toBe(true);
});
