import type { Readable } from "node:stream";
import type { SnapshotInfo } from "../lib/records.js";

/** One dataset as `zfs get -Hp` tells it. 64-bit numbers are decimal text. */
export interface Dataset {
  name: string;
  guid: string;
  origin: string;
  mounted: boolean;
  mountpoint: string;
  readonly: boolean;
  usedBytes: string;
  referencedBytes: string;
  availableBytes: string;
  quotaBytes: string;
  /** Values of `hybridcluster:*` set here (not inherited), name without the prefix. */
  user: Record<string, string>;
}

export interface ReceiveOptions { resumable?: boolean; snapshot?: string }

/** A snapshot as `zfs get -Hp` tells it. */
export interface Snapshot extends SnapshotInfo {
  /** Number of holds. */
  userrefs: number;
}

export interface LookOptions {
  /** Snapshots that this process has done nothing to may be as it saw them so long ago (snapshot-memory.ts); without it, and where nothing is remembered, all are asked for. The dataset itself is always asked. */
  maxAgeMs?: number;
}

/** A stream on its way: it ends with an error when the command fails; `done` settles with the command. */
export interface Sending { stream: Readable; done: Promise<void> }

/** Thin effects over the zfs command line (OpenZFS 2.1, `-Hp`). Pure argv in commands.ts, pure reading in parse.ts. The same code runs over SSH in handlers. */
export interface Zfs {
  /** `root` and all below it. User properties: only those named in `userProperties` (commands.ts). */
  datasets(root: string): Promise<Dataset[]>;
  /** One dataset alone; undefined when it does not exist. */
  dataset(name: string): Promise<Dataset | undefined>;
  /** One dataset with its snapshots, oldest first, by one command; undefined when it does not exist. */
  look(name: string, how?: LookOptions): Promise<{ dataset: Dataset; snapshots: readonly Snapshot[] } | undefined>;
  /** One dataset with these of its snapshots (names without it), oldest first, by one command. Throws NOT_FOUND when one of them, or the dataset, does not exist. */
  lookAt(name: string, snapshots: readonly string[]): Promise<{ dataset: Dataset; snapshots: Snapshot[] }>;
  /** Oldest first. */
  snapshots(dataset: string): Promise<Snapshot[]>;
  /** All snapshots of `root` and its children, by dataset; not of what lies deeper (the trash), which only costs time at each look. */
  allSnapshots(root: string, how?: LookOptions & { /** All of them, where the caller has them at hand. */ datasets?: readonly Pick<Dataset, "name" | "guid">[] }): Promise<Map<string, readonly Snapshot[]>>;
  /** One command for the whole tree: dataset → bytes written since its newest snapshot. */
  written(root: string): Promise<Map<string, string>>;
  create(dataset: string, properties: Record<string, string>): Promise<void>;
  clone(snapshot: string, dataset: string, properties: Record<string, string>): Promise<void>;
  /** One command for all. */
  snapshot(names: readonly string[]): Promise<void>;
  set(dataset: string, properties: Record<string, string>): Promise<void>;
  inherit(dataset: string, property: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** One dataset or snapshot, never recursive. Throws NOT_FOUND; CONFLICT when clones or snapshots depend on it; NOT_READY while it is held or busy. */
  destroy(name: string): Promise<void>;
  /** Mounted already is success; so is unmounting what is not mounted. Busy is retried for 2 s. */
  mount(dataset: string): Promise<void>;
  /** `force`: also while it is in use (zfs-unmount(8), -f); on Linux that may still be refused as busy. */
  unmount(dataset: string, options?: { force?: boolean }): Promise<void>;
  /** What is mounted, dataset → mount point, from the system's mount table: no pool is asked. */
  mounted(): Promise<Map<string, string>>;
  /** Held already by this tag is success; so is releasing what is not held or not there. */
  hold(tag: string, snapshot: string): Promise<void>;
  release(tag: string, snapshot: string): Promise<void>;
  /** Snapshot (full name) → tags that hold it; of those that are held. Undefined: this zfs does not tell (the lab's counts them only). Throws NOT_FOUND when one is gone. */
  holds(snapshots: readonly string[]): Promise<Map<string, string[]> | undefined>;
  /** Sends `snapshot` (full, or incremental from `base`, which may be a clone's origin) into a stream. */
  send(snapshot: string, base: string | undefined, signal: AbortSignal): Sending;
  /**
   * Receives into `dataset`, unmounted; never with -F (OWNERSHIP 12). Throws NO_COMMON_SNAPSHOT (its newest snapshot is not the base), DIVERGED (written to since), ALREADY_EXISTS, NOT_FOUND (origin of a clone missing), LIMIT_EXCEEDED (space),
   * CONFLICT (an interrupted receive is kept there: finish it by `resume`, or `abortReceive`). `resumable`: what a broken stream has brought is kept; all of it must be good then. `snapshot`: the name that it brings, where that is known. */
  receive(dataset: string, stream: Readable, properties: Record<string, string>, signal: AbortSignal, how?: ReceiveOptions): Promise<void>;
  /** Can it receive in parts? What follows is for those that can. Asked of the command line once. */
  resumable(): Promise<boolean>;
  /** Datasets of `root` and below (any depth) that keep an interrupted receive → its token. */
  partials(root: string): Promise<Map<string, string>>;
  /** What this machine would send for a token: the full name of the snapshot and its guid. Throws NOT_FOUND when the snapshot or its source is here no more. */
  readToken(token: string): Promise<{ snapshot: string; guid: string }>;
  /** Sends what is missing after an interrupted receive. */
  resume(token: string, signal: AbortSignal): Sending;
  /** Gives up what an interrupted receive has kept (of a first stream, the whole dataset). None there is success. */
  abortReceive(dataset: string): Promise<void>;
  promote(dataset: string): Promise<void>;
  rollback(snapshot: string): Promise<void>;
}
