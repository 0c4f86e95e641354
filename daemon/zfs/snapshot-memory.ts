import { Locks } from "../lib/locks.js";
import { zfsFailure } from "./errors.js";
import { compareDecimal } from "./parse.js";
import type { Dataset, LookOptions, Snapshot, Zfs } from "./zfs.js";

/** How old those who look again and again let it be. */
export const remembered: LookOptions = { maxAgeMs: 600_000 };
/** The same where what is decided next may hang on whether one certain snapshot is here: a seal has just looked, or a move's preparation has; what was seen an hour ago does not do. */
export const justSeen: LookOptions = { maxAgeMs: 60_000 };
/** With more touched snapshots than this a look asks for all: their names would make a long command line. */
const maxTouched = 50;
/** What nobody has listed for so long is remembered no longer, ms. */
const forgetMs = 900_000;
/** Where more datasets than this, and than this part of all, are not remembered, one list of all is asked for. */
const manyUnknown = 16;
const manyShare = 4;

interface Entry {
  seenAtMs: number;
  /** Of the dataset: another one of its name may have taken its place. "": not known yet. */
  guid: string;
  snapshots: Map<string, Snapshot>;
  /** The same, oldest first: one and the same list as long as nothing of it is other than before. */
  list: readonly Snapshot[];
  /** Names that this process has made, received, held or released since they were looked at: asked anew. */
  touched: Set<string>;
}
type Seen = Awaited<ReturnType<Zfs["look"]>>;

/**
 * Snapshots as this process saw them, so that a look at a dataset need not ask for each of hundreds that have not changed (zfs tells their properties one by one). Its dataset is always asked, and every snapshot that
 * this process has done something to; what is done to a whole dataset (rename, rollback, ...) forgets it. What others do (the fencer, a person) is seen by the next whole look.
 * Looks at one dataset are made one after the other; what is told meanwhile counts for the next one.
 */
export class SnapshotMemory {
  private readonly entries = new Map<string, Entry>();
  /** Datasets that are just being looked at. */
  private readonly looking = new Set<string>();
  /** For each list of all that is on its way: datasets that are looked at, or changed, meanwhile; with a slash at its end: and all below it. */
  private readonly listing = new Set<Set<string>>();
  private readonly locks = new Locks();
  public constructor(
    private readonly zfs: Pick<Zfs, "look" | "lookAt" | "snapshots" | "allSnapshots">,
    private readonly nowMs: () => number,
  ) {}

  /** `zfs.look`, of snapshots that were not touched as they were seen at most `maxAgeMs` ago. */
  public look(dataset: string, maxAgeMs: number): Promise<Seen> {
    return this.alone(dataset, async () => {
      const known = await this.again(dataset, maxAgeMs);
      if (known !== undefined) return known;
      const seen = await this.whole(dataset, () => this.zfs.look(dataset), (found) => found?.snapshots, (found) => found?.dataset.guid);
      return seen === undefined ? undefined : { dataset: seen.dataset, snapshots: this.entries.get(dataset)?.list ?? seen.snapshots };
    });
  }
  /** `zfs.snapshots` in the same way, undefined for a dataset that is not there: nothing is asked where nothing was touched. */
  private async list(dataset: string, maxAgeMs: number): Promise<readonly Snapshot[] | undefined> {
    const known = this.fresh(dataset, maxAgeMs);
    if (known?.touched.size === 0 && !this.looking.has(dataset)) return known.list;
    const missing = (error: unknown): undefined => {
      if (zfsFailure(error) !== "missing") throw error;
    };
    return this.alone(dataset, async () => (await this.again(dataset, maxAgeMs))?.snapshots ?? this.whole(dataset, () => this.zfs.snapshots(dataset).catch(missing), (seen) => seen));
  }
  /** `zfs.allSnapshots` in the same way, of these datasets. */
  public async all(root: string, datasets: readonly Pick<Dataset, "name" | "guid">[], maxAgeMs: number): Promise<Map<string, readonly Snapshot[]>> {
    const wanted: string[] = [];
    for (const { name, guid } of datasets) {
      if (name !== root && (!name.startsWith(`${root}/`) || name.slice(root.length + 1).includes("/"))) continue;
      wanted.push(name);
      const known = this.entries.get(name)?.guid ?? "";
      if (known !== "" && known !== guid) this.drop(name);
    }
    for (const [name, { seenAtMs }] of this.entries) if (this.nowMs() - seenAtMs > forgetMs) this.drop(name);
    if (wanted.filter((name) => this.fresh(name, maxAgeMs) === undefined).length > Math.max(manyUnknown, wanted.length / manyShare)) await this.learn(root, wanted);
    const lists = await Promise.all(wanted.map((name) => this.list(name, maxAgeMs)));
    for (const { name, guid } of datasets) {
      const entry = this.entries.get(name);
      if (entry?.guid === "") entry.guid = guid;
    }
    return new Map(lists.flatMap((list, at) => (list === undefined || list.length === 0 ? [] : [[wanted[at] as string, list]])));
  }

  private fresh(dataset: string, maxAgeMs: number): Entry | undefined {
    const entry = this.entries.get(dataset);
    return entry !== undefined && this.nowMs() - entry.seenAtMs < maxAgeMs * spread(dataset) ? entry : undefined;
  }
  private alone<T>(dataset: string, act: () => Promise<T>): Promise<T> {
    return this.locks.run(dataset, async () => {
      this.looking.add(dataset);
      for (const other of this.listing) other.add(dataset);
      try {
        return await act();
      } finally {
        this.looking.delete(dataset);
      }
    });
  }
  /** Asks for everything. `act` may find no dataset. */
  private async whole<T>(dataset: string, act: () => Promise<T>, snapshotsOf: (seen: T) => readonly Snapshot[] | undefined, guidOf: (seen: T) => string | undefined = () => undefined): Promise<T> {
    const before = this.entries.get(dataset)?.list;
    const entry: Entry = { seenAtMs: this.nowMs(), guid: "", snapshots: new Map(), list: [], touched: new Set() };
    this.entries.set(dataset, entry);
    const seen = await act().catch((error: unknown) => {
      this.entries.delete(dataset);
      throw error;
    });
    const snapshots = snapshotsOf(seen);
    if (snapshots === undefined) this.entries.delete(dataset);
    else fill(entry, snapshots, before);
    entry.guid = guidOf(seen) ?? "";
    return seen;
  }
  /** Asks for the dataset and what was touched. Undefined: not remembered, or something that was is not there any more, or was forgotten meanwhile. */
  private async again(dataset: string, maxAgeMs: number): Promise<Seen> {
    const entry = this.fresh(dataset, maxAgeMs);
    if (entry === undefined || entry.touched.size > maxTouched) return undefined;
    const { touched } = entry;
    entry.touched = new Set();
    const seen = await this.zfs.lookAt(dataset, [...touched]).catch((error: unknown) => {
      this.entries.delete(dataset);
      if (zfsFailure(error) === "missing") return undefined;
      throw error;
    });
    if (seen === undefined || this.entries.get(dataset) !== entry || (entry.guid !== "" && entry.guid !== seen.dataset.guid)) return undefined;
    entry.guid = seen.dataset.guid;
    for (const snapshot of seen.snapshots) entry.snapshots.set(snapshot.name, snapshot);
    if (seen.snapshots.length > 0) fill(entry, [...entry.snapshots.values()].sort((a, b) => compareDecimal(a.createtxg, b.createtxg)), entry.list);
    return { dataset: seen.dataset, snapshots: entry.list };
  }
  /** `zfs.allSnapshots`; what it tells is remembered, also of `datasets` that have none. What was looked at or changed meanwhile is known better. */
  public async learn(root: string, datasets: readonly string[] = []): Promise<Map<string, readonly Snapshot[]>> {
    const [nowMs, other] = [this.nowMs(), new Set(this.looking)];
    this.listing.add(other);
    try {
      const all = await this.zfs.allSnapshots(root);
      const below = [...other].filter((name) => name.endsWith("/"));
      for (const [dataset, list] of [...all, ...datasets.filter((name) => !all.has(name)).map((name) => [name, []] as const)]) {
        if (other.has(dataset) || below.some((prefix) => prefix === "/" || dataset.startsWith(prefix))) continue;
        const before = this.entries.get(dataset);
        const entry: Entry = { seenAtMs: nowMs, guid: "", snapshots: new Map(), list: [], touched: before?.touched ?? new Set() };
        fill(entry, list, before?.list);
        this.entries.set(dataset, entry);
      }
      return all;
    } finally {
      this.listing.delete(other);
    }
  }

  /** Something was done to this snapshot, or may have been: it is there now. */
  public touched(snapshot: string): void {
    const [dataset = "", name = ""] = snapshot.split("@");
    const entry = this.entries.get(dataset);
    if (entry === undefined) for (const other of this.listing) other.add(dataset);
    entry?.touched.add(name);
  }
  /** This snapshot was destroyed. */
  public destroyed(snapshot: string): void {
    const [dataset = "", name = ""] = snapshot.split("@");
    for (const other of this.listing) other.add(dataset);
    if (this.looking.has(dataset)) return void this.entries.delete(dataset); // the look may have seen it
    const entry = this.entries.get(dataset);
    if (entry?.touched.has(name) === true) return; // it may be there again: it is asked for
    if (entry?.snapshots.delete(name) === true) entry.list = entry.list.filter((one) => one.name !== name);
  }
  /** Something was done to this dataset, or below it, that may have changed any of its snapshots. "": to any. */
  public forget(dataset: string): void {
    for (const name of this.entries.keys()) if (dataset === "" || name === dataset || name.startsWith(`${dataset}/`)) this.drop(name);
    for (const other of this.listing) other.add(dataset).add(`${dataset}/`);
  }
  private drop(dataset: string): void {
    this.entries.delete(dataset);
    for (const other of this.listing) other.add(dataset);
  }
}

function fill(entry: Entry, snapshots: readonly Snapshot[], before: readonly Snapshot[] | undefined): void {
  const isSame = before?.length === snapshots.length && snapshots.every((one, at) => one.guid === before[at]?.guid && one.name === before[at]?.name && one.createtxg === before[at]?.createtxg && one.userrefs === before[at]?.userrefs);
  entry.list = isSame ? before : snapshots;
  entry.snapshots = new Map(entry.list.map((snapshot) => [snapshot.name, snapshot]));
}

/** 0.5 to 1, by name: so that what was looked at together grows old at other times. */
function spread(dataset: string): number {
  let hash = 0;
  for (let at = 0; at < dataset.length; at += 1) hash = (hash * 31 + dataset.charCodeAt(at)) % 1_000_003;
  return 0.5 + hash / 2_000_006;
}
