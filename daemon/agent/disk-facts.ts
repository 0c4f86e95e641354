import type { NodeContext } from "../context.js";
import type { Dataset, Snapshot } from "../zfs/zfs.js";
import { isUnitName } from "./names.js";
import type { Action } from "./steps.js";

export interface DiskFacts { datasets: readonly Dataset[]; snapshots: ReadonlyMap<string, readonly Snapshot[]> }

/** The whole tree is looked at at least this often, ms; more seldom where that takes long. */
const wholeMs = 2_000;
/** Pauses between two looks at the whole tree, as multiples of what the last one took: regularly, and when somebody waits for it. */
const idleShare = 4;
const waitedShare = 2;
/** More changed units than this are looked at by one look at the whole. */
const manyUnits = 16;
/** Steps that change no dataset but their unit's own. */
const ownDataset: ReadonlySet<Action> = new Set(["take-home", "raise-epoch", "clone-template", "set-properties", "mount-writable", "populate", "go-live", "start", "check", "stop", "unmount", "forget-record"]);
const noDataset: ReadonlySet<Action> = new Set(["ensure-user", "remove-user", "configure"]);

/**
 * What lies on this node's disk, as far as the agent plans from it. A look at everything costs with the number of units; a change costs a look at what changed:
 * a unit whose sequence ended or whose record changed is looked at alone, everything every 2 s (more seldom where that takes long, so that looking takes at most
 * a fifth of the time). Keys in `stale()` changed since they were looked at: nothing is planned for them until they were.
 */
export class DiskView {
  private datasets = new Map<string, Dataset>();
  private snapshots = new Map<string, readonly Snapshot[]>();
  private readonly changedUnits = new Set<string>();
  /** Keys whose change can be anywhere in the tree. */
  private readonly changedTree = new Set<string>();
  private known = false;
  private endedMs = 0;
  private tookMs = 0;
  public constructor(private readonly context: Pick<NodeContext, "zfs" | "cluster" | "clock">) {}

  /** The record of a unit changed, or somebody says that its dataset did. */
  public unitChanged(unit: string): void {
    this.changedUnits.add(unit);
  }
  /** A sequence of steps ended, well or not. */
  public ended(key: string, actions: readonly Action[]): void {
    if (actions.every((action) => noDataset.has(action))) return;
    if (isUnitName(key) && actions.every((action) => ownDataset.has(action) || noDataset.has(action))) this.changedUnits.add(key);
    else this.changedTree.add(key);
  }
  /** Something changed that has no key of its own, e.g. the templates that others spread. */
  public treeChanged(): void {
    this.changedTree.add("");
  }
  /** Is this key's part of the picture older than its last change? What lies in the trash is one part. */
  public isStale(key: string): boolean {
    if (!this.known || this.changedUnits.has(key) || this.changedTree.has(key)) return true;
    return key.startsWith("trash:") && [...this.changedTree].some((changed) => changed !== "" && !changed.startsWith("template:"));
  }
  /** ms until what somebody waits for is looked at; undefined when nobody waits. */
  public waitMs(): number | undefined {
    return this.changedTree.size === 0 ? undefined : Math.max(0, this.endedMs + waitedShare * this.tookMs - this.context.clock.monotonicMs());
  }

  /** Looks at what has to be looked at now. Changes that come meanwhile stay for the next look. */
  public async look(): Promise<DiskFacts> {
    const sinceMs = this.context.clock.monotonicMs() - this.endedMs;
    const whole = !this.known || sinceMs >= Math.max(wholeMs, idleShare * this.tookMs) || this.waitMs() === 0 || this.changedUnits.size > manyUnits;
    await (whole ? this.lookAtAll() : this.lookAtUnits());
    return { datasets: [...this.datasets.values()], snapshots: this.snapshots };
  }

  private async lookAtAll(): Promise<void> {
    const { zfs, cluster, clock } = this.context;
    const [units, tree] = [[...this.changedUnits], [...this.changedTree]];
    this.changedUnits.clear();
    this.changedTree.clear();
    const beganMs = clock.monotonicMs();
    try {
      const [datasets, snapshots] = await Promise.all([zfs.datasets(cluster.dataset), zfs.allSnapshots(cluster.dataset)]);
      this.datasets = new Map(datasets.map((dataset) => [dataset.name, dataset]));
      this.snapshots = snapshots;
      this.known = true;
    } catch (error) {
      for (const unit of units) this.changedUnits.add(unit);
      for (const key of tree) this.changedTree.add(key);
      throw error;
    } finally {
      this.endedMs = clock.monotonicMs();
      this.tookMs = this.endedMs - beganMs;
    }
  }

  private async lookAtUnits(): Promise<void> {
    const { zfs, cluster } = this.context;
    const units = [...this.changedUnits];
    this.changedUnits.clear();
    const names = units.map((unit) => `${cluster.dataset}/${unit}`);
    const seen = await Promise.all(names.map((name) => zfs.look(name))).catch((error: unknown) => {
      for (const unit of units) this.changedUnits.add(unit);
      throw error;
    });
    const snapshots = new Map(this.snapshots);
    for (const [index, name] of names.entries()) {
      const found = seen[index];
      if (found === undefined) {
        this.datasets.delete(name);
        snapshots.delete(name);
      } else {
        this.datasets.set(name, found.dataset);
        snapshots.set(name, found.snapshots);
      }
    }
    this.snapshots = snapshots;
  }
}
