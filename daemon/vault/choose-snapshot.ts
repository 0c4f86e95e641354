import { HcError } from "../lib/errors.js";
import { parsePointInTime } from "../lib/point-in-time.js";
import type { SnapshotInfo } from "../lib/records.js";
import { parseSnapshotName } from "../zfs/snapshot-name.js";

export interface VaultSnapshot extends SnapshotInfo { /** When it was made, UTC ms: by its name (to the ms), else by zfs (to the s). */ madeMs: number }
export const madeMs = ({ name, atMs }: Pick<SnapshotInfo, "name" | "atMs">): number => parseSnapshotName(name)?.atMs ?? atMs;
/** A time that lies further ahead than clocks of laptops go wrong is a mistake, ms. */
const aheadMs = 120_000;

/**
 * Pure: what `--at` means. `at` is a time (lib/point-in-time.ts) or a snapshot's name; the answer is the newest snapshot made at that time or before, in the order of the history (oldest first), never of the
 * clocks. Throws INVALID_INPUT, NOT_FOUND (with the oldest one).
 */
export function chooseSnapshot(unit: string, snapshots: readonly SnapshotInfo[], at: string, nowMs: number): VaultSnapshot {
  const oldest = snapshots[0];
  if (oldest === undefined) throw new HcError("NOT_FOUND", `${unit} has no snapshot yet.`);
  const named = snapshots.find(({ name }) => name === at);
  if (named !== undefined) return { ...named, madeMs: madeMs(named) };
  if (parseSnapshotName(at) !== undefined) throw new HcError("NOT_FOUND", `${unit} has no snapshot ${at} (any more); \`hc vault list\` shows them.`);
  const wantedMs = parsePointInTime(at, nowMs);
  if (wantedMs > nowMs + aheadMs) throw new HcError("INVALID_INPUT", `at: ${new Date(wantedMs).toISOString()} lies ahead; it is ${new Date(nowMs).toISOString()} now.`);
  const found = snapshots.findLast((snapshot) => madeMs(snapshot) <= wantedMs);
  if (found === undefined) throw new HcError("NOT_FOUND", `${unit} has no snapshot of ${new Date(wantedMs).toISOString()} or before; the oldest one is of ${new Date(madeMs(oldest)).toISOString()} (${oldest.name}).`);
  return { ...found, madeMs: madeMs(found) };
}
