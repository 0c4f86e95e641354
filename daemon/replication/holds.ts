import { zfsFailure } from "../zfs/errors.js";
import type { Snapshot, Zfs } from "../zfs/zfs.js";
import type { HoldBook } from "./hold-book.js";

/**
 * Common ground (DESIGN invariant 5). At home: `hc:<replica>` on the newest snapshot that the replica has, and on those that it may have got since. On a
 * replica: `hc:<home>` on the newest snapshot, `hc:keep` on those that the home keeps for other replicas (this node may become home). The
 * holds of a tag are never released before its new ones are made, and those of a send or receive a little later (hold-book.ts).
 */
export const holdTag = (otherNode: string): string => `hc:${otherNode}`;
export const keepTag = "hc:keep";

/**
 * Holds of this cluster on some snapshots of a dataset, as pairs of tag and full name. As zfs tells them, also those for nodes that have left since; where it does not tell, those that may be there: for `nodes`, and what was kept for others.
 */
export async function ourHolds(zfs: Pick<Zfs, "holds">, dataset: string, snapshots: readonly Snapshot[], nodes: readonly string[]): Promise<[tag: string, snapshot: string][]> {
  const held = snapshots.filter(({ userrefs }) => userrefs > 0).map(({ name }) => `${dataset}@${name}`);
  if (held.length === 0) return [];
  const told = await zfs.holds(held).catch((error: unknown) => {
    if (zfsFailure(error) === "missing") return undefined; // one went meanwhile; a release of what is not there is none
    throw error;
  });
  const tagsOf = (snapshot: string): string[] => (told === undefined ? [keepTag, ...nodes.map(holdTag)] : (told.get(snapshot) ?? []).filter((tag) => tag.startsWith(holdTag(""))));
  return held.flatMap((snapshot) => tagsOf(snapshot).map((tag): [string, string] => [tag, snapshot]));
}

/** Lets go of everything that this cluster holds, e.g. before a trash copy is purged. A dataset that is gone is success. */
export async function releaseHolds(zfs: Zfs, dataset: string, nodes: readonly string[]): Promise<void> {
  const snapshots = await zfs.snapshots(dataset).catch((error: unknown) => {
    if (zfsFailure(error) === "missing") return [];
    throw error;
  });
  for (const [tag, snapshot] of await ourHolds(zfs, dataset, snapshots, nodes)) await zfs.release(tag, snapshot);
}

/** The home's book of what it holds for one replica of one unit. */
export class PairHolds {
  /** Names that may carry the tag; undefined = not known (after a start), so every held snapshot may. */
  private names: Set<string> | undefined;
  public constructor(
    private readonly book: HoldBook,
    private readonly dataset: string,
    private readonly tag: string,
  ) {}
  /** Snapshots that are held for others than this pair (or for whom is not known). */
  public heldForOthers(local: readonly Snapshot[]): Snapshot[] {
    return local.filter((snapshot) => snapshot.userrefs > (this.names?.has(snapshot.name) === true ? 1 : 0));
  }
  public async hold(names: readonly string[]): Promise<void> {
    for (const name of names) {
      if (this.names?.has(name) === true) continue;
      await this.book.hold(this.tag, `${this.dataset}@${name}`);
      this.names?.add(name);
    }
  }
  /** From now on only `kept` are held for the pair. */
  public async keepOnly(kept: readonly string[], local: () => Promise<readonly Snapshot[]>): Promise<void> {
    const held = this.names === undefined ? (await local()).filter((snapshot) => snapshot.userrefs > 0).map((snapshot) => snapshot.name) : [...this.names];
    for (const name of held) if (!kept.includes(name)) this.book.releaseLater(this.tag, `${this.dataset}@${name}`);
    this.names = new Set(kept);
  }
}
