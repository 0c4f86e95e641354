import type { SnapshotInfo } from "../lib/records.js";
import { isSendable } from "./wire.js";

/** What a replica says it holds of a unit. */
export interface RemoteState {
  /** False: no dataset of that name. */
  exists: boolean;
  /** Oldest first. */
  snapshots: readonly Pick<SnapshotInfo, "name" | "guid">[];
  /** Does it hold the template snapshot with the guid that was asked for? */
  holdsOrigin: boolean;
}

/** The template snapshot that the local dataset is a clone of. */
export interface Origin { snapshot: string; guid: string }

export type Decision =
  /** Nothing here that could be sent. */
  | { kind: "nothing" }
  | { kind: "up-to-date"; target: SnapshotInfo }
  /** Increment from the newest common snapshot. */
  | { kind: "incremental"; base: SnapshotInfo; target: SnapshotInfo }
  /** First send of a clone: increment from the template's snapshot, so that blocks stay shared. */
  | { kind: "from-origin"; origin: Origin; target: SnapshotInfo }
  /** First send of a clone to a node that lacks the template: that must be there first. */
  | { kind: "needs-origin"; origin: Origin }
  | { kind: "full"; target: SnapshotInfo }
  /** The replica has snapshots after the common one that the home does not have. */
  | { kind: "diverged"; common: SnapshotInfo; remoteOnly: string[] }
  /** Two datasets of one name without a common past. */
  | { kind: "no-common" };

/**
 * Compares by guid, never by name or time (a guid is the same on each node that received the snapshot). `local` and the replica's
 * list are oldest first by createtxg of their own node.
 */
export function decide(local: readonly SnapshotInfo[], remote: RemoteState, origin: Origin | undefined): Decision {
  const target = local.findLast(isSendable);
  if (target === undefined) return { kind: "nothing" };
  if (!remote.exists) {
    if (origin === undefined) return { kind: "full", target };
    return remote.holdsOrigin ? { kind: "from-origin", origin, target } : { kind: "needs-origin", origin };
  }
  const byGuid = new Map(local.map((snapshot) => [snapshot.guid, snapshot]));
  const remoteOnly: string[] = [];
  for (const snapshot of [...remote.snapshots].reverse()) {
    const common = byGuid.get(snapshot.guid);
    if (common === undefined) {
      remoteOnly.unshift(snapshot.name);
      continue;
    }
    if (remoteOnly.length > 0) return { kind: "diverged", common, remoteOnly };
    // a copy may hold one that is newer than all that can be sent, by hand
    return local.indexOf(common) >= local.indexOf(target) ? { kind: "up-to-date", target: common } : { kind: "incremental", base: common, target };
  }
  return { kind: "no-common" };
}

/** One stream. `base` undefined = full. */
export interface Step<S extends SnapshotInfo> { base: { snapshot: string; guid: string; clone: boolean } | undefined; target: S }

/**
 * The streams that carry out a decision: one for each held snapshot on the way, then the target. A snapshot is held when it is, or may be, the newest of
 * some replica, and can be sent; every other replica gets it too, so that whichever of them becomes home shares ground with all the others. `wanted`: names of those that a person wants kept
 * (daemon/vault): they too shall be wherever the unit may become home.
 * Full names of bases below `dataset`.
 */
export function stepsOf<S extends SnapshotInfo & { userrefs: number }>(dataset: string, local: readonly S[], decision: Extract<Decision, { kind: "incremental" | "from-origin" | "full" }>, wanted: ReadonlySet<string> = new Set()): Step<S>[] {
  const from = decision.kind === "incremental" ? local.findIndex((snapshot) => snapshot.guid === decision.base.guid) : -1;
  const to = local.findIndex((snapshot) => snapshot.guid === decision.target.guid);
  const steps: Step<S>[] = [];
  let base: Step<S>["base"] =
    decision.kind === "incremental" ? { snapshot: `${dataset}@${decision.base.name}`, guid: decision.base.guid, clone: false } : decision.kind === "from-origin" ? { ...decision.origin, clone: true } : undefined;
  for (const [index, target] of local.entries()) {
    if (index <= from || index > to || (index < to && ((target.userrefs === 0 && !wanted.has(target.name)) || !isSendable(target)))) continue;
    steps.push({ base, target });
    base = { snapshot: `${dataset}@${target.name}`, guid: target.guid, clone: false };
  }
  return steps;
}
