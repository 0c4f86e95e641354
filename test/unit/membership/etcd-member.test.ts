import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { type Clock, systemClock } from "../../../daemon/lib/clock.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { type ClusterConfig, defaultPaths, defaultPorts, type HostConfig } from "../../../daemon/lib/node-config.js";
import { SimClock } from "../../support/sim-clock.js";
import { EtcdMember, type PeerEtcd } from "../../../daemon/membership/etcd-member.js";

const folder = mkdtempSync(join(tmpdir(), "hc-etcd-member-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

/** A voter with data, and with a note of having been through `forced` recoveries. */
function voter(forced: number, peers: Record<string, PeerEtcd | undefined>, clock: Clock = systemClock, leader: () => string = () => "1", answeredAgoMs?: () => number) {
  count += 1;
  const state = join(folder, String(count));
  mkdirSync(join(state, "etcd", "member"), { recursive: true });
  writeFileSync(join(state, "etcd-initial.json"), JSON.stringify({ version: 1, clusterId: "c-12345678", state: "existing", initialCluster: "", memberId: "7", started: true, forced }));
  const members = ["n1", "n2", "n3"].map((node) => ({ node, addresses: ["10.0.0.1"], zone: "a", role: "node" as const, ports: defaultPorts }));
  const acts: string[] = [];
  const asked: string[] = [];
  const member = new EtcdMember({
    host: { version: 1, node: "n1", platform: "linux", zone: "a", role: "node", addresses: ["10.0.0.1"], ports: defaultPorts, paths: { ...defaultPaths, state } } satisfies HostConfig,
    cluster: { version: 1, cluster: "eu", clusterId: "c-12345678", node: "n1", members, voters: ["n1", "n2", "n3"], dataset: "", etcd: { heartbeatMs: 100, electionMs: 1000 } } satisfies ClusterConfig,
    platform: { stopService: async (name: string) => void acts.push(`stop ${name}`) } as never,
    runner: undefined as never,
    etcd: { status: async () => ({ leader: leader() }), members: async () => { acts.push("members"); throw new HcError("NO_QUORUM", "nobody answers"); } } as never,
    clock, log: pino({ level: "silent" }),
    voters: { current: () => ["n1", "n2", "n3"], confirmed: async () => ["n1", "n2", "n3"], sawCluster: () => false, leaveProblem: () => "" },
    ...(answeredAgoMs === undefined ? {} : { answeredAgoMs }),
    peerEtcd: async (node) => {
      asked.push(node);
      const answer = peers[node];
      if (answer === undefined) throw new HcError("UNREACHABLE", `${node} cannot be reached`);
      return answer;
    },
  });
  return { member, acts, asked, state };
}

test("data from before a recovery that another voter has been through is put aside, and no second cluster is begun though a voter is silent", async () => {
  const { member, acts, state } = voter(0, { n2: { member: true, forced: 1 } });
  expect(await member.step()).toBe("set-aside");
  expect([acts, existsSync(join(state, "etcd")), existsSync(join(state, "etcd.old", "member")), existsSync(join(state, "etcd-initial.json"))]).toEqual([["stop hcd-etcd"], false, true, false]);
  await expect(member.step()).rejects.toMatchObject({ code: "NO_QUORUM" }); // it asks the cluster that is there to be let in
  expect(acts).toEqual(["stop hcd-etcd", "members"]);
});
test.each<[string, Record<string, PeerEtcd | undefined>]>([
  ["nobody has been through more", { n2: { member: true, forced: 1 }, n3: { member: true, forced: 0 } }],
  ["one that claims more has no etcd of this cluster", { n2: { member: false, forced: 9 }, n3: undefined }],
  ["nobody answers", {}],
])("%s: its data stays", async (_what, peers) => {
  const { member, state } = voter(1, peers);
  await member.step().catch(() => undefined);
  expect(JSON.parse(readFileSync(join(state, "etcd-initial.json"), "utf8"))).toMatchObject({ forced: 1 });
  expect(existsSync(join(state, "etcd", "member"))).toBe(true);
});

test("whether etcd was begun anew elsewhere is asked now and then while the own one follows a leader, at each step while it has none or not everybody has answered", async () => {
  const clock = new SimClock();
  let leader = "1";
  const peers: Record<string, PeerEtcd | undefined> = { n2: { member: true, forced: 0 } };
  const { member, asked } = voter(0, peers, clock, () => leader);
  const steps = async (count: number): Promise<number> => {
    asked.length = 0;
    for (let step = 0; step < count; step += 1) {
      await member.step().catch(() => undefined);
      await clock.advance(5_000);
    }
    return asked.length;
  };
  expect(await steps(4)).toBe(8); // n3 does not answer
  peers["n3"] = { member: true, forced: 0 };
  expect(await steps(8)).toBe(4);
  leader = "0";
  expect(await steps(3)).toBe(6);
  leader = "1";
  peers["n2"] = { member: true, forced: 1 };
  await clock.advance(20_000);
  expect(await member.step()).toBe("set-aside");
});

test("a voter whose member has just answered the session is looked at every fourth time; one that has not, each time", async () => {
  const clock = new SimClock();
  let agoMs = 900;
  const { member, acts } = voter(0, { n2: { member: true, forced: 0 }, n3: { member: true, forced: 0 } }, clock, undefined, () => agoMs);
  acts.push("begun");
  Object.assign(member, { step: async () => { acts.push(`step ${clock.monotonicMs()}`); return "none"; } });
  const end = new AbortController();
  const running = member.run(end.signal);
  await clock.advance(40_000);
  expect(acts).toEqual(["begun", "step 0", "step 20000", "step 40000"]);
  agoMs = 2_500;
  await clock.advance(15_000);
  expect(acts.slice(4)).toEqual(["step 45000", "step 50000", "step 55000"]);
  end.abort();
  await running;
});
