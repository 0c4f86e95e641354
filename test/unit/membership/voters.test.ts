import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "../../../daemon/lib/log.js";
import { type ClusterConfig, defaultPaths, defaultPorts, type HostConfig } from "../../../daemon/lib/node-config.js";
import { keys } from "../../../daemon/lib/records.js";
import type { RawMember } from "../../../daemon/membership/etcd-commands.js";
import { Voters } from "../../../daemon/membership/voters.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";
import type { EtcdEndpoint } from "../../../daemon/state/etcd-connection.js";
import { SimClock } from "../../support/sim-clock.js";
import { StateBuilder } from "../placement/fixture.js";

const log = createLogger("test", { write: () => undefined });
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});
const names = ["n1", "n2", "n3", "n4"];
const members = names.map((node, at) => ({ node, addresses: [`10.0.0.${at + 1}`], zone: "", role: "node" as const, ports: defaultPorts }));

async function setup(folder = mkdtempSync(join(tmpdir(), "hc-voters-"))) {
  if (!folders.includes(folder)) folders.push(folder);
  const clock = new SimClock();
  const state = new MemoryState();
  const picture = new StateBuilder();
  for (const node of names) picture.node(node);
  for (const [node, value] of picture.build().observedNodes) state.txn([], [{ put: keys.observedNode(node), value: JSON.stringify({ ...value, etcd: { role: node === "n4" ? "client" : "voter", healthy: true, fsyncMs: null } }) }]);
  const leader = state.txn([], [{ put: keys.leader, value: JSON.stringify({ version: 1, node: "n1", generation: 1, term: 1 }) }]).revision;
  const memory = new MemoryStore(state);
  const asked: EtcdEndpoint[][] = [];
  const store = Object.assign(memory, { setEndpoints: (list: readonly EtcdEndpoint[]) => void asked.push([...list]) });
  const view = new WatchedView(memory, log);
  await view.start(new AbortController().signal);
  let silentMs = 0;
  let alive = new Set(["n1", "n2", "n4"]);
  let etcd: RawMember[] = names.slice(0, 3).map((name, at) => ({ ID: String(at + 1), name }));
  const removed: string[] = [];
  let lists = 0;
  const host: HostConfig = { version: 1, node: "n1", platform: "linux", zone: "", role: "node", addresses: ["10.0.0.1"], ports: defaultPorts, paths: { ...defaultPaths, state: folder } };
  const cluster: ClusterConfig = { version: 1, cluster: "eu", clusterId: "c", node: "n1", members, voters: ["n1", "n2", "n3"], dataset: "", etcd: { heartbeatMs: 100, electionMs: 1000 } };
  const voters = new Voters({ host, cluster, store, view, clock, log, event: () => undefined, silentMs: () => silentMs, leader: { guard: () => ({ key: keys.leader, modRevision: leader }) }, liveness: { alive: () => alive }, etcd: { members: async () => { lists += 1; return etcd; }, remove: async (id) => void removed.push(id) } });
  await voters.load();
  const votesNow = (node: string, role: string): void => void state.txn([], [{ put: keys.observedNode(node), value: JSON.stringify({ ...JSON.parse(state.get(keys.observedNode(node))?.value as string), etcd: { role, healthy: true, fsyncMs: null } }) }]);
  /** The loop, by hand: one look every 2 s. */
  const pass = async (seconds: number): Promise<void> => {
    for (let at = 0; at < seconds; at += 2) {
      await clock.advance(2_000);
      await voters.look();
    }
  };
  return { folder, clock, pass, lists: () => lists, state, voters, asked, removed, votesNow, setAlive: (nodes: string[]) => (alive = new Set(nodes)), setSilent: (ms: number) => (silentMs = ms), setEtcd: (list: RawMember[]) => (etcd = list) };
}

test("the leader gives a dead voter's seat to the fourth node after ten minutes, and takes the old member out when the new one votes", async () => {
  const { folder, pass, state, voters, removed, votesNow, setEtcd, asked } = await setup();
  await pass(598);
  expect(state.get(keys.voters)).toBeUndefined();
  expect(voters.current()).toEqual(["n1", "n2", "n3"]);
  await pass(6);
  expect(JSON.parse(state.get(keys.voters)?.value ?? "")).toEqual({ version: 1, seats: { n3: "n4" } });
  expect(voters.current()).toEqual(["n1", "n2", "n4"]);
  expect(asked.at(-1)?.map(({ node }) => node)).toEqual(["n1", "n2", "n4"]);
  setEtcd([...names.slice(0, 3).map((name, at) => ({ ID: String(at + 1), name })), { ID: "4", name: "n4", isLearner: true }]);
  await pass(10);
  expect(removed).toEqual([]); // the new one only learns
  setEtcd(names.map((name, at) => ({ ID: String(at + 1), name })));
  votesNow("n4", "voter");
  await pass(4);
  expect(removed[0]).toBe("3");
  // a process that starts without etcd knows where to ask, and that there is a cluster
  expect(JSON.parse(readFileSync(join(folder, "voters.json"), "utf8"))).toMatchObject({ clusterId: "c", seats: { n3: "n4" } });
  const again = await setup(folder);
  expect(again.voters.sawCluster()).toBe(true);
  expect(again.voters.current()).toEqual(["n1", "n2", "n4"]);
});

test("a voter that is back in time keeps its seat", async () => {
  const { pass, state, setAlive } = await setup();
  await pass(500);
  setAlive(names);
  await pass(10);
  setAlive(["n1", "n2", "n4"]);
  await pass(500);
  expect(state.get(keys.voters)).toBeUndefined();
});

test("a node that reaches no voter it knows asks all members, and only those that vote afterwards", async () => {
  const { clock, voters, asked, setSilent } = await setup();
  await clock.advance(20_000);
  setSilent(20_000);
  await voters.look();
  expect(asked.at(-1)?.map(({ node }) => node)).toEqual(["n1", "n2", "n3", "n4"]);
  setSilent(0);
  await clock.advance(40_000);
  await voters.look();
  expect(asked.at(-1)?.map(({ node }) => node)).toEqual(["n1", "n2", "n3"]);
});

test("the leader lists etcd's members now and then while nothing changes, and at once when who votes or lives changes", async () => {
  const { pass, lists, votesNow, setAlive } = await setup();
  await pass(60);
  expect(lists()).toBe(6);
  votesNow("n2", "learner");
  await pass(2);
  expect(lists()).toBe(7);
  setAlive(names);
  await pass(2);
  expect(lists()).toBe(8);
});
