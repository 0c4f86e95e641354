import { PassThrough, type Readable } from "node:stream";
import pino from "pino";
import { AgentLoop } from "../../daemon/agent/agent.js";
import type { NodeContext, RouteRegistry } from "../../daemon/context.js";
import { Failover } from "../../daemon/failover/failover.js";
import { type Clock, systemClock } from "../../daemon/lib/clock.js";
import { siteDefaults } from "../../daemon/lib/documents.js";
import { Locks } from "../../daemon/lib/locks.js";
import { defaultPaths, defaultPorts } from "../../daemon/lib/node-config.js";
import { keys, type SessionRecord } from "../../daemon/lib/records.js";
import { Leader } from "../../daemon/membership/leader.js";
import { Liveness } from "../../daemon/membership/liveness.js";
import { NodePublisher, readPool } from "../../daemon/membership/observed-node.js";
import { NodeSession, waitLive } from "../../daemon/membership/session.js";
import { Planner } from "../../daemon/placement/planner.js";
import { buildRoutes, type RouteTable, sameRoutes } from "../../daemon/proxy/routes.js";
import { Gates } from "../../daemon/proxy/gates.js";
import { unframe } from "../../daemon/replication/frames.js";
import { startReplication } from "../../daemon/replication/start.js";
import { readHead } from "../../daemon/replication/wire.js";
import { MemoryState, MemoryStore } from "../../daemon/state/memory-store.js";
import { WatchedView } from "../../daemon/state/view.js";
import { createZfs } from "../../daemon/zfs/create-zfs.js";
import { noticed, ZfsChanges } from "../../daemon/zfs/changes.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { makeSnapshotName } from "../../daemon/zfs/snapshot-name.js";
import { ZfsText } from "./zfs-text.js";

const root = "hpool/hc";
const runtime = { platform: "linux" as const, php: "8.2" };
const log = pino({ level: process.env["HC_LOG_LEVEL"] ?? "silent" });

/** The loops of one control process, real but for what lies outside of it: session, view, leader with planner and failover, publishers, replication, agent, routes. At home on it are `units`, each with a copy on a second node that takes all streams. */
export interface LoopNode { zfs: FakeZfs; text: ZfsText; context: NodeContext; agent: AgentLoop; write(unit: string): void; streams(): number; published(): number; stop(): Promise<void> }

/** `snapshots`: how many each unit has already. Resolves when the agent has nothing more to do. */
export async function startLoopNode(units: number, snapshots: number, clock: Clock = systemClock): Promise<LoopNode> {
  const [me, other] = ["n1", "n2"];
  const zfs = createFakeZfs({ seed: "loop" });
  const text = new ZfsText(zfs);
  const state = new MemoryState();
  const put = (key: string, value: object): void => void state.txn([], [{ put: key, value: JSON.stringify(value) }]);
  const ids = Array.from({ length: units }, (_, at) => `site-s${String(at + 1).padStart(3, "0")}`);

  await zfs.create(root, {});
  put(keys.customer("acme"), { version: 1, name: "acme", uid: 20000, gid: 20000, user: "hc-acme" });
  put(keys.desired("customer", "acme"), { version: 1, kind: "customer", name: "acme", origin: "git", spec: { displayName: "", contact: "" } });
  put(keys.session(other), { version: 1, node: other, generation: 1, counter: 1 } satisfies SessionRecord);
  for (const name of [me, other]) put(keys.node(name), { version: 1, node: name, addresses: ["127.0.0.1"], zone: name, role: "node", ports: { http: 80, peer: 1, control: 2 }, hcd: { version: "0", sha256: "" }, runtime });
  const replicaGuids = new Map<string, { name: string; guid: string; createtxg: string; atMs: number }[]>();
  for (const unit of ids) {
    const dataset = `${root}/${unit}`;
    const document = { version: 1, kind: "site", name: unit.slice(5), origin: "git", spec: { ...structuredClone(siteDefaults), customer: "acme", template: "php", hostnames: [`${unit.slice(5)}.localhost`] } };
    put(keys.desired("site", unit.slice(5)), document);
    const revision = state.get(keys.desired("site", unit.slice(5)))?.modRevision as string;
    const user = { unit, epoch: "1", home: me, definition: JSON.stringify(document), revision, customer: "acme", state: "live" };
    await zfs.create(dataset, { mountpoint: `/hc/${unit}`, quota: String(10 * 1024 ** 3), ...Object.fromEntries(Object.entries(user).map(([name, value]) => [`hybridcluster:${name}`, value])) });
    await zfs.mount(dataset);
    const nowMs = Date.now();
    for (let number = snapshots; number > 0; number -= 1) await zfs.snapshot([`${dataset}@${makeSnapshotName(1, nowMs - number * 1_000, me)}`]);
    const all = await zfs.snapshots(dataset);
    replicaGuids.set(unit, all.map(({ name, guid, createtxg, atMs }) => ({ name, guid, createtxg, atMs })));
    put(keys.unit(unit), { version: 1, unit, kind: "site", name: unit.slice(5), home: me, homeGeneration: 1, epoch: 1, epochStartGuid: all[0]?.guid ?? "", replicas: [other], state: "live", runtime, origin: { template: "php", version: "1", guid: "" } });
  }

  const abort = new AbortController();
  const { signal } = abort;
  const store = new MemoryStore(state);
  let published = 0;
  const counted: NodeContext["store"] = { get: (key) => store.get(key), list: (prefix) => store.list(prefix), watch: (...args) => store.watch(...args), txn: async (compare, ops, options) => {
    published += ops.filter((op) => "put" in op && op.put.includes("/units/")).length;
    return store.txn(compare, ops, options);
  } };
  const view = new WatchedView(counted, log);
  const session = new NodeSession({ node: me, store, clock, log, diskProblem: () => "" });
  const liveness = new Liveness(clock, () => session.live());
  view.onSession((nodes) => liveness.seen(nodes));
  let streams = 0;
  const changes = new ZfsChanges();
  const running = new Map<string, "active">();
  const registry: RouteRegistry = { route: () => undefined };
  const context: NodeContext = {
    host: { version: 1, node: me, platform: "linux", zone: "n1", role: "node", addresses: ["127.0.0.1"], ports: defaultPorts, paths: defaultPaths },
    cluster: { version: 1, cluster: "loop", clusterId: "loop", node: me, members: [me, other].map((node) => ({ node, addresses: [], zone: node, role: "node" as const, ports: defaultPorts })), voters: [], dataset: root, etcd: { heartbeatMs: 100, electionMs: 1000 } },
    log, clock, runner: text, store: counted, view, session, signal,
    zfs: noticed(createZfs(text), changes, () => clock.monotonicMs()), changes,
    platform: { name: "linux", listUsers: async () => [{ user: "hc-acme", uid: 20000, gid: 20000 }] } as unknown as NodeContext["platform"],
    services: { ensureBase: async () => undefined, configure: async () => ({ changed: false }), start: async ({ unit }) => void running.set(unit, "active"), stop: async (unit) => void running.delete(unit), states: async () => new Map(running), check: async () => ({ ok: true, status: 200, detail: "" }), logs: async () => "" },
    fence: { open: () => undefined, seen: () => undefined },
    gates: new Gates(clock),
    peers: {
      call: async <T>(_node: string, _method: string, path: string): Promise<T> => ({ version: 1, exists: true, mounted: false, epoch: 1, snapshots: replicaGuids.get(path.split("/")[4] ?? "") ?? [], holdsOrigin: false }) as T,
      upload: async <T>(_node: string, _path: string, _headers: Record<string, string>, body: Readable): Promise<T> => {
        const { head: raw, payload } = await unframe(body, { payloadBytes: 0 });
        payload.resume();
        await new Promise((resolve) => payload.once("end", resolve));
        const head = readHead(raw);
        streams += 1;
        return { version: 1, guid: head.guid, snapshot: head.snapshot } as T;
      },
      download: async () => new PassThrough().end(),
    },
    unitLocks: new Locks(), peerRoutes: registry, apiRoutes: registry, event: () => undefined,
  };
  await view.start(signal);
  const beat = session.run(signal);
  // the other node's sign of life
  const otherBeats = (async () => {
    for (let counter = 2; !signal.aborted; counter += 1) {
      put(keys.session(other), { version: 1, node: other, generation: 1, counter } satisfies SessionRecord);
      await clock.sleep(1_000, signal).catch(() => undefined);
    }
  })();
  await waitLive(session, clock, signal);
  const leader = new Leader({ node: me, store: counted, view, session, liveness, clock, log });
  const planner = new Planner({ context, leader, liveness });
  const failover = new Failover({ context, leader, liveness });
  const replication = await startReplication(context);
  const agent = new AgentLoop(context, { replication, buildTemplate: async () => undefined, populate: async () => undefined, emptyFolder: async () => undefined });
  const publisher = new NodePublisher({ node: me, store: counted, clock, log, facts: { pool: () => readPool(text, root), memory: async () => ({ totalBytes: 1e9, availableBytes: 5e8 }), etcd: async () => ({ role: "client", healthy: true, fsyncMs: null }), templates: async () => ({}), links: () => ({ [other]: 1 }), generation: () => session.generation, problems: () => [], unitsAtMs: () => agent.publishedAtMs() } });
  let table: RouteTable | undefined;
  view.onChange((picture) => {
    const next = buildRoutes(picture, me, session.generation, 8079, 0, { serving: context.gates.serving });
    if (!sameRoutes(table, next)) table = next;
  });
  const loops = [beat, otherBeats, leader.run(signal), planner.run(signal), failover.run(signal), publisher.run(signal)];
  const serving = (): boolean => (agent.last()?.plan.work.length ?? 1) === 0 && view.current().observedUnits.get(me)?.size === units && [...(view.current().observedUnits.get(me)?.values() ?? [])].every(({ state: is, replicas }) => is === "serving" && Object.values(replicas).some(({ guid, lagS }) => guid !== "" && lagS === 0));
  const endMs = performance.now() + 300_000;
  while (!serving()) {
    if (performance.now() > endMs) throw new Error(`not in step: ${JSON.stringify(agent.last()?.plan.work[0])} ${JSON.stringify([...agent.failures()].slice(0, 2))}`);
    await clock.sleep(100);
  }
  let number = 0;
  return {
    zfs, text, context, agent,
    write: (unit) => {
      number += 1;
      return zfs.write(`${root}/${unit}`, "ledger", String(number));
    },
    streams: () => streams,
    published: () => published,
    async stop() {
      abort.abort();
      await agent.stop();
      await replication.stop();
      await Promise.allSettled(loops);
    },
  };
}
