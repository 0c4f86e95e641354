import { api, eventually, type HcdCluster, makeCluster, prepareNode } from "../support/hcd-lab.js";
import { type TestNode, withLab } from "../support/lab.js";

const lab = withLab(3);
let cluster: HcdCluster;
const nodes = (): TestNode[] => lab.nodes;
const other = (node: TestNode): TestNode => nodes().find((one) => one.name !== node.name) as TestNode;
const customer = (name: string): unknown => ({ version: 1, kind: "customer", name, origin: "git", spec: { displayName: name, contact: "" } });

async function put(node: TestNode, name: string): Promise<void> {
  await eventually(`document ${name} written through ${node.name}`, 30_000, () => api(node, "PUT", `/v1/documents/customer/${name}`, customer(name)), ({ status }) => status === 200);
}
interface NodeShown { name: string; alive: boolean; mayBeLost: boolean; etcd: { role: string; healthy: boolean } }
const shown = async (node: TestNode): Promise<NodeShown[]> => ((await api(node, "GET", "/v1/status")).body as { nodes?: NodeShown[] } | undefined)?.nodes ?? [];
const membership = (node: TestNode): Promise<void> =>
  eventually(`${node.name} sees three voters`, 60_000, () => shown(node), (seen) => seen.length === 3 && seen.every((one) => one.alive && one.etcd.role === "voter" && one.etcd.healthy)).then(() => undefined);

test("a node without an identity serves version and identity only", async () => {
  const hosts = await Promise.all(nodes().map((node, number) => prepareNode(node, number < 2 ? "a" : "b")));
  cluster = await makeCluster(lab, hosts);
  const [n1] = nodes() as [TestNode];
  await Promise.all(nodes().map((node) => eventually(`the API of ${node.name} answers`, 30_000, () => api(node, "GET", "/v1/version"), ({ status }) => status === 200)));
  expect((await api(n1, "GET", "/v1/version")).body).toMatchObject({ node: "n1", clustered: false });
  expect(await api(n1, "GET", "/v1/status")).toMatchObject({ status: 503, body: { error: { code: "NOT_READY" } } });
  expect((await n1.sh("stat -c %a:%U /run/hybridcluster/hcd.sock")).trim()).toBe("600:root");
  expect((await api(n1, "PUT", "/v1/identity", await cluster.identity("n2"))).body).toMatchObject({ error: { code: "INVALID_INPUT", message: expect.stringContaining("n2") } });
}, 120_000);

test("three nodes become one cluster: etcd of three voters by learners, a leader, documents", async () => {
  await Promise.all(nodes().map(async (node) => expect((await api(node, "PUT", "/v1/identity", await cluster.identity(node.name))).status).toBe(200)));
  for (const node of nodes()) await membership(node);
  const [n1, n2] = nodes() as [TestNode, TestNode];
  await put(n1, "acme");
  await eventually("numbers given", 20_000, () => api(n2, "GET", "/v1/customers/acme"), ({ status }) => status === 200);
  expect((await api(n2, "GET", "/v1/customers/acme")).body).toMatchObject({ uid: 20000, gid: 20000, user: "hc-acme" });
  expect((await n1.sh("grep -c . /var/lib/hybridcluster/etcd-initial.json; stat -c %U /var/lib/hybridcluster/etcd; ps -o user= -C etcd")).split("\n")).toEqual(["1", "_hcetcd", "_hcetcd", ""]);
}, 120_000);

test("the same identity again changes nothing, another cluster's is refused", async () => {
  const [n1] = nodes() as [TestNode];
  const version = (await api(n1, "GET", "/v1/version")).body as { clusterId: string };
  const alien = await (await makeCluster(lab, (await cluster.identity("n1")).config.members.map((member) => ({ version: 1, platform: "linux", paths: {} as never, ...member })), "other")).identity("n1");
  expect(await api(n1, "PUT", "/v1/identity", alien)).toMatchObject({ status: 409, body: { error: { code: "CONFLICT" } } });
  expect((await api(n1, "GET", "/v1/version")).body).toMatchObject({ clusterId: version.clusterId });
}, 60_000);

test("the control port and etcd refuse certificates of the edge CA, and none", async () => {
  const [n1, n2] = nodes() as [TestNode, TestNode];
  await n2.sh("mkdir -p /tmp/pki");
  const stranger = await cluster.edgeCa.issue("n2");
  const left = await cluster.ca.issue("n9");
  for (const [name, text] of Object.entries({ "edge.crt": stranger.cert, "edge.key": stranger.key, "left.crt": left.cert, "left.key": left.key, "ca.crt": cluster.ca.ca })) await n2.ok(["tee", `/tmp/pki/${name}`], { input: text });
  const ask = (port: number, path: string, certificate: string[]): Promise<{ code: number }> =>
    n2.exec(["curl", "-sS", "-m", "5", "-o", "/dev/null", "-f", "--cacert", "/tmp/pki/ca.crt", "--connect-to", `n1:${port}:${n1.address}:${port}`, ...certificate, `https://n1:${port}${path}`]);
  const own = ["--cert", "/etc/hybridcluster/pki/node.crt", "--key", "/etc/hybridcluster/pki/node.key"];
  const edge = ["--cert", "/tmp/pki/edge.crt", "--key", "/tmp/pki/edge.key"];
  for (const [port, path] of [[4431, "/peer/v1/ping"], [2379, "/health"]] as const) {
    expect((await ask(port, path, own)).code).toBe(0);
    expect((await ask(port, path, edge)).code).not.toBe(0);
    expect((await ask(port, path, [])).code).not.toBe(0);
  }
  // of the cluster's CA, but no member: etcd knows the CA only, the control port knows the names
  expect((await ask(4431, "/peer/v1/ping", ["--cert", "/tmp/pki/left.crt", "--key", "/tmp/pki/left.key"])).code).not.toBe(0);
}, 60_000);

test.each(["n1", "n2", "n3"])("documents can be written while %s is off, and it comes back by itself", async (name) => {
  const victim = lab.node(name);
  const survivor = other(victim);
  await membership(survivor);
  await eventually("every node may be lost", 30_000, () => shown(survivor), (seen) => seen.every((one) => one.mayBeLost));
  await victim.kill();
  await put(survivor, `while-${name}-off`);
  await eventually(`${name} is shown as away`, 30_000, () => shown(survivor), (seen) => seen.find((one) => one.name === name)?.alive === false);
  // the two that are left hold the quorum; the victim is lost already
  await eventually("only the victim may be lost", 30_000, () => shown(survivor), (seen) => seen.every((one) => one.mayBeLost === (one.name === name)));
  await victim.start();
  await membership(survivor);
  await membership(victim);
  await put(victim, `after-${name}`);
}, 180_000);

/** etcd's id of the node as it noted it; "" when it began the cluster or never was a member. */
const memberId = async (node: TestNode): Promise<string> => /"memberId":"(\d+)".*"started":true/.exec(await node.sh("cat /var/lib/hybridcluster/etcd-initial.json 2>/dev/null || true"))?.[1] ?? "";
/** Joined under a new id, and voting on its own word. */
async function rejoined(node: TestNode, before: string): Promise<void> {
  await eventually(`${node.name} joined anew`, 60_000, () => memberId(node), (id) => id !== "" && id !== before);
  await eventually(`${node.name} votes`, 60_000, () => api(node, "GET", "/v1/ready"), ({ body }) => !JSON.stringify(body).includes("etcd"));
}

test("a voter whose data is lost is removed and added anew", async () => {
  const n2 = lab.node("n2");
  const before = await memberId(n2);
  expect(before).toMatch(/^\d+$/);
  await n2.sh("systemctl stop hcd hcd-etcd; rm -rf /var/lib/hybridcluster/etcd; systemctl start hcd");
  await rejoined(n2, before);
  await membership(lab.node("n1"));
}, 120_000);

test("the first voter, its disk lost altogether, joins the cluster that lives and starts no new one", async () => {
  const n1 = lab.node("n1");
  await n1.sh("systemctl stop hcd hcd-etcd; rm -rf /var/lib/hybridcluster/etcd /var/lib/hybridcluster/etcd-initial.json; systemctl start hcd");
  await rejoined(n1, "");
  await membership(lab.node("n2"));
  expect((await api(n1, "GET", "/v1/customers/acme")).body).toMatchObject({ uid: 20000 });
}, 120_000);

test("a node that is cut off loses its session and gets a new one after the heal", async () => {
  const n3 = lab.node("n3");
  const session = async (node: TestNode): Promise<string> => node.sh("curl -s --unix-socket /run/hybridcluster/hcd.sock http://hcd/metrics | grep '^hc_session_live '");
  expect((await session(n3)).trim()).toBe("hc_session_live 1");
  await n3.cut();
  await eventually("session lost", 30_000, () => session(n3), (text) => text.trim() === "hc_session_live 0");
  await n3.heal();
  await membership(lab.node("n1"));
  await eventually("session again", 30_000, () => session(n3), (text) => text.trim() === "hc_session_live 1");
}, 120_000);

test("taking a node's identity away leaves neither service nor key", async () => {
  const n3 = lab.node("n3");
  expect((await api(n3, "DELETE", "/v1/identity")).status).toBe(200);
  expect((await api(n3, "GET", "/v1/version")).body).toMatchObject({ clustered: false });
  expect((await n3.sh("ls /etc/systemd/system | grep '^hc' || true; ls -A /etc/hybridcluster; ls -A /var/lib/hybridcluster; pgrep -c etcd || true")).trim().split("\n").filter((line) => line !== "")).toEqual(["hcd-fencer.service", "hcd.service", "host.json", "0"]);
  expect((await n3.sh("zfs list -H -o name hpool/hc")).trim()).toBe("hpool/hc");
}, 60_000);
