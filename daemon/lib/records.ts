import type { Runtime, DesiredDocument } from "./documents.js";

/**
 * What the daemon keeps in etcd besides desired documents. Every value carries `version`; see docs/architecture.md for the keys.
 */
export const recordVersion = 1;

/** Ownership record `/hc/unit/<id>` (OWNERSHIP: one key a unit; compare-and-swap on its revision for every change). */
export interface UnitRecord {
  version: number;
  unit: string;
  kind: "site";
  name: string;
  /** Node that may mount the unit writable. */
  home: string;
  /** Session generation of the home when it was named; 0 = not yet confirmed by the home. */
  homeGeneration: number;
  epoch: number;
  /** guid of the snapshot at which this epoch starts; "" until the home has made it. */
  epochStartGuid: string;
  /** Nodes other than home that hold, or shall hold, a copy. */
  replicas: string[];
  /** creating: nothing exists yet, the home may clone; live: data exists, never make it anew; deleting: on its way to the trash. */
  state: "creating" | "live" | "deleting";
  runtime: Runtime;
  /** Template snapshot that the unit was cloned from: name, version, guid. */
  origin: { template: string; version: string; guid: string };
  move?: MoveState;
  /** A person holds its requests until then (`hc hold`, daemon/migration/maintenance.ts). Missing before version 0.2. */
  hold?: { id: string; untilMs: number; reason: string };
  /** When state is "creating" from a trash copy: the trash id. */
  restoreFrom?: string;
  /** A restore of the whole unit out of its vault that runs now (daemon/vault); see `restoreOf`. Missing before version 0.2. */
  restore?: RestoreState;
  /** Nodes where it could not be kept running, newest last, at most 8 (placement/plan-relief.ts). */
  unfit?: UnfitMark[];
  /** UTC ms of its failovers, newest last, at most 32: one that fails over again and again waits longer (failover/plan-failover.ts). */
  failovers?: number[];
  /** How the last one ended. */
  restored?: RestoreResult;
  /** Snapshots of the present that restores of the unit or of files in it made first, oldest first, at most 8: not pruned for a week. */
  kept?: { snapshot: string; atMs: number }[];
  /** Snapshots that a person had made, of this unit or of several at one moment, oldest first, at most 16 (daemon/vault/groups.ts): not pruned until they expire or are given up. Missing before version 0.2. */
  groups?: GroupSnapshot[];
  /** Its epochs from `since` to `epoch` follow one another by planned moves: what was answered in one of them is in the history of the next. Says nothing when `epoch` is not the record's. Missing before version 0.2. */
  handed?: { epoch: number; since: number };
  /** How it came to its home when that was by a failover: whose death (node and session), and the most seconds of writes that may be missing. The newest one. */
  failover?: { from: string; generation: number; epoch: number; atMs: number; lossS: number; /** A person had fenced it. */ fenced?: boolean };
}

export interface UnfitMark { node: string; atMs: number; /** The how manieth time. */ times: number; why: string }
/** One unit's part of a group snapshot. It is written before the snapshot is made, so that no stream passes it by. */
export interface GroupSnapshot { id: string; name: string; snapshot: string; atMs: number; expiresAtMs: number; /** Units in the group when it was made. */ of: number }

/** Like a move's, its state lies in the record: whoever changes the record meanwhile, by a failover or a deletion, ends it. `before` is "" until the site stands still and that snapshot is made. */
export interface RestoreState { id: string; epoch: number; snapshot: string; /** Unit whose snapshot it is, when not its own: a copy. */ source?: string; before: string; /** Name of the snapshot that ends it, written before that is made: where it exists the copy has ended. Missing before version 0.2. */ after?: string; /** Why it failed, where the present is brought back by a copy (vault/restore-unit.ts). */ failed?: string; reason: string }
/** `error`: "" = the unit is what the snapshot was; else it is as it was before. */
export interface RestoreResult { id: string; snapshot: string; before: string; atMs: number; error: string; detail: string }
/** The restore that runs. One of an earlier epoch died with that epoch's home: the copy that went on is as it was before. */
export const restoreOf = (record: UnitRecord | undefined): RestoreState | undefined => (record?.restore?.epoch === record?.epoch ? record?.restore : undefined);
/** A restore of an earlier epoch that nobody has taken down yet (vault/restore-unit.ts, withoutStaleRestore): its home died in the middle of it. */
export const hasStaleRestore = (record: UnitRecord): boolean => record.restore !== undefined && restoreOf(record) === undefined;

/** Is the unit made of, or does it get back, the copy that lies in the trash of `node` as `id`? Then nobody may destroy it. */
export const comesBack = (record: UnitRecord | undefined, id: string, node: string): boolean =>
  record?.restoreFrom === id && (record.state !== "live" || record.home === node || record.replicas.includes(node) || record.move?.target === node);

/** Does the unit still wait for a copy of this trash? Not where its own lies already. `units`: what each node says that it holds. */
export const isAwaited = ({ id, unit, nodes }: Pick<TrashRecord, "id" | "unit" | "nodes">, record: UnitRecord | undefined, units: ReadonlyMap<string, ReadonlyMap<string, unknown>>): boolean =>
  nodes.some((node) => comesBack(record, id, node) && units.get(node)?.has(unit) !== true);

/** OWNERSHIP 17: the state of a move lives in the unit's record. */
export interface MoveState {
  id: string;
  target: string;
  /** presync → stopping (source stops, last snapshot, last increment) → then home switches and `move` is removed. */
  phase: "presync" | "stopping";
  /** Why, for people: "hc move by root@laptop". */
  reason: string;
  /** It is undone when requests would wait for longer, ms. Missing: no such bound. */
  maxHoldMs?: number;
}

/** `/hc/session/<node>`, OWNERSHIP 1. */
export interface SessionRecord { version: number; node: string; generation: number; counter: number; dead?: boolean; /** Of a dead one: when it was last seen alive, UTC ms (missing before 0.2). */ lastAliveAtMs?: number; /** The process that wrote it: two of one node never write the same (missing before 0.2). */ by?: string }

/** `/hc/leader`. */
export interface LeaderRecord { version: number; node: string; generation: number; term: number }

/** `/hc/node/<node>`: what others must know to reach a node. Written by the node when it joins. */
export interface NodeRecord {
  version: number;
  node: string;
  addresses: string[];
  zone: string;
  role: "node" | "witness";
  ports: { http: number; peer: number; control: number };
  /** Version and digest of the artefact that runs. */
  hcd: { version: string; sha256: string };
  runtime: Runtime;
}

export interface SnapshotInfo { name: string; guid: string; createtxg: string; /** UTC ms */ atMs: number }

/** `/hc/observed/<node>/node`. */
export interface ObservedNode {
  version: number;
  node: string;
  generation: number;
  atMs: number;
  /** When what this node publishes of its units was last as it really is, UTC ms; 0 = not since its start. Missing before version 0.2. */
  unitsAtMs?: number;
  pool: { name: string; dataset: string; guid: string; health: string; sizeBytes: string; freeBytes: string } | null;
  memory: { totalBytes: number; availableBytes: number };
  load: number;
  etcd: { role: "voter" | "learner" | "client"; healthy: boolean; fsyncMs: number | null };
  /** "<template>@<version>" → guid. */
  templates: Record<string, string>;
  /** Peers that answered on the control port in the last 10 s → round trip ms. */
  links: Record<string, number>;
  problems: string[];
  /** Of the machine's watchdog, where its Host has one. */
  watchdog?: "on" | "off" | "refused";
}

/** `/hc/observed/<node>/units/<shard>`: shard = unitShard(id); a map of unit id → what this node holds of it. */
export interface ObservedUnit {
  /** Epoch property of the local dataset. */
  epoch: number;
  /** serving: mounted, services run, ready check passed; starting; stopped: home but not running; replica; failed. */
  state: "serving" | "starting" | "stopped" | "replica" | "failed";
  mounted: boolean;
  usedBytes: string;
  /** Bytes written since the newest snapshot (home only). */
  writtenBytes: string;
  /** The newest snapshots, oldest first, at most 8. */
  snapshots: SnapshotInfo[];
  /** Home only: for each replica what it has confirmed. */
  replicas: Record<string, { guid: string; snapshot: string; confirmedAtMs: number; lagS: number; error: string; /** There is no room on one of the two pools: it goes on when there is. Missing: no. */ paused?: boolean }>;
  error: string;
  /** Home only: how often it had to be started anew, or could not be, in the last ten minutes, over how many seconds, and why last. Missing: not at all. */
  trouble?: { count: number; spanS: number; last: string } | undefined;
  /** Definition revision that is applied (etcd mod revision of the desired document), "0" when none. */
  appliedRevision: string;
}
export interface ObservedUnits { version: number; node: string; shard: number; units: Record<string, ObservedUnit> }

export const shards = 16;
/** FNV-1a of the id, modulo 16. */
export function unitShard(id: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(id)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % shards;
}

/** `/hc/customer/<name>`: numbers equal on all nodes, never used again for another customer. */
export interface CustomerRecord { version: number; name: string; uid: number; gid: number; user: string; deleted?: boolean }

/** `/hc/template/<name>/<version>`: who builds, and what was built. */
export interface TemplateRecord { version: number; name: string; templateVersion: string; builder: string; state: "building" | "ready" | "failed"; guid: string; error: string; runtime: Runtime }

/** `/hc/trash/<id>`: a deleted unit; id = `<unit>-<UTC yyyymmddThhmmssZ>`; dataset `<pool>/hc/trash/<id>` on each of `nodes`. */
export interface TrashRecord { version: number; id: string; unit: string; epoch: number; nodes: string[]; deletedAtMs: number; expiresAtMs: number; document: DesiredDocument<"site">; /** Set by the API, or by the leader after `expiresAtMs`: agents destroy their copies. */ purge?: boolean }

/** `/hc/drain/<node>`: while it is there, the planner moves sites away from the node and puts no copy there. */
export interface DrainRecord { version: number; node: string; reason: string; atMs: number }

/**
 * `/hc/recovery`: etcd went backwards (a restored backup), or was begun anew from one member or from nothing (daemon/recovery). While `recovering`, nothing is mounted, sent or planned anywhere.
 * `lineage` grows with each such break; a node that remembers a later one than etcd shows starts the next recovery. Missing: lineage 0, never broken.
 */
export interface RecoveryRecord { version: number; lineage: number; state: "recovering" | "done"; /** For people. */ reason: string; node: string; atMs: number; /** Members that need not report: a person's word. */ excluded: string[]; /** What it ended with, for people. */ detail: string }
/** `/hc/fence/<node>`: while it is there, the node has no sign of life (each heartbeat compares that it is not), so it owns nothing. */
export interface FenceRecord { version: number; node: string; reason: string; atMs: number; /** By the leader, not by a person: it takes it back (placement/plan-relief.ts). */ auto?: boolean }

/** `/hc/voters`: who votes in etcd instead of a voter of the program, by that voter's name; "" = nobody (daemon/membership/plan-voters.ts). Missing before version 0.2: nobody was replaced. */
export interface VotersRecord { version: number; seats: Record<string, string> }

/**
 * `/hc/removed/<node>`: the node is on its way out of the cluster (`hc node remove`, or the program names it no more). Nothing is placed there, its sites move away, its vote goes to another node.
 * `dead`: it never comes back, so its copies count for nothing; `/hc/fence/<node>` keeps it out if it does.
 */
export interface RemovalRecord { version: number; node: string; dead: boolean; reason: string; atMs: number }

/** `/hc/event/<UTC ms, 13 digits>-<node>-<n>`: history for people, bounded by the leader. */
export interface EventRecord { version: number; atMs: number; node: string; unit: string; event: string; detail: string }

export type AlertKind = "node-down" | "unit-down" | "one-copy" | "quorum" | "pool" | "behind" | "certificate";
/**
 * `/hc/alert/<id>`: what people are told, one of a cause; written by the leader alone, guarded by its election. Who was told what stands here, so that another leader neither repeats nor forgets it.
 */
export interface AlertRecord {
  version: number;
  id: string;
  kind: AlertKind;
  /** Conditions of one group that come together are one alert: "node-down/n2", "unit-down/n1" (by home), "one-copy", … */
  group: string;
  severity: "warning" | "critical";
  /** When the oldest of its conditions began; when people were to be told; when it was over (0 = it is not). UTC ms. */
  sinceMs: number;
  firedAtMs: number;
  resolvedAtMs: number;
  title: string;
  detail: string;
  /** How it ended; "" until then. */
  resolution: string;
  /** The next command to type. */
  command: string;
  /** Keys of the conditions that it tells of; `all`: there were too many, it stands for its whole group. */
  covers: string[];
  all: boolean;
  /** How often it came back within an hour after it was over: it must be over longer each time. */
  flaps: number;
  /** Receiver → what it was told last, and when. "given-up": a day has passed. */
  told: Record<string, { state: "" | "firing" | "resolved" | "given-up"; atMs: number }>;
}

/** `/hc/tls-tickets`: the key of TLS session tickets that all workers share (daemon/certificates/ticket-keys.ts), sealed. Missing before version 0.2. */
export interface TicketRecord { version: number; key: string; madeAtMs: number }

/**
 * `/hc/certificate/<host name>`: a certificate by ACME and how far the next one is; written by the leader alone (daemon/certificates). `chain` "": there is none yet. Missing before version 0.2.
 */
export interface CertificateRecord {
  version: number;
  name: string;
  chain: string;
  /** Sealed. */
  key: string;
  notBeforeMs: number;
  notAfterMs: number;
  /** Of the CA that it comes from. */
  directory: string;
  /** An order that has begun, with the sealed key of the certificate that it will give: kept before the CA is asked to sign. */
  order?: { url: string; key: string; directory: string };
  /** The attempts since the last success. Written before the CA is asked anything: `nextMs` holds for whoever leads. `reason` "": it runs, or was cut short. */
  attempt?: { count: number; atMs: number; nextMs: number; reason: string };
}
/** `/hc/acme-account/<id>`: the cluster's account at a CA; `url` "": not registered yet. */
export interface AcmeAccountRecord { version: number; directory: string; email: string; /** Sealed. */ key: string; url: string }
/** `/hc/acme-challenge/<token>`: what every node answers under /.well-known/acme-challenge/<token> (RFC 8555 §8.3). No secret: whoever asks is told. */
export interface ChallengeRecord { version: number; name: string; answer: string; atMs: number }

export const keys = {
  desired: (kind: string, name: string) => `/hc/desired/${kind}/${name}`,
  unit: (id: string) => `/hc/unit/${id}`,
  session: (node: string) => `/hc/session/${node}`,
  node: (node: string) => `/hc/node/${node}`,
  leader: "/hc/leader",
  drain: (node: string) => `/hc/drain/${node}`,
  fence: (node: string) => `/hc/fence/${node}`,
  voters: "/hc/voters",
  removed: (node: string) => `/hc/removed/${node}`,
  observedNode: (node: string) => `/hc/observed/${node}/node`,
  observedUnits: (node: string, shard: number) => `/hc/observed/${node}/units/${shard}`,
  customer: (name: string) => `/hc/customer/${name}`,
  template: (name: string, version: string) => `/hc/template/${name}/${version}`,
  trash: (id: string) => `/hc/trash/${id}`,
  alert: (id: string) => `/hc/alert/${id}`,
  /** Since when conditions hold that are no alert yet: a new leader goes on counting. */
  alertPending: "/hc/alert-pending",
  tickets: "/hc/tls-tickets",
  certificate: (name: string) => `/hc/certificate/${name}`,
  acmeAccount: (id: string) => `/hc/acme-account/${id}`,
  challenge: (token: string) => `/hc/acme-challenge/${token}`,
  recovery: "/hc/recovery",
  event: (id: string) => `/hc/event/${id}`,
  lock: (name: string) => `/hc/lock/${name}`,
} as const;

/** The hold that a person has ordered and that is not over. Pure. */
export const maintenanceOf = (record: Pick<UnitRecord, "hold"> | undefined, nowMs: number): UnitRecord["hold"] => (record?.hold !== undefined && record.hold.untilMs > nowMs ? record.hold : undefined);
