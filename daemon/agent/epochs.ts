import { parseSnapshotName } from "../zfs/snapshot-name.js";
import type { LocalDataset } from "./model.js";

/** The highest epoch that a dataset knows of: its own property, and the names of its snapshots (OWNERSHIP 13). */
export function localEpoch(local: LocalDataset): number {
  const own = Number(local.user["epoch"] ?? "0");
  return local.snapshots.reduce((highest, snapshot) => Math.max(highest, parseSnapshotName(snapshot.name)?.epoch ?? 0), Number.isFinite(own) ? own : 0);
}
