import { defaultPaths, defaultPorts, type ClusterConfig, type HostConfig } from "../../../daemon/lib/node-config.js";
import { etcdArgv, etcdDefinition, initialCluster, joinStep, type JoinFacts, type RawMember } from "../../../daemon/membership/etcd-commands.js";
import { rcScript } from "../../../daemon/platform/freebsd-commands.js";
import { unitText } from "../../../daemon/platform/linux-commands.js";
import { meanFsyncMs, parseFsync } from "../../../daemon/membership/etcd-cluster.js";

const host: HostConfig = { version: 1, node: "n2", platform: "linux", zone: "a", role: "node", addresses: ["fd77:1::12"], ports: defaultPorts, paths: defaultPaths };
const cluster: ClusterConfig = {
  version: 1, cluster: "eu", clusterId: "abcdefgh", node: "n2", voters: ["n1", "n2"], dataset: "hpool/hc", etcd: { heartbeatMs: 250, electionMs: 2500 },
  members: [{ node: "n1", addresses: ["10.0.0.1"], zone: "a", role: "node", ports: defaultPorts }, { node: "n2", addresses: ["fd77:1::12"], zone: "a", role: "node", ports: { ...defaultPorts, etcdPeer: 3380 } }],
};

test("etcd goes before all others when the CPU is short", () => {
  const text = unitText(etcdDefinition(["/usr/bin/etcd"]), defaultPaths);
  expect(text).toContain("\nNice=-10\nCPUWeight=1000\n");
  expect(unitText({ ...etcdDefinition(["/usr/bin/etcd"]), urgent: false }, defaultPaths)).not.toMatch(/Nice|CPUWeight/);
  expect(rcScript(etcdDefinition(["/usr/local/bin/etcd"]), defaultPaths)).toContain('hcd_etcd_nice="-10"');
});

test("etcd's command line (golden)", () => {
  expect(etcdArgv("/usr/bin/etcd", host, cluster, { version: 1, clusterId: "abcdefgh", state: "existing", initialCluster: "n1=https://10.0.0.1:2380,n2=https://[fd77:1::12]:3380", memberId: "5" })).toEqual([
    "/usr/bin/etcd",
    "--name=n2",
    "--data-dir=/var/lib/hybridcluster/etcd",
    "--listen-peer-urls=https://0.0.0.0:3380",
    "--listen-client-urls=https://0.0.0.0:2379",
    "--initial-advertise-peer-urls=https://[fd77:1::12]:3380",
    "--advertise-client-urls=https://[fd77:1::12]:2379",
    "--initial-cluster=n1=https://10.0.0.1:2380,n2=https://[fd77:1::12]:3380",
    "--initial-cluster-state=existing",
    "--initial-cluster-token=abcdefgh",
    "--heartbeat-interval=250",
    "--election-timeout=2500",
    "--pre-vote=true",
    "--quota-backend-bytes=2147483648",
    "--auto-compaction-mode=periodic",
    "--auto-compaction-retention=1h",
    "--strict-reconfig-check=false",
    "--experimental-peer-skip-client-san-verification=true",
    "--logger=zap",
    "--log-outputs=stderr",
    "--cert-file=/var/lib/hybridcluster/etcd-pki/node.crt",
    "--key-file=/var/lib/hybridcluster/etcd-pki/node.key",
    "--trusted-ca-file=/var/lib/hybridcluster/etcd-pki/ca.crt",
    "--client-cert-auth=true",
    "--peer-cert-file=/var/lib/hybridcluster/etcd-pki/node.crt",
    "--peer-key-file=/var/lib/hybridcluster/etcd-pki/node.key",
    "--peer-trusted-ca-file=/var/lib/hybridcluster/etcd-pki/ca.crt",
    "--peer-client-cert-auth=true",
  ]);
});

describe("joining, step by step", () => {
  const url = "https://10.0.0.2:2380";
  const first: RawMember = { ID: "1", name: "n1", peerURLs: ["https://10.0.0.1:2380"], clientURLs: ["x"] };
  const mine = (more: Partial<RawMember> = {}): RawMember => ({ ID: "2", name: "n2", peerURLs: [url], isLearner: true, ...more });
  const noted = { version: 1, clusterId: "c", state: "existing", initialCluster: "", memberId: "2" } as const;
  const facts = (more: Partial<JoinFacts>): JoinFacts => ({ node: "n2", peerUrl: url, members: [first], hasData: false, initial: undefined, running: false, ...more });
  test.each<[string, Partial<JoinFacts>, object]>([
    ["never a member", {}, { do: "add", setAside: false }],
    ["removed by somebody, old data left", { hasData: true, initial: noted }, { do: "add", setAside: true }],
    ["another node is a learner: one at a time", { members: [first, { ID: "3", name: "", peerURLs: ["https://10.0.0.3:2380"], isLearner: true }] }, { do: "wait", why: "another node is joining etcd" }],
    ["crashed between the add and the note", { members: [first, mine({ name: "" })] }, { do: "remove", id: "2", why: "it was added, but this node did not note it" }],
    ["crashed between the note and the start", { members: [first, mine({ name: "" })], initial: noted }, { do: "start" }],
    ["off, with its data", { members: [first, mine({ isLearner: false })], initial: noted, hasData: true }, { do: "start" }],
    ["runs as a learner", { members: [first, mine()], initial: noted, hasData: true, running: true }, { do: "promote", id: "2" }],
    ["votes", { members: [first, mine({ isLearner: false })], initial: noted, hasData: true, running: true }, { do: "none" }],
    ["its data is lost", { members: [first, mine({ isLearner: false })], initial: noted }, { do: "remove", id: "2", why: "its data folder is lost" }],
    ["its whole disk is lost", { members: [first, mine({ isLearner: false })] }, { do: "remove", id: "2", why: "its data folder is lost" }],
    ["began the cluster, and its data is lost", { members: [first, mine({ isLearner: false })], initial: { ...noted, state: "new", memberId: "" } }, { do: "remove", id: "2", why: "its data folder is lost" }],
  ])("%s", (_name, more, step) => {
    expect(joinStep(facts(more))).toEqual(step);
  });
  test("initial-cluster names the members that have started, and the learner itself", () => {
    expect(initialCluster("n2", url, [first, mine({ name: "" }), { ID: "3", name: "", peerURLs: ["https://10.0.0.3:2380"] }])).toBe("n1=https://10.0.0.1:2380,n2=https://10.0.0.2:2380");
  });
});

test("fsync time is the mean between two looks at etcd's histogram", () => {
  const text = (sum: number, count: number): string => `# TYPE x\netcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 3\netcd_disk_wal_fsync_duration_seconds_sum ${sum}\netcd_disk_wal_fsync_duration_seconds_count ${count}\n`;
  expect(parseFsync(text(1.5, 300))).toEqual({ seconds: 1.5, count: 300 });
  expect(meanFsyncMs(parseFsync(text(1, 100)), parseFsync(text(1.5, 300)))).toBe(2.5);
  expect(meanFsyncMs(parseFsync(text(1, 100)), parseFsync(text(1, 100)))).toBeNull();
  expect(meanFsyncMs(parseFsync(text(9, 900)), parseFsync(text(0.2, 100)))).toBe(2); // etcd was restarted in between
  expect(parseFsync("nothing")).toEqual({ seconds: 0, count: 0 });
});
