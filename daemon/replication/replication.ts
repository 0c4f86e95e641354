import type { Running } from "../context.js";
import type { ObservedUnit, SnapshotInfo, UnitRecord } from "../lib/records.js";

/** What one replica of a unit has confirmed; plain data, the shape of `ObservedUnit.replicas[node]`. */
export type ReplicaReport = ObservedUnit["replicas"][string];

/** One sample of `GET /metrics`. Names end in `_total` for counters. */
export interface MetricSample { name: string; labels: Readonly<Record<string, string>>; value: number }

/**
 * Replication of the units that are at home on this node, the receiving side for all others, and the spreading of templates.
 * `startReplication(context)` (start.ts) registers its peer routes and returns this.
 */
export interface Replication extends Running {
  /** unit → replica node → what it confirmed. Only units at home here that have replicas. `lagS` 0 = nothing unreplicated, else the age of the oldest unreplicated write that was seen. */
  report(): ReadonlyMap<string, Readonly<Record<string, ReplicaReport>>>;
  /** unit → bytes written since its newest snapshot, by the last look (at most about a second old); "0" when not looked at. */
  writtenBytes(unit: string): string;
  /**
   * Makes a snapshot of a unit whose record names this node, now, whether something was written or not; works while paused, in
   * every state of the record. Throws NOT_HOME, NOT_READY (this session has not taken the unit: what lies here may be the tail of an owner that had lost, and goes to the stash first), NOT_FOUND (no dataset here), COMMAND_FAILED.
   */
  snapshotNow(unit: string, signal: AbortSignal): Promise<SnapshotInfo>;
  /** The same; its name only, which is one command less. */
  snapshotMade(unit: string): Promise<string>;
  /** A name for `snapshotTogether`; no other snapshot gets it. Throws NOT_HOME. */
  snapshotName(unit: string): string;
  /** Makes these snapshots of units at home here by one command, all or none; on OpenZFS at one moment. Throws NOT_HOME, NOT_READY (as above), LIMIT_EXCEEDED (no room), ALREADY_EXISTS. */
  snapshotTogether(wanted: readonly { unit: string; name: string }[]): Promise<void>;
  /**
   * Sends until `node` has confirmed the newest snapshot that exists now (an increment where there is common ground, else from the template's snapshot, else full);
   * works while paused; one attempt, no back-off. `node` is a replica of the record or the target of its move.
   * `bytes` is what went over the wire (0: it had it already).
   * Throws DIVERGED, UNREACHABLE, NOT_READY, …
   */
  sendNow(unit: string, node: string, signal: AbortSignal): Promise<{ guid: string; snapshot: string; bytes: number }>;
  /** Snapshot, then `sendNow` to every replica of the record; the outcome of each ("" = confirmed, else the error's message). */
  flushAll(unit: string, signal: AbortSignal): Promise<Record<string, string>>;
  /** No more snapshots and sends of this unit by themselves; resolves when those that run have ended. Not kept over a restart of hcd. */
  pause(unit: string): Promise<void>;
  resume(unit: string): void;
  /** Nodes that this unit is being sent to now. */
  sendingTo(unit: string): string[];
  /** When the last look at what was written began, UTC ms; a write that it saw is in the report. */
  lookedAtMs(): number;
  /** Resolves when the round of snapshots that runs now has ended: the next one follows the records as they are now. */
  snapshotsSettled(): Promise<void>;
  /** Before a copy becomes writable here under a new epoch: what it holds after the snapshot at which that epoch starts goes to the stash. The stash's id, "" when there is nothing. */
  stashTail(unit: string, record: Pick<UnitRecord, "epoch" | "epochStartGuid">): Promise<string>;
  metrics(): MetricSample[];
}
