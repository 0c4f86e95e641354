import type { ObservedNode, ObservedUnit, SnapshotInfo } from "../lib/records.js";

/** A look sees a write only when its transaction group is on disk: 5 s (zfs_txg_timeout), and 2 s for the writing of it. When the look was, and how old what it saw may be, is in the report (replication/lag.ts). */
export const unseenS = 7;
const unseenMs = unseenS * 1_000;

export interface LossInput {
  /** Copy that is about to become home, and its newest snapshot. */
  node: string;
  last: Pick<SnapshotInfo, "guid" | "atMs">;
  /** What the dead home had published; it outlives the home. */
  home: ObservedUnit | undefined;
  homeNode: ObservedNode | undefined;
  /** When the home was last seen alive, UTC ms. */
  lastAliveMs: number;
  /** When the record named this home, UTC ms, if the copy holds what that began from: the home wrote nothing before. Undefined: not known, or the copy lacks it. */
  epochBeganMs?: number | undefined;
}

/**
 * Pure: the most seconds of acknowledged writes that may be missing on the copy. It is clean as of its newest snapshot, or, if the home's last report says so, as of that
 * report: a site to which nobody writes loses nothing, however old its newest snapshot is. And it is clean as of the failover before, when it holds what that one went on from: a home that dies soon after it was
 * chosen, before it could report, has written for no longer than that. Wall clocks of nodes are compared: NTP's error adds to it.
 */
export function possibleLossS({ node, last, home, homeNode, lastAliveMs, epochBeganMs }: LossInput): number {
  const told = home?.replicas[node];
  const reportedMs = told === undefined || told.guid === "" || homeNode?.unitsAtMs === undefined ? 0 : homeNode.unitsAtMs - Math.round(told.lagS * 1000);
  const cleanMs = Math.max(last.atMs - unseenMs, Math.min(reportedMs, lastAliveMs) - unseenMs, epochBeganMs ?? 0);
  return Math.max(0, Math.ceil((lastAliveMs - cleanMs) / 1000));
}
