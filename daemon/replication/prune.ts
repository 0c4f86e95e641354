import type { NodeContext } from "../context.js";
import { zfsFailure } from "../zfs/errors.js";
import type { InUse } from "./in-use.js";
import type { Counters } from "./metrics.js";
import { planPrune, type Retention } from "./plan-prune.js";

/** More are destroyed in the next round, so that a round stays short. */
const maxPerDataset = 100;

export interface PruneParts {
  counters: Counters;
  inUse: InUse;
  /** Undefined: not known, nothing is pruned. */
  retention(unit: string): Retention | undefined;
  /** Snapshots that must stay besides held ones; undefined = leave the unit alone now (it is moved, or received into). */
  keep(unit: string): ReadonlySet<string> | undefined;
}

/** Thins out the snapshots of all units that this node holds, as home or as replica. */
export class Pruner {
  /** Dataset → its newest snapshot and when it was first seen here. */
  private readonly seen = new Map<string, { guid: string; atMs: number }>();
  public constructor(
    private readonly context: Pick<NodeContext, "cluster" | "zfs" | "clock" | "log">,
    private readonly parts: PruneParts,
  ) {}

  public async round(signal: AbortSignal): Promise<void> {
    const root = this.context.cluster.dataset;
    const all = await this.context.zfs.allSnapshots(root);
    for (const name of this.seen.keys()) if (!all.has(name)) this.seen.delete(name);
    for (const [dataset, snapshots] of all) {
      const unit = dataset.slice(root.length + 1);
      const newest = snapshots.at(-1);
      if (newest === undefined || !dataset.startsWith(`${root}/`) || unit.includes("/") || unit.startsWith("tmpl-")) continue;
      const keep = this.parts.keep(unit);
      const retention = this.parts.retention(unit);
      if (keep === undefined || retention === undefined) continue;
      for (const name of planPrune(snapshots, this.nowMs(dataset, newest), keep, retention).slice(0, maxPerDataset)) {
        if (signal.aborted) return;
        await this.destroy(`${dataset}@${name}`);
      }
    }
  }
  /**
   * Ages count from the newest snapshot's own time plus the monotonic time since it was first seen here: a wall clock that jumps by years
   * must not empty the vault. After a restart things only grow old a little later.
   */
  private nowMs(dataset: string, newest: { guid: string; atMs: number }): number {
    const monotonic = this.context.clock.monotonicMs();
    let seen = this.seen.get(dataset);
    if (seen?.guid !== newest.guid) {
      seen = { guid: newest.guid, atMs: monotonic };
      this.seen.set(dataset, seen);
    }
    return newest.atMs + (monotonic - seen.atMs);
  }
  private async destroy(snapshot: string): Promise<void> {
    if (this.parts.inUse.has(snapshot)) return;
    try {
      await this.context.zfs.destroy(snapshot);
      this.parts.counters.add("hc_replication_pruned_total", {});
    } catch (error) {
      const failure = zfsFailure(error);
      // held meanwhile, browsed through a clone, or gone already: the next round looks again
      if (failure !== "busy" && failure !== "has-clones" && failure !== "missing") throw error;
    }
  }
}
