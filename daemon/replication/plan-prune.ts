import type { SnapshotInfo } from "../lib/records.js";
import { parseSnapshotName } from "../zfs/snapshot-name.js";

/** Data Vault (DESIGN §7). */
export interface Retention {
  /** Every snapshot this young is kept, ms. */
  allMs: number;
  /** … but of more than this many only the oldest of each minute (a unit that is written to each second would keep 3,600). */
  maxRecent: number;
  hourlyMs: number;
  dailyMs: number;
  weeklyMs: number;
}
const minute = 60_000;
const hour = 60 * minute;
export const defaultRetention: Retention = { allMs: hour, maxRecent: 300, hourlyMs: 24 * hour, dailyMs: 30 * 24 * hour, weeklyMs: 12 * 7 * 24 * hour };

export interface PrunableSnapshot extends SnapshotInfo { userrefs: number }

/**
 * Names to destroy, oldest first. Of each hour, day and week the oldest snapshot is kept, so that the answer does not change when newer ones
 * come. Never: the newest one, one that is held, one in `keep` (names: sources of running sends, newest common ones), one whose name
 * we did not make. `nowMs` must not be read from a clock that may jump (see prune-clock.ts).
 */
export function planPrune(snapshots: readonly PrunableSnapshot[], nowMs: number, keep: ReadonlySet<string>, retention: Retention = defaultRetention): string[] {
  const newest = snapshots.at(-1);
  const buckets = new Set<string>();
  /** True for the first (oldest) snapshot of its bucket. */
  const first = (kind: string, atMs: number, lengthMs: number): boolean => {
    const bucket = `${kind}${Math.floor(atMs / lengthMs)}`;
    return buckets.has(bucket) ? false : buckets.add(bucket) !== undefined;
  };
  const destroy: string[] = [];
  const young: { name: string; first: boolean }[] = [];
  for (const snapshot of snapshots) {
    const ageMs = nowMs - snapshot.atMs;
    // every bucket is asked, so that one snapshot may stand for minute, hour, day and week
    const minutely = first("m", snapshot.atMs, minute);
    const hourly = first("h", snapshot.atMs, hour) && ageMs <= retention.hourlyMs;
    const daily = first("d", snapshot.atMs, 24 * hour) && ageMs <= retention.dailyMs;
    const weekly = first("w", snapshot.atMs, 7 * 24 * hour) && ageMs <= retention.weeklyMs;
    const isProtected = snapshot === newest || snapshot.userrefs > 0 || keep.has(snapshot.name) || parseSnapshotName(snapshot.name) === undefined;
    if (isProtected || hourly || daily || weekly) continue;
    if (ageMs > retention.allMs) destroy.push(snapshot.name);
    else young.push({ name: snapshot.name, first: minutely });
  }
  const surplus = young.slice(0, Math.max(0, young.length - retention.maxRecent)).filter((snapshot) => !snapshot.first);
  return [...destroy, ...surplus.map((snapshot) => snapshot.name)];
}
