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

/** Thin effects over the zfs command line (OpenZFS 2.1, `-Hp`). Pure argv in commands.ts, pure reading in parse.ts. The same code runs over SSH in handlers. */
export interface Zfs {
  datasets(root: string): Promise<Dataset[]>;
  snapshots(dataset: string): Promise<SnapshotInfo[]>;
  /** All snapshots below `root`, by dataset. */
  allSnapshots(root: string): Promise<Map<string, SnapshotInfo[]>>;
  /** One command for the whole tree: dataset → bytes written since its newest snapshot. */
  written(root: string): Promise<Map<string, string>>;
  create(dataset: string, properties: Record<string, string>): Promise<void>;
  clone(snapshot: string, dataset: string, properties: Record<string, string>): Promise<void>;
  /** One command for all. */
  snapshot(names: readonly string[]): Promise<void>;
  set(dataset: string, properties: Record<string, string>): Promise<void>;
  inherit(dataset: string, property: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** One dataset or snapshot, never recursive. */
  destroy(name: string): Promise<void>;
  mount(dataset: string): Promise<void>;
  unmount(dataset: string): Promise<void>;
  hold(tag: string, snapshot: string): Promise<void>;
  release(tag: string, snapshot: string): Promise<void>;
  /** Sends `snapshot` (full, or incremental from `base`, which may be a clone's origin) into a stream; `done` settles with the command. */
  send(snapshot: string, base: string | undefined, signal: AbortSignal): { stream: Readable; done: Promise<void> };
  /** Receives into `dataset`; never with -F (OWNERSHIP 12). */
  receive(dataset: string, stream: Readable, properties: Record<string, string>, signal: AbortSignal): Promise<void>;
  promote(dataset: string): Promise<void>;
  rollback(snapshot: string): Promise<void>;
}
