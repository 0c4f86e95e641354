import type { NodeContext } from "../context.js";
import type { ChangeReader } from "../zfs/changes.js";
import { justSeen, remembered } from "../zfs/snapshot-memory.js";
import type { Dataset, Snapshot } from "../zfs/zfs.js";
import { isUnitName } from "./names.js";
import type { Action } from "./steps.js";

export interface DiskFacts { datasets: readonly Dataset[]; snapshots: ReadonlyMap<string, readonly Snapshot[]> }

/** The whole tree is looked at at least this often, ms; more seldom where that takes long. */
const wholeMs = 2_000;
/** The same where it is known what this process changes: only others' doings are found by it. Its datasets, with what is remembered of their snapshots, and everything. */
const datasetsMs = 8_000;
/** Datasets, while the host's table of mounts is as it was at the last look: that somebody unmounts one is seen by the table, and the rest (a property, a dataset that a person made) can wait. */
const mountedDatasetsMs = 30_000;
const snapshotsMs = 300_000;
/** What replication does is looked at this often, ms: lists of snapshots are published as hints, and nobody waits for them. */
const touchedMs = 10_000;
/** Pauses between two looks at the whole tree, as multiples of what the last one took: regularly, and when somebody waits for it. */
const idleShare = 4;
const waitedShare = 2;
/** Longest pause by that, ms: one look that a stalled disk kept for a minute must not blind the node for four. */
const restMs = 30_000;
/** More changed units than this, and than this part of all, are looked at by one look at the whole, where they are waited for: of each that is not remembered all snapshots are asked for. */
const manyUnits = 16;
const manyWaitedShare = 2;
/** Steps that change no dataset but their unit's own. */
const ownDataset: ReadonlySet<Action> = new Set(["take-home", "raise-epoch", "clone-template", "set-properties", "mount-writable", "populate", "go-live", "start", "check", "stop", "unmount", "forget-record"]);
const noDataset: ReadonlySet<Action> = new Set(["ensure-user", "remove-user", "configure"]);

/**
 * What lies on this node's disk, as far as the agent plans from it. A look at everything costs with the number of units; a change costs a look at what changed:
 * a unit whose sequence ended or whose record changed is looked at alone at once, what replication has changed (`changes`) within 10 s, all datasets every 8 s (30 s while nothing is mounted or unmounted), and with them the snapshots of those
 * that nobody has listed for 5 to 10 minutes (zfs/snapshot-memory.ts; more seldom where that takes long, so that looking takes at most a fifth of the time). Keys in `stale()` changed since they were looked at: nothing is planned for them until they were.
 */
export class DiskView {
  private datasets = new Map<string, Dataset>();
  private snapshots: ReadonlyMap<string, readonly Snapshot[]> = new Map();
  private readonly changedUnits = new Set<string>();
  /** Of those, the ones whose record changed: what is planned for them next may hang on whether one certain snapshot is here, so little is taken from memory. */
  private readonly newRecords = new Set<string>();
  /** Keys whose change can be anywhere in the tree. */
  private readonly changedTree = new Set<string>();
  private known = false;
  /** When everything was looked at last, its datasets alone, and what replication has changed. */
  private endedMs = 0;
  private datasetsAtMs = 0;
  private touchedAtMs = 0;
  private tookMs = 0;
  /** Changed by this process, but by no step of the agent: the picture may be older, and what is planned from it too. */
  private readonly touched = new Set<string>();
  private count = 0;
  private touchedTree = false;
  private readonly changes: ChangeReader | undefined;
  /** The host's mounts when the datasets were looked at last. */
  private mounts: string | undefined;
  public constructor(private readonly context: Pick<NodeContext, "zfs" | "cluster" | "clock" | "changes"> & { platform?: Pick<NodeContext["platform"], "mounts"> }) {
    this.changes = context.changes?.reader();
  }

  /** Another number says that the picture may be another one than before. */
  public get version(): number {
    return this.count;
  }
  /** Somebody else may have changed anything (the fencer has, when a session was lost): the next look is at everything. */
  public distrust(): void {
    this.known = false;
  }

  /** Does a dataset of it lie here, as far as is known? */
  public holds(unit: string): boolean {
    return !this.known || this.datasets.has(`${this.context.cluster.dataset}/${unit}`);
  }
  /** The record of a unit changed, or somebody says that its dataset did. */
  public unitChanged(unit: string): void {
    this.changedUnits.add(unit);
    this.newRecords.add(unit);
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
    return this.changedTree.size === 0 ? undefined : Math.max(0, this.endedMs + Math.min(waitedShare * this.tookMs, restMs) - this.context.clock.monotonicMs());
  }

  /** Looks at what has to be looked at now. Changes that come meanwhile stay for the next look. Not `alone`: others (the fencer) may change things just now. `busy`: something is being done for these, they are looked at when it has ended. */
  public async look(alone = true, busy: ReadonlySet<string> = new Set()): Promise<DiskFacts> {
    this.takeTouched();
    const nowMs = this.context.clock.monotonicMs();
    const rested = (sinceMs: number, ms: number): boolean => nowMs - sinceMs >= Math.max(ms, Math.min(idleShare * this.tookMs, restMs));
    const known = alone && this.changes !== undefined;
    let due = 0;
    for (const unit of this.changedUnits) if (!busy.has(unit)) due += 1;
    const whole = !this.known || rested(this.endedMs, known && !this.touchedTree ? snapshotsMs : wholeMs) || this.waitMs() === 0 || due > Math.max(manyUnits, this.datasets.size / manyWaitedShare);
    // who waits for a unit that was just mounted or unmounted here does not wait for all the others too
    const datasetsMay = known && due === 0 && rested(Math.max(this.datasetsAtMs, this.endedMs), datasetsMs);
    const mounts = whole || datasetsMay ? this.context.platform?.mounts?.() : undefined;
    const datasetsDue = datasetsMay && (mounts === undefined || mounts !== this.mounts || rested(Math.max(this.datasetsAtMs, this.endedMs), mountedDatasetsMs));
    if (whole) await this.lookAtAll();
    else if (datasetsDue && !(await this.lookAtDatasets())) await this.lookAtAll();
    else await this.lookAtUnits(known && nowMs - Math.max(this.touchedAtMs, this.endedMs) >= touchedMs, busy);
    // as they were before the look, and only when it succeeded
    if (whole || datasetsDue) this.mounts = mounts;
    return { datasets: [...this.datasets.values()], snapshots: this.snapshots };
  }

  private takeTouched(): void {
    if (this.changes === undefined) return;
    const root = `${this.context.cluster.dataset}/`;
    const names = this.changes.take();
    this.touchedTree ||= names === undefined;
    for (const name of names ?? []) {
      const unit = name.slice(root.length);
      if (name.startsWith(root) && isUnitName(unit)) this.touched.add(unit);
      // below a unit, or something of another kind; the root itself is no part of the picture
      else if (name.startsWith(root)) this.touchedTree = true;
    }
  }

  private async lookAtAll(): Promise<void> {
    const { zfs, cluster, clock } = this.context;
    const [units, tree, touched, records] = [[...this.changedUnits], [...this.changedTree], [...this.touched], [...this.newRecords]];
    this.changedUnits.clear();
    this.newRecords.clear();
    this.changedTree.clear();
    this.touched.clear();
    this.touchedTree = false;
    const [beganMs, wasKnown] = [clock.monotonicMs(), this.known];
    try {
      const listed = zfs.datasets(cluster.dataset);
      // when somebody else (the fencer) may have done anything, nothing is taken from memory
      const [datasets, snapshots] = await Promise.all([listed, wasKnown && this.changes !== undefined ? listed.then((all) => this.remembered(all, records)) : zfs.allSnapshots(cluster.dataset)]);
      this.datasets = new Map(datasets.map((dataset) => [dataset.name, dataset]));
      this.snapshots = snapshots;
      this.count += 1;
      this.known = true;
    } catch (error) {
      for (const unit of units) this.changedUnits.add(unit);
      for (const unit of records) this.newRecords.add(unit);
      for (const key of tree) this.changedTree.add(key);
      for (const unit of touched) this.touched.add(unit);
      throw error;
    } finally {
      this.endedMs = clock.monotonicMs();
      this.tookMs = this.endedMs - beganMs;
    }
  }

  /** All datasets, and of their snapshots what is not remembered. False: one came, went or was replaced, whose snapshots are not known. */
  private async lookAtDatasets(): Promise<boolean> {
    const { zfs, cluster, clock } = this.context;
    const seen = await zfs.datasets(cluster.dataset);
    this.datasetsAtMs = clock.monotonicMs();
    if (seen.length !== this.datasets.size || seen.some(({ name, guid }) => this.datasets.get(name)?.guid !== guid)) return false;
    const touched = [...this.touched];
    this.touched.clear();
    this.touchedAtMs = this.datasetsAtMs;
    let snapshots: ReadonlyMap<string, readonly Snapshot[]>;
    try {
      snapshots = await this.remembered(seen);
    } catch (error) {
      for (const unit of touched) this.touched.add(unit);
      throw error;
    }
    // a unit that changes meanwhile is stale, or touched, and looked at again
    if (seen.every((dataset) => isSame(dataset, this.datasets.get(dataset.name) as Dataset) && snapshots.get(dataset.name) === this.snapshots.get(dataset.name))) return true;
    this.count += 1;
    this.datasets = new Map(seen.map((dataset) => [dataset.name, dataset]));
    this.snapshots = snapshots;
    return true;
  }
  /** All snapshots, of which only those are asked for that changed, or were not looked at for some minutes; those of `records`, whose record changed, within the last one. */
  private async remembered(datasets: readonly Dataset[], records: readonly string[] = []): Promise<ReadonlyMap<string, readonly Snapshot[]>> {
    const { zfs, cluster } = this.context;
    const names = new Set(records.map((unit) => `${cluster.dataset}/${unit}`));
    if (names.size > 0) await zfs.allSnapshots(cluster.dataset, { ...justSeen, datasets: datasets.filter(({ name }) => names.has(name)) });
    return zfs.allSnapshots(cluster.dataset, { ...remembered, datasets });
  }

  /** Units that changed; `touched`: and those that replication has changed. */
  private async lookAtUnits(touched: boolean, busy: ReadonlySet<string>): Promise<void> {
    const { zfs, cluster, clock } = this.context;
    const changed = [...this.changedUnits].filter((unit) => !busy.has(unit));
    const units = [...new Set([...changed, ...(touched ? this.touched : [])])];
    const records = changed.filter((unit) => this.newRecords.has(unit));
    for (const unit of changed) this.changedUnits.delete(unit);
    for (const unit of records) this.newRecords.delete(unit);
    if (touched) {
      this.touched.clear();
      this.touchedAtMs = clock.monotonicMs();
    }
    if (units.length === 0) return;
    const names = units.map((unit) => `${cluster.dataset}/${unit}`);
    const seen = await Promise.all(names.map((name, at) => zfs.look(name, records.includes(units[at] as string) ? justSeen : remembered))).catch((error: unknown) => {
      for (const unit of units) this.changedUnits.add(unit);
      for (const unit of records) this.newRecords.add(unit);
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
    this.count += 1;
  }
}

/** In all that is planned from or told: what is available is the pool's, and changes with each write of anybody. */
function isSame(a: Dataset, b: Dataset): boolean {
  const user = Object.entries(a.user);
  return a.mounted === b.mounted && a.readonly === b.readonly && a.quotaBytes === b.quotaBytes && a.usedBytes === b.usedBytes && a.origin === b.origin && a.mountpoint === b.mountpoint && user.length === Object.keys(b.user).length && user.every(([name, value]) => b.user[name] === value);
}
