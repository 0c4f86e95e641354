import { api, eventually, type HcdCluster, makeCluster, prepareNode, ready } from "../support/hcd-lab.js";
import { type TestNode, withLab } from "../support/lab.js";

// Four nodes, three voters: a voter that is gone for good is replaced by the fourth node, by itself, and joins as a client when it comes back.
const lab = withLab(4);
let cluster: HcdCluster;
const replaceAfterS = 15;
interface Shown { name: string; alive: boolean; etcd: { role: string; healthy: boolean } }
interface Seen { nodes?: Shown[]; attention?: { what: string }[] }
const look = async (node: TestNode): Promise<Seen> => ((await api(node, "GET", "/v1/status")).body ?? {}) as Seen;
const roles = ({ nodes = [] }: Seen): string => nodes.map(({ name, alive, etcd }) => `${name}:${alive ? (etcd.healthy ? etcd.role : "unhealthy") : "away"}`).join(" ");
const rolesAre = (node: TestNode, wanted: string, withinMs: number): Promise<unknown> => eventually(`${node.name} sees ${wanted}`, withinMs, async () => roles(await look(node)), (seen) => seen === wanted);
/** Names of etcd's members, as etcd says them itself. */
const etcdMembers = async (node: TestNode): Promise<string> =>
  (await node.sh("cd /etc/hybridcluster/pki; ETCDCTL_API=3 curl -s -m 5 --cacert ca.crt --cert node.crt --key node.key -X POST -d '{}' https://$(hostname):2379/v3/cluster/member/list --connect-to $(hostname):2379:127.0.0.1:2379 | grep -o '\"name\":\"[^\"]*\"' | sort | tr '\\n' ' '")).trim();

beforeAll(async () => {
  const hosts = [];
  for (const node of lab.nodes) hosts.push(await prepareNode(node, "a"));
  cluster = await makeCluster(lab, hosts);
  await Promise.all(lab.nodes.map(async (node) => eventually(`${node.name} takes its identity`, 30_000, async () => api(node, "PUT", "/v1/identity", await cluster.identity(node.name)), ({ status }) => status === 200)));
  for (const node of lab.nodes) await ready(node, 120_000);
  const spec = { redundancy: 2, nodes: lab.nodes.map(({ name }) => name), settings: { txgTimeoutS: 1, rpoS: 10, trashDays: 1, etcd: { heartbeatMs: 250, electionMs: 2500, replaceAfterS } } };
  expect((await api(lab.node("n1"), "PUT", "/v1/documents/cluster/eu", { version: 1, kind: "cluster", name: "eu", origin: "git", spec })).status).toBe(200);
  await rolesAre(lab.node("n1"), "n1:voter n2:voter n3:voter n4:client", 60_000);
}, 300_000);

test("a voter that died is replaced by the fourth node, and the cluster stands another loss", async () => {
  const n1 = lab.node("n1");
  await lab.node("n3").kill();
  await eventually("the warning says what follows", 30_000, () => look(n1), ({ attention = [] }) => attention.some(({ what }) => what.includes(`another node takes the vote of n3 when it was away for ${replaceAfterS} s`)));
  await rolesAre(n1, "n1:voter n2:voter n3:away n4:voter", 90_000);
  await eventually("n3 is no member any more", 30_000, () => etcdMembers(n1), (names) => names === '"name":"n1" "name":"n2" "name":"n4"');
  expect((await n1.sh("cat /var/lib/hybridcluster/voters.json")).trim()).toContain('"seats":{"n3":"n4"}');
  // what it is for: with n2 off too there is still a quorum
  await lab.node("n2").kill();
  await eventually("a document is written with two of four nodes gone", 40_000, () => api(n1, "PUT", "/v1/documents/customer/acme", { version: 1, kind: "customer", name: "acme", origin: "git", spec: { displayName: "acme", contact: "" } }), ({ status }) => status === 200);
  await lab.node("n2").start();
  await rolesAre(n1, "n1:voter n2:voter n3:away n4:voter", 90_000);
}, 300_000);

test("the old voter comes back: it is a client, its member's data is gone, and nothing changes for the others", async () => {
  const [n1, n3] = [lab.node("n1"), lab.node("n3")];
  await n3.start();
  await rolesAre(n1, "n1:voter n2:voter n3:client n4:voter", 90_000);
  await ready(n3);
  await eventually("its etcd is gone", 30_000, () => n3.sh("ls -d /var/lib/hybridcluster/etcd /var/lib/hybridcluster/etcd-initial.json 2>/dev/null || true; pgrep -x etcd || true"), (text) => text.trim() === "");
  expect(await etcdMembers(n1)).toBe('"name":"n1" "name":"n2" "name":"n4"');
}, 200_000);

test("a node restarted without any answer of etcd knows who votes; all off and on again is one cluster", async () => {
  for (const node of lab.nodes) await node.kill();
  await Promise.all(lab.nodes.map((node) => node.start()));
  await rolesAre(lab.node("n3"), "n1:voter n2:voter n3:client n4:voter", 120_000);
  expect((await api(lab.node("n3"), "GET", "/v1/customers/acme")).status).toBe(200);
}, 200_000);
