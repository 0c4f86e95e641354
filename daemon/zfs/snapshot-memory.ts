import { Locks } from "../lib/locks.js";
import { zfsFailure } from "./errors.js";
import { compareDecimal } from "./parse.js";
import type { Snapshot, Zfs } from "./zfs.js";

/** How old callers let it be, ms. What was seen at once (a node's start) is not asked for at once again: see `spread`. */
export const rememberedMs = 600_000;
/** With more touched snapshots than this a look asks for all: their names would make a long command line. */
const maxTouched = 50;
/** What nobody has looked at as a whole for so long is remembered no longer, ms: units at rest cost no memory. */
const forgetMs = 900_000;

interface Entry {
  seenAtMs: number;
  snapshots: Map<string, Snapshot>;
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
  private readonly locks = new Locks();
  public constructor(
    private readonly zfs: Pick<Zfs, "look" | "lookAt">,
    private readonly nowMs: () => number,
  ) {}

  /** `zfs.look`, of snapshots that were not touched as they were seen at most `maxAgeMs` ago. */
  public look(dataset: string, maxAgeMs: number): Promise<Seen> {
    return this.locks.run(dataset, async () => {
      const entry = this.entries.get(dataset);
      this.looking.add(dataset);
      try {
        const isFresh = entry !== undefined && this.nowMs() - entry.seenAtMs < maxAgeMs * spread(dataset) && entry.touched.size <= maxTouched;
        return (isFresh ? await this.again(dataset, entry) : undefined) ?? (await this.whole(dataset));
      } finally {
        this.looking.delete(dataset);
      }
    });
  }
  private async whole(dataset: string): Promise<Seen> {
    const entry: Entry = { seenAtMs: this.nowMs(), snapshots: new Map(), touched: new Set() };
    for (const [name, { seenAtMs }] of this.entries) if (entry.seenAtMs - seenAtMs > forgetMs) this.entries.delete(name);
    this.entries.set(dataset, entry);
    const seen = await this.zfs.look(dataset).catch((error: unknown) => {
      this.entries.delete(dataset);
      throw error;
    });
    if (seen === undefined) this.entries.delete(dataset);
    else entry.snapshots = new Map(seen.snapshots.map((snapshot) => [snapshot.name, snapshot]));
    return seen;
  }
  /** Undefined: something that was known is not there any more, or was forgotten meanwhile. */
  private async again(dataset: string, entry: Entry): Promise<Seen> {
    const { touched } = entry;
    entry.touched = new Set();
    const seen = await this.zfs.lookAt(dataset, [...touched]).catch((error: unknown) => {
      this.entries.delete(dataset);
      if (zfsFailure(error) === "missing") return undefined;
      throw error;
    });
    if (seen === undefined || this.entries.get(dataset) !== entry) return undefined;
    for (const snapshot of seen.snapshots) entry.snapshots.set(snapshot.name, snapshot);
    return { dataset: seen.dataset, snapshots: [...entry.snapshots.values()].sort((a, b) => compareDecimal(a.createtxg, b.createtxg)) };
  }

  /** Something was done to this snapshot, or may have been: it is there now. */
  public touched(snapshot: string): void {
    const [dataset = "", name = ""] = snapshot.split("@");
    this.entries.get(dataset)?.touched.add(name);
  }
  /** This snapshot was destroyed. */
  public destroyed(snapshot: string): void {
    const [dataset = "", name = ""] = snapshot.split("@");
    if (this.looking.has(dataset)) return void this.entries.delete(dataset); // the look may have seen it
    const entry = this.entries.get(dataset);
    entry?.snapshots.delete(name);
    entry?.touched.delete(name);
  }
  /** Something was done to this dataset, or below it, that may have changed any of its snapshots. "": to any. */
  public forget(dataset: string): void {
    for (const name of this.entries.keys()) if (dataset === "" || name === dataset || name.startsWith(`${dataset}/`)) this.entries.delete(name);
  }
}

/** 0.5 to 1, by name: so that what was looked at together grows old at other times. */
function spread(dataset: string): number {
  let hash = 0;
  for (let at = 0; at < dataset.length; at += 1) hash = (hash * 31 + dataset.charCodeAt(at)) % 1_000_003;
  return 0.5 + hash / 2_000_006;
}
