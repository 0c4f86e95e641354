import type { NodeContext } from "../context.js";
import type { ChangeReader } from "../zfs/changes.js";
import { zfsFailure } from "../zfs/errors.js";
import { remembered } from "../zfs/snapshot-memory.js";
import type { Snapshot } from "../zfs/zfs.js";
import type { InUse } from "./in-use.js";
import type { Counters } from "./metrics.js";
import { planPrune, type Retention } from "./plan-prune.js";
import { believe, type Believed, pruneNow } from "./prune-clock.js";

/** More are destroyed in the next round, so that a round stays short. */
const maxPerDataset = 100;
/** Every so many rounds all units are looked at, for what only grew old and for what others did; between them only those that changed, as remembered (zfs/snapshot-memory.ts). */
const wholeEvery = 5;

export interface PruneParts {
  counters: Counters;
  inUse: InUse;
  /** Undefined: not known, nothing is pruned. */
  retention(unit: string): Retention | undefined;
  /** Snapshots that must stay besides held ones; undefined = leave the unit alone now (it is moved, or received into). `atMs`: the time that is believed, UTC ms. */
  keep(unit: string, atMs: number): ReadonlySet<string> | undefined;
}

/** Thins out the snapshots of all units that this node holds, as home or as replica. */
export class Pruner {
  /** Dataset → its newest snapshot and when it was first seen here. */
  private readonly seen = new Map<string, { guid: string; atMs: number }>();
  private believed: Believed;
  private readonly changes: ChangeReader | undefined;
  /** Datasets to be looked at in the next round, and rounds until all are. */
  private due = new Set<string>();
  private untilWhole = 0;
  public constructor(
    private readonly context: Pick<NodeContext, "cluster" | "zfs" | "clock" | "log" | "changes">,
    private readonly parts: PruneParts,
  ) {
    this.changes = context.changes?.reader();
    this.believed = believe(undefined, context.clock.wallMs(), context.clock.monotonicMs());
  }

  public async round(signal: AbortSignal): Promise<void> {
    this.readClock();
    for (const [dataset, snapshots] of await this.look()) {
      const unit = this.unitOf(dataset);
      const newest = snapshots.at(-1);
      if (newest === undefined || unit === undefined) continue;
      const keep = this.parts.keep(unit, this.believed.atMs);
      const retention = this.parts.retention(unit);
      if (keep === undefined || retention === undefined) {
        this.due.add(dataset);
        continue;
      }
      for (const name of planPrune(snapshots, this.nowMs(dataset, newest), keep, retention).slice(0, maxPerDataset)) {
        if (signal.aborted) return;
        await this.destroy(`${dataset}@${name}`);
      }
    }
  }
  /** Undefined for what is none. */
  private unitOf(dataset: string): string | undefined {
    const root = `${this.context.cluster.dataset}/`;
    const unit = dataset.slice(root.length);
    return dataset.startsWith(root) && !unit.includes("/") && !unit.startsWith("tmpl-") ? unit : undefined;
  }
  /** The snapshots of what may have some to destroy. A failed look is made up for by the next round, at everything. */
  private async look(): Promise<Map<string, readonly Snapshot[]>> {
    const { zfs, cluster } = this.context;
    const changed = this.changes?.take();
    const due = [...new Set([...this.due, ...(changed ?? [])])].filter((dataset) => this.unitOf(dataset) !== undefined);
    const whole = changed === undefined || this.untilWhole <= 0;
    this.due = new Set();
    this.untilWhole = whole ? 0 : this.untilWhole - 1;
    if (whole) {
      const all = await zfs.allSnapshots(cluster.dataset, remembered);
      this.untilWhole = wholeEvery - 1;
      for (const name of this.seen.keys()) if (!all.has(name)) this.seen.delete(name);
      return all;
    }
    const seen = await Promise.all(due.map((dataset) => zfs.look(dataset, remembered))).catch((error: unknown) => {
      this.untilWhole = 0;
      throw error;
    });
    return new Map(seen.flatMap((one) => (one === undefined ? [] : [[one.dataset.name, one.snapshots]])));
  }
  private readClock(): void {
    const { clock, log } = this.context;
    const wasAhead = this.believed.aheadSinceMs !== undefined;
    this.believed = believe(this.believed, clock.wallMs(), clock.monotonicMs());
    if (!wasAhead && this.believed.aheadSinceMs !== undefined) log.warn({ wallMs: clock.wallMs(), believedMs: this.believed.atMs }, "the clock jumped ahead: snapshots are thinned out as if it had not, until it has stayed there for two days or hcd starts anew");
  }
  /** Of a snapshot that was there at the start things only grow old a little later. */
  private nowMs(dataset: string, newest: { guid: string; atMs: number }): number {
    const monotonic = this.context.clock.monotonicMs();
    let seen = this.seen.get(dataset);
    if (seen?.guid !== newest.guid) {
      seen = { guid: newest.guid, atMs: monotonic };
      this.seen.set(dataset, seen);
    }
    return pruneNow(newest.atMs, monotonic - seen.atMs, this.believed);
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
