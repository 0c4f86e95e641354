import { randomBytes, randomUUID } from "node:crypto";
import { delay } from "../../daemon/lib/abort.js";
import { pauseMs, until } from "../../daemon/lib/backoff.js";
import { type DesiredDocument, documentVersion } from "../../daemon/lib/documents.js";
import { errorCode, HcError, messageOf } from "../../daemon/lib/errors.js";
import type { ClusterConfig, Identity } from "../../daemon/lib/node-config.js";
import { networkFailures } from "../../daemon/lib/networks.js";
import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import { dropPending, keepPending, readPending, removeConnectionFile, writeConnectionFile } from "../core/connection-file.js";
import type { Handler } from "../core/handler.js";
import { PartialError } from "../core/partial-error.js";
import { expiresAt, issue, type KeyPair, makeCa, nodeDays } from "../core/pki.js";
import { progress } from "../core/progress.js";
import { type ClusterInputs, type ClusterOutputs, clusterSchema } from "../schemas/cluster.js";
import type { Connection } from "../schemas/connection.js";
import { apiCall } from "../ssh/api-client.js";

/** All keys of a cluster: one secret in the state, the root of trust. */
interface ClusterSecrets { ca: KeyPair; edgeCa: KeyPair; /** Of secrets that lie in etcd; missing in states of versions before. */ sealKey?: string; nodes: Record<string, { names: string; node: KeyPair; proxy: KeyPair }> }
const readyMs = 180_000;
const handAttempts = 6;
/** A node may carry much: each site moves by itself, and each copy is sent. */
const emptyMs = 3_600_000;
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
/** One host votes alone, two as well (the second follows), three or more: the first three. */
export function votersOf(inputs: Pick<ClusterInputs, "members">): string[] {
  const names = inputs.members.map((member) => member.node);
  const witnesses = inputs.members.filter((member) => member.role === "witness").map((member) => member.node);
  if (names.length < 3) return names.slice(0, 1);
  const nodes = names.filter((name) => !witnesses.includes(name));
  return [...nodes, ...witnesses].slice(0, nodes.length >= 3 ? 3 : undefined).slice(0, 3);
}

async function issueAll(inputs: ClusterInputs, olds: ClusterSecrets | undefined, now: Date): Promise<ClusterSecrets> {
  const secrets: ClusterSecrets = olds ?? { ca: await makeCa(`${inputs.name} nodes`, now), edgeCa: await makeCa(`${inputs.name} proxies`, now), nodes: {} };
  const nodes: ClusterSecrets["nodes"] = {};
  for (const member of inputs.members) {
    const names = member.addresses.join(" ");
    const old = secrets.nodes[member.node];
    const fresh = old !== undefined && old.names === names && expiresAt(old.node.cert).getTime() - now.getTime() > (nodeDays * 86_400_000) / 3;
    nodes[member.node] = fresh ? old : { names, node: await issue(secrets.ca, member.node, member.addresses, now), proxy: await issue(secrets.edgeCa, member.node, member.addresses, now) };
  }
  return { ...secrets, sealKey: secrets.sealKey ?? randomBytes(32).toString("base64"), nodes };
}
function identityOf(inputs: ClusterInputs, clusterId: string, secrets: ClusterSecrets, node: string): Identity {
  const keys = secrets.nodes[node];
  if (keys === undefined) throw new HcError("INTERNAL", `no certificate was made for ${node}`);
  const config: ClusterConfig = { version: 1, cluster: inputs.name, clusterId, node, members: inputs.members, voters: votersOf(inputs), dataset: inputs.datasets[node] ?? "", etcd: { heartbeatMs: inputs.settings.etcd.heartbeatMs, electionMs: inputs.settings.etcd.electionMs } };
  return { version: 1, config, pki: { ca: secrets.ca.cert, nodeCert: keys.node.cert, nodeKey: keys.node.key, edgeCa: secrets.edgeCa.cert, proxyCert: keys.proxy.cert, proxyKey: keys.proxy.key, ...(secrets.sealKey === undefined ? {} : { sealKey: secrets.sealKey }) } };
}
const renewAfter = (secrets: ClusterSecrets): string =>
  new Date(Math.min(...Object.values(secrets.nodes).map((keys) => expiresAt(keys.node.cert).getTime())) - (nodeDays * 86_400_000) / 3).toISOString();

async function waitReady(connection: Connection): Promise<void> {
  let reasons: string[] = [];
  try {
    await until(`${connection.node}`, { withinMs: readyMs, firstMs: 100, capMs: 500 }, async () => {
      const seen = await apiCall<{ ready: boolean; reasons: string[] }>([connection], "GET", "/v1/ready", undefined, { timeoutMs: 10_000 }).catch((error: unknown) => {
        if (errorCode(error) === "HOST_KEY_MISMATCH" || errorCode(error) === "AUTHENTICATION_FAILED") throw error;
        return { ready: false, reasons: [messageOf(error)] };
      });
      reasons = seen.reasons;
      return seen.ready ? true : undefined;
    });
  } catch (error) {
    throw new HcError("NOT_READY", `${connection.node} did not become ready: ${reasons.join("; ") || messageOf(error)}`, { cause: error });
  }
}

function clusterDocument(inputs: ClusterInputs): DesiredDocument<"cluster"> {
  return { version: documentVersion, kind: "cluster", name: inputs.name, origin: "git", spec: { redundancy: inputs.redundancy, nodes: inputs.members.filter((member) => member.role === "node").map((member) => member.node), settings: inputs.settings, ...(inputs.acme == null ? {} : { acme: inputs.acme }), ...(inputs.proxyProtocol == null ? {} : { proxyProtocol: inputs.proxyProtocol }) } };
}

/** Hands a node its identity. The same again changes nothing: a connection that breaks under the call does not end the operation, and is told. */
export async function handOver(connection: Connection, identity: Identity, tell: (text: string) => void): Promise<void> {
  for (let attempt = 1, broke = false; ; attempt += 1) {
    try {
      return await apiCall([connection], "PUT", "/v1/identity", identity, { timeoutMs: 60_000 });
    } catch (error) {
      broke ||= error instanceof HcError && error.retry === "unknown";
      if (attempt === handAttempts || !broke || errorCode(error) !== "UNREACHABLE") throw error;
      tell(`${messageOf(error)}; again`);
      await delay(pauseMs(attempt, { firstMs: 500, capMs: 3_000 }));
    }
  }
}

async function converge(inputs: ClusterInputs, clusterId: string, secrets: ClusterSecrets): Promise<void> {
  progress("Cluster", inputs.name, `hand over identities to ${inputs.connections.map((each) => each.node).join(", ")}`);
  await Promise.all(inputs.connections.map((each) => handOver(each, identityOf(inputs, clusterId, secrets, each.node), (text) => progress("Cluster", inputs.name, text))));
  await Promise.all(inputs.connections.map((connection) => waitReady(connection)));
  await apiCall(inputs.connections, "PUT", `/v1/documents/cluster/${inputs.name}`, clusterDocument(inputs), { timeoutMs: 20_000 });
  await writeConnectionFile(inputs.name, clusterId, inputs.connections);
}

async function run(inputs: ClusterInputs, clusterId: string, secrets: ClusterSecrets): Promise<ClusterOutputs> {
  const outs: ClusterOutputs = { ...inputs, clusterId, secrets: JSON.stringify(secrets), renewAfter: renewAfter(secrets) };
  try {
    await converge(inputs, clusterId, secrets);
  } catch (error) {
    throw new PartialError(`Cluster ${inputs.name}: ${messageOf(error)}`, clusterId, outs);
  }
  return outs;
}
interface Removal { done: boolean; waitsFor: string[] }
/**
 * A node that the program names no more is taken out as `hc node remove` does: emptied, its vote given to another, and only then left alone. One that does not answer is refused, unless a person has said
 * that it never comes back (`hc node remove NODE --dead`). Done through the nodes that stay.
 */
async function takeOut(inputs: ClusterInputs, node: string): Promise<void> {
  const path = `/v1/nodes/${encodeURIComponent(node)}/remove`;
  let told = "";
  const tell = (waitsFor: readonly string[]): void => {
    const text = `${node} is taken out, waits for ${waitsFor.join("; ")}`;
    if (text !== told && waitsFor.length > 0) progress("Cluster", inputs.name, text);
    told = text;
  };
  let last = await apiCall<Removal>(inputs.connections, "POST", path, { reason: "the program names it no more" }, { timeoutMs: 30_000 });
  if (last.done) return;
  try {
    await until(`${node} to carry nothing`, { withinMs: emptyMs, firstMs: 300, capMs: 3_000 }, async () => {
      last = await apiCall<Removal>(inputs.connections, "GET", path, undefined, { timeoutMs: 20_000 });
      tell(last.waitsFor);
      return last.done ? true : undefined;
    });
  } catch (error) {
    throw new HcError("NOT_READY", `${node} still waits for ${last.waitsFor.join("; ")}; it goes on by itself, and the next \`hc up\` waits on`, { cause: error });
  }
}

async function tearDown(connection: Connection): Promise<void> {
  await apiCall([connection], "DELETE", "/v1/identity", undefined, { timeoutMs: 120_000 });
}

export const clusterHandler: Handler<ClusterInputs, ClusterOutputs> = {
  check: async (_olds, news) => {
    const inputs = structuredClone(news);
    if (inputs.acme === null) delete (inputs as Partial<ClusterInputs>).acme;
    if (inputs.proxyProtocol === null) delete (inputs as Partial<ClusterInputs>).proxyProtocol;
    const failures = validate(clusterSchema, inputs);
    if (failures.length > 0 || holdsUnknown(inputs.members)) return { inputs, failures };
    if (inputs.proxyProtocol !== undefined && !holdsUnknown(inputs.proxyProtocol)) failures.push(...networkFailures(inputs.proxyProtocol));
    const nodes = inputs.members.filter((member) => member.role === "node").length;
    if (inputs.redundancy > nodes) failures.push({ property: "redundancy", reason: `${inputs.redundancy} copies need as many nodes; there are ${nodes}` });
    return { inputs, failures };
  },
  diff: async (_id, olds, news) => {
    dropPending(news.name); // the state has the identity
    const fields = ["connections", "members", "datasets", "redundancy", "settings", "acme", "proxyProtocol", "ephemeral"] as const;
    const changed = fields.some((field) => holdsUnknown(news[field]) || !same(olds[field] ?? null, news[field] ?? null)) || new Date().toISOString() > olds.renewAfter || !olds.secrets?.includes('"sealKey"');
    return { changes: changed || olds.name !== news.name, replaces: olds.name !== news.name ? ["name"] : [], deleteBeforeReplace: true };
  },
  create: async (inputs) => {
    const kept = readPending(inputs.name);
    const clusterId = kept?.clusterId ?? randomUUID();
    const secrets = await issueAll(inputs, kept === undefined ? undefined : (JSON.parse(kept.secrets) as ClusterSecrets), new Date());
    await keepPending(inputs.name, { clusterId, secrets: JSON.stringify(secrets) });
    return { id: clusterId, outs: await run(inputs, clusterId, secrets) };
  },
  update: async (_id, olds, news) => {
    const secrets = await issueAll(news, JSON.parse(olds.secrets) as ClusterSecrets, new Date());
    const staying = new Set(news.members.map((member) => member.node));
    const leaving = olds.members.filter((member) => !staying.has(member.node));
    if (leaving.length > 0) {
      const stays = { ...news, connections: news.connections.filter((each) => olds.members.some((member) => member.node === each.node)) };
      if (stays.connections.length === 0) throw new HcError("IMPOSSIBLE_CHANGE", `Cluster ${news.name}: none of its nodes (${olds.members.map((member) => member.node).join(", ")}) would stay, and their data with them: add the new ones first, and take the old ones out in another \`hc up\`.`);
      // the wishes of the new program count already (fewer copies, say), but the node is still one of those that can be emptied
      const document = clusterDocument({ ...news, members: olds.members });
      await apiCall(stays.connections, "PUT", `/v1/documents/cluster/${news.name}`, document, { timeoutMs: 20_000 });
      for (const member of leaving) await takeOut(stays, member.node);
    }
    const back = news.members.filter((member) => !olds.members.some((old) => old.node === member.node));
    for (const member of back) await apiCall(olds.connections.filter((each) => staying.has(each.node)), "DELETE", `/v1/nodes/${encodeURIComponent(member.node)}/remove`, undefined, { timeoutMs: 20_000 });
    const outs = await run(news, olds.clusterId, secrets);
    const kept = new Set(news.members.map((member) => member.node));
    for (const connection of olds.connections.filter((each) => !kept.has(each.node))) {
      progress("Cluster", news.name, `takes its identity back from ${connection.node}`);
      await tearDown(connection).catch((error: unknown) => progress("Cluster", news.name, `${connection.node} could not be asked (${messageOf(error)}); it is no longer a member`));
    }
    return { outs };
  },
  read: async (id, props) => {
    const answers = await Promise.all(props.connections.map((connection) =>
      apiCall<{ clusterId: string; clustered: boolean }>([connection], "GET", "/v1/version", undefined, { timeoutMs: 10_000 }).catch(() => undefined)));
    if (answers.some((seen) => seen?.clusterId === props.clusterId)) return { id, props };
    // gone only on every host's word: forgetting it would lose the keys of those that do not answer
    const silent = props.connections.filter((_, index) => answers[index] === undefined).map((connection) => connection.node);
    if (silent.length > 0) throw new HcError("UNREACHABLE", `Cluster ${props.name}: ${silent.join(", ")} cannot be asked, and no other host belongs to it.`);
    return { id: "", props };
  },
  delete: async (_id, props) => {
    const left = await Promise.all(props.connections.map((connection) => tearDown(connection).then(() => "", (error: unknown) => {
      if (errorCode(error) !== "UNREACHABLE") throw error;
      progress("Cluster", props.name, `${connection.node} could not be asked (${messageOf(error)}): it keeps its identity, which fits to no cluster any more`);
      return connection.node;
    })));
    if (left.every((node) => node !== "")) throw new HcError("UNREACHABLE", `Cluster ${props.name}: none of ${left.join(", ")} could be asked; nothing was taken back.`);
    removeConnectionFile(props.name);
    dropPending(props.name);
  },
};
