import { remembered } from "../zfs/snapshot-memory.js";
import type { LookOptions, Zfs } from "../zfs/zfs.js";

/** "<template>@<version>" → guid of every template snapshot below `root`: what `ObservedNode.templates` publishes. As far as they are remembered, it costs one command for the datasets. */
export async function heldTemplates(zfs: Pick<Zfs, "allSnapshots">, root: string, how: LookOptions = remembered): Promise<Record<string, string>> {
  const prefix = `${root}/tmpl-`;
  const held: Record<string, string> = {};
  for (const [dataset, snapshots] of await zfs.allSnapshots(root, how))
    if (dataset.startsWith(prefix)) for (const snapshot of snapshots) held[`${dataset.slice(prefix.length)}@${snapshot.name}`] = snapshot.guid;
  return held;
}
