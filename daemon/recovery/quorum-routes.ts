import type { NodeContext } from "../context.js";
import { retry } from "../lib/backoff.js";
import { HcError, messageOf } from "../lib/errors.js";
import { keys, recordVersion, type RecoveryRecord } from "../lib/records.js";
import type { EtcdCluster } from "../membership/etcd-cluster.js";
import type { EtcdMember } from "../membership/etcd-member.js";
import type { EtcdEndpoint } from "../state/etcd-connection.js";
import type { EtcdGuard } from "./etcd-guard.js";
import { forceEtcd, type RecoverSource } from "./force-etcd.js";
import { carriers, lookAtMembers, reportsOf } from "./gather.js";

export interface VoterStatus { node: string; answers: boolean; leader: boolean; learner: boolean; revision: string; dbSizeBytes: string; why: string }
export interface QuorumStatus {
  cluster: string;
  /** The node that tells it. */
  node: string;
  quorum: boolean;
  /** Voters that must answer. */
  needed: number;
  voters: VoterStatus[];
  /** Members whose control process answers. */
  members: { node: string; role: string; answers: boolean; why: string }[];
  etcdCluster: string;
  /** Highest revision of etcd that this node knows, over restarts. */
  revision: string;
  lineage: number;
  recovery: RecoveryRecord | null;
  waitsFor: { node: string; why: string }[];
}
export interface RecoverAnswer { node: string; done: boolean; steps: string[] }

export interface QuorumParts { context: NodeContext; etcd: EtcdCluster; member: EtcdMember; guard: EtcdGuard; endpoints(): readonly EtcdEndpoint[]; /** Ends this process; its supervisor starts it anew. */ restart(why: string): void }

const askMs = 2_000;
const markMs = 60_000;
const names = (value: unknown, what: string, known: readonly string[]): string[] => {
  const list = value ?? [];
  if (!Array.isArray(list) || list.some((one) => typeof one !== "string")) throw new HcError("INVALID_INPUT", `${what}: must be a list of nodes.`);
  const unknown = (list as string[]).find((one) => !known.includes(one));
  if (unknown !== undefined) throw new HcError("INVALID_INPUT", `${what}: there is no node ${JSON.stringify(unknown.slice(0, 60))}; there are ${known.join(", ")}.`);
  return [...new Set(list as string[])];
};

/** `GET /v1/quorum`, `POST /v1/quorum/exclude`, `POST /v1/quorum/recover`: the last one acts on the node that is called, with etcd in whatever state. */
export function quorumRoutes(parts: QuorumParts): void {
  const { context, guard } = parts;
  const { apiRoutes, cluster } = context;
  const all = cluster.members.map(({ node }) => node);
  apiRoutes.route("GET", "/v1/quorum", () => quorumStatus(parts));
  apiRoutes.route("POST", "/v1/quorum/exclude", async ({ json }) => {
    const { nodes, reason = "" } = ((await json()) ?? {}) as { nodes?: unknown; reason?: unknown };
    const excluded = names(nodes, "nodes", all);
    const found = await context.store.get(keys.recovery);
    const record = found === undefined ? undefined : (JSON.parse(found.value) as RecoveryRecord);
    if (found === undefined || record?.state !== "recovering") throw new HcError("CONFLICT", "The cluster does not recover from anything: nobody is waited for.", { retry: "never" });
    const answering = (await reportsOf(context, excluded)).reports.map(({ node }) => node);
    if (answering.length > 0) throw new HcError("CONFLICT", `${answering.join(", ")} answers and tells what its disk holds: it need not be left out.`, { retry: "never" });
    const next: RecoveryRecord = { ...record, excluded: [...new Set([...record.excluded, ...excluded])].sort() };
    const { succeeded } = await context.store.txn([{ key: found.key, modRevision: found.modRevision }], [{ put: found.key, value: JSON.stringify(next) }]);
    if (!succeeded) throw new HcError("CONFLICT", "The recovery changed meanwhile; look again (`hc quorum status`).");
    context.event("", "recovery-excludes", `${excluded.join(", ")}: ${String(reason).slice(0, 200)}`);
    return { excluded: next.excluded };
  });
  apiRoutes.route("POST", "/v1/quorum/recover", async ({ json }): Promise<RecoverAnswer> => {
    const body = ((await json()) ?? {}) as { source?: unknown; file?: unknown; gone?: unknown; replace?: unknown; apply?: unknown; reason?: unknown };
    const source = sourceOf(body);
    const gone = names(body.gone, "gone", all.filter((node) => node !== context.host.node));
    await refuse(parts, source, gone, body.replace === true);
    const steps = stepsOf(parts, source, gone);
    if (body.apply !== true) return { node: context.host.node, done: false, steps };
    context.log.error({ source, gone, reason: body.reason }, "etcd is begun anew by a person's word");
    const known = guard.known()?.lineage ?? 0;
    guard.suspend();
    try {
      await forceEtcd({ host: context.host, cluster, platform: context.platform, runner: context.runner, member: parts.member, etcd: parts.etcd, signal: context.signal }, source);
      // voters that answer join at once: the new etcd may have to elect again meanwhile
      await retry("the mark of the recovery", { firstMs: 100, capMs: 500, withinMs: markMs, signal: context.signal }, () => markRecovery(parts, source, gone, known));
    } finally {
      // the answer goes first; a process that is to come judges whatever etcd is there now
      setTimeout(() => parts.restart("etcd was begun anew by a person's word"), 500).unref();
    }
    return { node: context.host.node, done: true, steps };
  });
}

function sourceOf(body: { source?: unknown; file?: unknown }): RecoverSource {
  if (body.source === "own" || body.source === "disks") return { from: body.source };
  if (body.source !== "backup" || typeof body.file !== "string" || !/^\/[^\0]{1,500}$/.test(body.file)) throw new HcError("INVALID_INPUT", "source: must be own, disks, or backup with the absolute path of a file on the node.");
  return { from: "backup", file: body.file };
}

async function refuse({ context, etcd, endpoints, member }: QuorumParts, source: RecoverSource, gone: readonly string[], replace: boolean): Promise<void> {
  const { store, host, peers } = context;
  if (!member.isVoter()) throw new HcError("INVALID_INPUT", `${host.node} is no voter of etcd: choose one of ${member.voters().join(", ")}.`);
  const quorum = await store.get(keys.leader).then(() => true, () => false);
  if (quorum && source.from === "own") throw new HcError("CONFLICT", "etcd has its quorum: there is nothing to recover. For a member that lost its data nothing need be done, it joins anew.", { retry: "never" });
  if (quorum && !replace) throw new HcError("CONFLICT", "etcd answers and has its quorum: what it knows would be thrown away. Say --replace when that is meant.", { retry: "never" });
  if (source.from !== "own") return;
  const missing = member.voters().filter((node) => node !== host.node && !gone.includes(node));
  if (missing.length > 0) throw new HcError("CONFLICT", `etcd goes on without ${missing.join(", ")} for good: say so with ${missing.map((node) => `--gone ${node}`).join(" ")}. Were one of them to come back with its old state while this node cannot be reached, there would be two clusters.`, { retry: "never" });
  const alive: string[] = [];
  await Promise.all(gone.map(async (node) => {
    const hcd = await peers.call(node, "GET", "/peer/v1/etcd", undefined, { timeoutMs: askMs }).then(() => true, () => false);
    const endpoint = endpoints().find((one) => one.node === node);
    if (hcd || (endpoint !== undefined && (await etcd.status(endpoint, askMs).then(() => true, () => false)))) alive.push(node);
  }));
  if (alive.length > 0) throw new HcError("CONFLICT", `${alive.sort().join(", ")} answers: it is not gone. Bring its etcd back (\`hc ssh ${alive[0]} -- systemctl status hcd-etcd\`), or take the machine off the network first.`, { retry: "never" });
}

function stepsOf({ context, member }: QuorumParts, source: RecoverSource, gone: readonly string[]): string[] {
  const { node } = context.host;
  const from = source.from === "own" ? `with what this node's own member knows (etcd --force-new-cluster)` : source.from === "backup" ? `from ${source.file}` : "from nothing: documents, customers and records come from what the disks hold; what has no data (templates and customers without sites, drains, the trash's list) comes with the next `hc up`, or not at all";
  const others = member.voters().filter((voter) => voter !== node);
  return [
    `etcd on ${node} stops; its data is kept beside it (etcd.before-recover)`,
    `etcd on ${node} starts as the only member, ${from}`,
    ...(others.length === 0 ? [] : [`${others.join(", ")}: old data of etcd is put aside there as soon as they answer, and they join again`]),
    `all sites stop until every node${gone.length === 0 ? "" : ` but ${gone.join(", ")}`} has told what its disk holds (\`hc quorum status\`)`,
    "every site gets the home whose disk holds the most, at an epoch above all that are known",
  ];
}

/** The recovery stands in the new etcd before any control process has a session in it. */
async function markRecovery({ context }: QuorumParts, source: RecoverSource, gone: readonly string[], known: number): Promise<void> {
  const { store, host, clock } = context;
  const carrying = new Set(carriers(context));
  const found = await store.get(keys.recovery);
  const before = found === undefined ? undefined : (JSON.parse(found.value) as RecoveryRecord);
  // another node was faster, and has found by itself what we are about to say
  if (before?.state === "recovering" && before.lineage > known && gone.length === 0) return;
  const why = { own: "etcd goes on from one member alone", backup: "etcd was restored from a backup", disks: "etcd was begun anew; the disks tell what there is" }[source.from];
  const next: RecoveryRecord = { version: recordVersion, lineage: Math.max(known, before?.lineage ?? 0) + 1, state: "recovering", reason: `${why}, by a person's word on ${host.node}`, node: host.node, atMs: clock.wallMs(), excluded: gone.filter((node) => carrying.has(node)), detail: "" };
  const { succeeded } = await store.txn([{ key: keys.recovery, modRevision: found?.modRevision ?? "0" }], [{ put: keys.recovery, value: JSON.stringify(next) }]);
  if (!succeeded && ((JSON.parse((await store.get(keys.recovery))?.value ?? "{}") as Partial<RecoveryRecord>).state !== "recovering")) throw new HcError("CONFLICT", "The recovery could not be written into the new etcd; run it again.");
}

async function quorumStatus({ context, etcd, endpoints, guard, member }: QuorumParts): Promise<QuorumStatus> {
  const { cluster, host, peers, store } = context;
  const voters = await Promise.all(member.voters().map(async (node): Promise<VoterStatus> => {
    const endpoint = endpoints().find((one) => one.node === node);
    try {
      if (endpoint === undefined) throw new Error("no address is known");
      const seen = await etcd.status(endpoint, askMs);
      return { node, answers: true, leader: seen.leader !== "0" && seen.leader === seen.member, learner: seen.learner, revision: seen.revision, dbSizeBytes: seen.dbSizeBytes, why: seen.leader === "0" ? "it knows no leader" : "" };
    } catch (error) {
      return { node, answers: false, leader: false, learner: false, revision: "0", dbSizeBytes: "0", why: messageOf(error) };
    }
  }));
  const members = await Promise.all(cluster.members.map(async ({ node, role }) => peers.call(node, "GET", "/peer/v1/etcd", undefined, { timeoutMs: askMs }).then(() => ({ node, role, answers: true, why: "" }), (error: unknown) => ({ node, role, answers: false, why: messageOf(error) }))));
  const found = await store.get(keys.recovery).then((one) => ({ record: one === undefined ? null : (JSON.parse(one.value) as RecoveryRecord) }), () => undefined);
  const recovery = found?.record ?? null;
  const waitsFor = recovery?.state === "recovering" ? (await lookAtMembers(context, recovery)).waitsFor : [];
  const known = guard.known();
  return { cluster: cluster.cluster, node: host.node, quorum: found !== undefined, needed: Math.floor(member.voters().length / 2) + 1, voters, members, etcdCluster: known?.etcdCluster ?? "", revision: known?.revision ?? "0", lineage: known?.lineage ?? 0, recovery, waitsFor };
}
