import type { ClusterSpec, SiteSpec } from "../lib/documents.js";
import { type ObservedUnit, restoreOf, type UnitRecord } from "../lib/records.js";
import { runtimeTag } from "../lib/documents.js";
import type { Status, StatusNode, StatusUnit } from "../lib/status.js";
import type { Member } from "../lib/node-config.js";
import { type ClusterState, desiredOf } from "../state/cluster-state.js";
import { defaultPolicy } from "../failover/plan-failover.js";
import { attentionOf } from "./attention.js";

export interface StatusFacts {
  cluster: string;
  state: ClusterState;
  members: readonly Member[];
  voters: readonly string[];
  /** Nodes with a session that was seen to change lately. */
  alive: ReadonlySet<string>;
  /** ms since the node's session was last seen to change; Infinity: never. */
  silentMs(node: string): number;
  atMs: number;
  /** What the planner cannot place, and why (any node can plan; only the leader writes). */
  problems?: Readonly<Record<string, string>>;
  /** etcd does not commit, in words for people; "" while it does. */
  noQuorum?: string;
}

/** Pure: the answer of `GET /v1/status`. */
export function buildStatus(facts: StatusFacts): Status {
  const { state } = facts;
  const units = [...state.units.keys()].sort().map((id) => unitStatus(facts, id));
  for (const [key, document] of [...state.desired].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (document.value.kind !== "site" || state.units.has(`site-${document.value.name}`)) continue;
    const spec = document.value.spec as SiteSpec;
    units.push({ id: `site-${key.slice(5)}`, kind: "site", name: document.value.name, origin: document.value.origin, home: "", epoch: 0, state: "creating", hostnames: spec.hostnames, usedBytes: "0", quota: spec.quota, replicas: [], error: facts.problems?.[`site-${document.value.name}`] ?? "" });
  }
  const nodes = facts.members.map((member) => nodeStatus(facts, member));
  const attention = attentionOf(facts, nodes, units);
  return {
    version: 1,
    cluster: facts.cluster,
    atMs: facts.atMs,
    health: attention.some((item) => item.severity === "critical") ? "critical" : attention.length > 0 ? "warning" : "ok",
    leader: state.leader?.value.node ?? "",
    nodes,
    units,
    attention,
  };
}

function nodeStatus(facts: StatusFacts, member: Member): StatusNode {
  const { state } = facts;
  const record = state.nodes.get(member.node)?.value;
  const seen = state.observedNodes.get(member.node);
  const alive = facts.alive.has(member.node);
  const addresses = record?.addresses ?? member.addresses;
  const silent = facts.silentMs(member.node);
  return {
    name: member.node,
    address: addresses[0] ?? "",
    addresses: [...addresses],
    alive,
    zone: member.zone,
    role: member.role,
    mayBeLost: mayBeLost(facts, member.node),
    drained: state.drains?.has(member.node) === true,
    removing: state.removals?.has(member.node) === true,
    hcd: record?.hcd ?? { version: "", sha256: "" },
    pool: seen?.pool == null ? null : { name: seen.pool.name, health: seen.pool.health, sizeBytes: seen.pool.sizeBytes, freeBytes: seen.pool.freeBytes },
    memory: seen?.memory ?? { totalBytes: 0, availableBytes: 0 },
    // what a node that is away had said of itself may be over: its vote may be another's by now
    etcd: seen === undefined || !alive ? { role: facts.voters.includes(member.node) ? "voter" : "client", healthy: false, fsyncMs: null } : seen.etcd,
    runtime: record === undefined ? "" : runtimeTag(record.runtime),
    lastSeenS: Number.isFinite(silent) ? Math.round(silent / 1000) : seen === undefined ? -1 : Math.max(0, Math.round((facts.atMs - seen.atMs) / 1000)),
    ...(seen?.watchdog === undefined ? {} : { watchdog: seen.watchdog }),
  };
}

function votes(facts: StatusFacts, node: string): boolean {
  const seen = facts.state.observedNodes.get(node);
  return facts.voters.includes(node) && facts.alive.has(node) && seen?.etcd.role === "voter" && seen.etcd.healthy;
}

/** A node may be lost when etcd keeps its quorum, every unit at home there has a confirmed copy on another living node, and no unit loses its last other copy. */
export function mayBeLost(facts: StatusFacts, node: string): boolean {
  if (facts.voters.length < 2 && facts.voters.includes(node)) return false;
  const left = facts.voters.filter((voter) => voter !== node && votes(facts, voter)).length;
  const needed = Math.floor(facts.voters.length / 2) + 1;
  if (left < needed) return false;
  for (const [id, { value: record }] of facts.state.units) {
    if (record.state === "creating") continue;
    if (record.home !== node && facts.alive.has(record.home)) continue; // its home stays
    const home = facts.state.observedUnits.get(record.home)?.get(id);
    const safe = record.replicas.some((replica) => replica !== node && facts.alive.has(replica) && (home?.replicas[replica]?.guid ?? "") !== "" && home?.replicas[replica]?.error === "");
    if (!safe) return false;
  }
  return true;
}

function unitStatus(facts: StatusFacts, id: string): StatusUnit {
  const { state } = facts;
  const { value: record } = state.units.get(id) as { value: UnitRecord };
  const document = desiredOf(state, "site", record.name)?.value;
  const home = state.observedUnits.get(record.home)?.get(id);
  return {
    id,
    kind: record.kind,
    name: record.name,
    origin: document?.origin ?? "git",
    home: record.home,
    epoch: record.epoch,
    state: stateOf(facts, record, home),
    hostnames: document === undefined ? [] : [...document.spec.hostnames],
    usedBytes: home?.usedBytes ?? "0",
    quota: document?.spec.quota ?? "",
    ...(document === undefined ? {} : { failover: document.spec.failover ?? defaultPolicy }),
    replicas: record.replicas.map((node) => {
      const confirmed = home?.replicas[node];
      const there = state.observedUnits.get(node)?.get(id);
      return { node, lagSeconds: confirmed === undefined || confirmed.guid === "" ? null : confirmed.lagS, snapshot: confirmed?.snapshot ?? "", state: !facts.alive.has(node) ? "away" : confirmed?.paused === true ? "paused" : there === undefined ? "none" : confirmed !== undefined && confirmed.error !== "" ? "failing" : there.state };
    }),
    error: home?.error ?? "",
  };
}

/** Pure: what people call the state of a unit. */
export function stateOf(facts: Pick<StatusFacts, "alive" | "state">, record: UnitRecord, home: ObservedUnit | undefined): string {
  if (record.state === "deleting") return "deleting";
  if (facts.state.recovery?.value.state === "recovering") return "down"; // what a backup says of it is long over
  if (!facts.alive.has(record.home)) return "down";
  if (record.move !== undefined) return "moving";
  const restore = restoreOf(record);
  if (restore !== undefined) return restore.failed === undefined ? "restoring" : "failed";
  if (record.state === "creating") return home?.state === "failed" ? "failed" : "creating";
  // what a home had told before it was switched off is no news of its new life
  const session = facts.state.sessions.get(record.home)?.value;
  if (home === undefined || home.epoch !== record.epoch || (session !== undefined && session.generation !== record.homeGeneration)) return "starting";
  if (home.state === "serving") return "serving";
  return home.state === "failed" ? "failed" : home.state === "starting" ? "starting" : "down";
}

export const clusterSpec = (state: ClusterState): ClusterSpec | undefined => [...state.desired.values()].find((one) => one.value.kind === "cluster")?.value.spec as ClusterSpec | undefined;
