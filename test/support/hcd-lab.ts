import { readFileSync } from "node:fs";
import { join } from "node:path";
import { delay } from "../../daemon/lib/abort.js";
import { defaultPaths, defaultPorts, type HostConfig, type Identity, type Member } from "../../daemon/lib/node-config.js";
import { type TestCa, testCa } from "./cluster-pki.js";
import type { TestLab, TestNode } from "./lab.js";

/** The artefact of `npm run build`, or $HC_TEST_HCD. */
export const hcdArtefact = (): string => process.env["HC_TEST_HCD"] ?? join(process.cwd(), "dist/hcd/hcd.cjs");
const lib = defaultPaths.lib;
const unit = `[Unit]
Description=HybridCluster control process
After=network.target zfs-fuse.service
[Service]
ExecStart=/usr/local/bin/node ${lib}/current/hcd.cjs control
Restart=always
RestartSec=200ms
KillMode=process
TimeoutStopSec=20
Nice=-10
CPUWeight=1000
[Install]
WantedBy=multi-user.target
`;

const fencerUnit = `[Unit]
Description=HybridCluster fencer
[Service]
ExecStart=/usr/local/bin/node ${lib}/current/hcd.cjs fencer
Restart=always
RestartSec=200ms
KillMode=mixed
TimeoutStopSec=20
Nice=-10
CPUWeight=1000
[Install]
WantedBy=multi-user.target
`;

/** Everything that the Host resource would have done, by hand: users, folders, pool, artefact, service. */
export async function prepareNode(node: TestNode, zone: string, more: Partial<HostConfig> = {}): Promise<HostConfig> {
  const host: HostConfig = { version: 1, node: node.name, platform: "linux", zone, role: "node", addresses: node.addresses, ports: defaultPorts, paths: defaultPaths, ...more };
  const put = async (path: string, content: string | Buffer): Promise<void> => void (await node.ok(["tee", path], { input: content, maxOutputBytes: 64 * 1024 * 1024 }));
  await node.sh(`for u in _hcetcd _hcproxy _hcweb; do id -u $u >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin $u; done
    mkdir -p ${defaultPaths.etc} ${defaultPaths.state} ${defaultPaths.log} ${lib}/test ${defaultPaths.data}; ln -sfn test ${lib}/current
    zpool list hpool >/dev/null 2>&1 || zpool create hpool ${node.disks.join(" ")}
    zfs list hpool/hc >/dev/null 2>&1 || zfs create -o mountpoint=${defaultPaths.data} -o atime=off hpool/hc`);
  await put(`${lib}/test/hcd.cjs`, readFileSync(hcdArtefact()));
  await put(`${defaultPaths.etc}/host.json`, JSON.stringify(host));
  await put("/etc/systemd/system/hcd.service", unit);
  await put("/etc/systemd/system/hcd-fencer.service", fencerUnit);
  await node.sh("systemctl daemon-reload; systemctl enable -q hcd.service hcd-fencer.service; systemctl restart hcd-fencer.service hcd.service");
  return host;
}

export interface HcdAnswer { status: number; body: unknown }
/** One API call over the node's Unix socket, through its namespaces (works while the node is cut off). */
export async function api(node: TestNode, method: string, path: string, body?: unknown): Promise<HcdAnswer> {
  const result = await node.exec(["curl", "-sS", "-m", "20", "-X", method, "-w", "\n%{http_code}", "--unix-socket", `${defaultPaths.run}/hcd.sock`, ...(body === undefined ? [] : ["--data-binary", "@-"]), `http://hcd${path}`], body === undefined ? {} : { input: JSON.stringify(body) });
  const at = result.stdout.lastIndexOf("\n");
  const text = result.stdout.slice(0, at);
  return { status: Number(result.stdout.slice(at + 1)), body: text === "" ? undefined : safeJson(text) };
}
const safeJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

/** Looks again every 100 ms until `look` is content; the last answer is in the error. */
export async function eventually<T>(what: string, withinMs: number, look: () => Promise<T>, content: (seen: T) => boolean): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (content(seen)) return seen;
    if (performance.now() > end) throw new Error(`${what}: not within ${withinMs} ms; last seen ${JSON.stringify(seen)?.slice(0, 2000)}`);
    await delay(100);
  }
}
export const ready = (node: TestNode, withinMs = 60_000): Promise<unknown> => eventually(`${node.name} ready`, withinMs, () => api(node, "GET", "/v1/ready"), ({ body }) => (body as { ready?: boolean } | undefined)?.ready === true);

export interface HcdCluster { ca: TestCa; edgeCa: TestCa; identity(node: string): Promise<Identity> }

/** Identities for the nodes of a lab, made by a PKI of the test's own. */
export async function makeCluster(lab: TestLab, hosts: readonly HostConfig[], name = "eu"): Promise<HcdCluster> {
  const [ca, edgeCa] = [await testCa("test cluster CA"), await testCa("test edge CA")];
  const members: Member[] = hosts.map(({ node, addresses, zone, role, ports }) => ({ node, addresses, zone, role, ports }));
  const nodes = members.map((member) => member.node);
  return {
    ca, edgeCa,
    async identity(node) {
      const { addresses } = lab.node(node);
      const [own, proxy] = [await ca.issue(node, addresses), await edgeCa.issue(node, addresses)];
      return {
        version: 1,
        config: { version: 1, cluster: name, clusterId: `test-cluster-${name}`, node, members, voters: nodes.length >= 3 ? nodes.slice(0, 3) : nodes.slice(0, 1), dataset: "hpool/hc", etcd: { heartbeatMs: 250, electionMs: 2500 } },
        pki: { ca: ca.ca, nodeCert: own.cert, nodeKey: own.key, edgeCa: edgeCa.ca, proxyCert: proxy.cert, proxyKey: proxy.key },
      };
    },
  };
}

/** Nodes that are prepared become one cluster, with customer "acme" and template "tiny". */
export async function bringUp(lab: TestLab, hosts: readonly HostConfig[]): Promise<HcdCluster> {
  const cluster = await makeCluster(lab, hosts);
  await Promise.all(lab.nodes.map(async (node) => eventually(`${node.name} takes its identity`, 30_000, async () => api(node, "PUT", "/v1/identity", await cluster.identity(node.name)), ({ status }) => status === 200)));
  for (const node of lab.nodes) await ready(node, 90_000);
  await declare(lab, "cluster", "eu", { redundancy: 2, nodes: lab.nodes.map(({ name }) => name), settings: { txgTimeoutS: 1, rpoS: 10, trashDays: 7, etcd: { heartbeatMs: 250, electionMs: 2500 } } });
  await declare(lab, "customer", "acme", { displayName: "Acme", contact: "" });
  await declare(lab, "template", "tiny", { recipe: "php", version: "1", settings: {} });
  return cluster;
}
/** Writes a document as `hc up` does, through any living node. */
export async function declare(lab: TestLab, kind: string, name: string, spec: unknown): Promise<void> {
  const node = lab.nodes.find((one) => one.alive()) as TestNode;
  const answer = await api(node, "PUT", `/v1/documents/${kind}/${name}`, { version: 1, kind, name, origin: "git", spec });
  if (answer.status >= 400) throw new Error(`${kind} ${name}: ${answer.status} ${JSON.stringify(answer.body)}`);
}

/** Process of a service on a node; "0": none. */
export const mainPid = async (node: TestNode, service: string): Promise<string> => (await node.sh(`systemctl show -p MainPID --value ${service}.service`)).trim();
