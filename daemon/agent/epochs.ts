import { parseSnapshotName } from "../zfs/snapshot-name.js";
import type { LocalDataset } from "./model.js";

/** Highest epoch in the names of a list; lists are replaced when they change, never changed. A node has thousands of snapshots, and looks at them in every round. */
const highestOf = new WeakMap<LocalDataset["snapshots"], number>();

function highestNamed(snapshots: LocalDataset["snapshots"]): number {
  let highest = highestOf.get(snapshots);
  if (highest === undefined) {
    highest = snapshots.reduce((most, snapshot) => Math.max(most, parseSnapshotName(snapshot.name)?.epoch ?? 0), 0);
    highestOf.set(snapshots, highest);
  }
  return highest;
}

/** The highest epoch that a dataset knows of: its own property, and the names of its snapshots (OWNERSHIP 13). */
export function localEpoch(local: LocalDataset): number {
  const own = Number(local.user["epoch"] ?? "0");
  return Math.max(Number.isFinite(own) ? own : 0, highestNamed(local.snapshots));
}
