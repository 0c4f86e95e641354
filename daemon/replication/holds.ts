import type { Zfs } from "../zfs/zfs.js";
import { zfsFailure } from "../zfs/errors.js";

/**
 * Common ground (DESIGN invariant 5): on both sides the newest snapshot common with another node is held under that node's tag. The tag names
 * the other side whichever of the two is home, so that a change of direction needs no change of holds.
 */
export const holdTag = (otherNode: string): string => `hc:${otherNode}`;

/** Holds `snapshot` for `otherNode`, then releases that tag from every other held snapshot of the dataset. */
export async function advanceHold(zfs: Zfs, dataset: string, snapshot: string, otherNode: string): Promise<void> {
  await zfs.hold(holdTag(otherNode), `${dataset}@${snapshot}`);
  for (const held of await zfs.snapshots(dataset))
    if (held.userrefs > 0 && held.name !== snapshot) await zfs.release(holdTag(otherNode), `${dataset}@${held.name}`);
}

/** Lets go of everything that was held for these nodes, e.g. before a trash copy is purged. A dataset that is gone is success. */
export async function releaseHolds(zfs: Zfs, dataset: string, nodes: readonly string[]): Promise<void> {
  const snapshots = await zfs.snapshots(dataset).catch((error: unknown) => {
    if (zfsFailure(error) === "missing") return [];
    throw error;
  });
  for (const snapshot of snapshots) if (snapshot.userrefs > 0) for (const node of nodes) await zfs.release(holdTag(node), `${dataset}@${snapshot.name}`);
}
