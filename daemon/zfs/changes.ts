import { zfsFailure } from "./errors.js";
import { SnapshotMemory } from "./snapshot-memory.js";
import type { ReceiveOptions, Zfs } from "./zfs.js";

/** More names than this are "everything". */
const maxNames = 2_000;

/** What changed since one reader asked last. */
export class ChangeReader {
  private names = new Set<string>();
  private all = false;

  public note(dataset: string): void {
    if (this.names.size < maxNames) this.names.add(dataset);
    else this.all = true;
  }
  /** Datasets that changed since the last call; undefined: too many to be named. */
  public take(): ReadonlySet<string> | undefined {
    const { names, all } = this;
    this.names = new Set();
    this.all = false;
    return all ? undefined : names;
  }
}

/**
 * Which datasets this process has changed, as far as somebody else would see it by looking: so that whoever follows what lies on the disk need not look at everything again and again. Holds are not
 * counted: nobody plans from them. What others change (the fencer, a person) is not known here.
 */
export class ZfsChanges {
  private readonly readers: ChangeReader[] = [];
  /** How many commands were refused for want of room so far: whoever knows the size of the pool from an earlier look is wrong then. */
  public refusals = 0;

  /** For as long as this process lives; it is told of what changes from now on. */
  public reader(): ChangeReader {
    const reader = new ChangeReader();
    this.readers.push(reader);
    return reader;
  }
  /** A dataset or snapshot. */
  public note(name: string): void {
    for (const reader of this.readers) reader.note(datasetOf(name));
  }
}

const changing = ["create", "clone", "snapshot", "set", "inherit", "rename", "destroy", "mount", "unmount", "receive", "abortReceive", "promote", "rollback"] as const;

/**
 * `zfs`, telling `changes` of everything that is done through it: after it ended, well or not, as a failed command may have changed something. And it remembers the snapshots that it saw, for those who look with a `maxAgeMs`; `nowMs`: monotonic.
 */
export function noticed(zfs: Zfs, changes: ZfsChanges, nowMs: () => number): Zfs {
  const memory = new SnapshotMemory(zfs, nowMs);
  const telling = { ...zfs } as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of [...changing, "hold", "release"] as const) {
    const act = zfs[name] as (...args: unknown[]) => Promise<unknown>;
    telling[name] = async (...args) => {
      let ok = false;
      try {
        const result = await act(...args);
        ok = true;
        return result;
      } catch (error) {
        if (zfsFailure(error) === "space") changes.refusals += 1;
        throw error;
      } finally {
        remember(memory, name, args, ok);
        if (name !== "hold" && name !== "release") for (const one of [args[0]].flat()) changes.note(String(one));
        if (name === "rename" || name === "clone") changes.note(String(args[1]));
      }
    };
  }
  return {
    ...(telling as unknown as Zfs),
    look: (name, { maxAgeMs } = {}) => (maxAgeMs === undefined ? zfs.look(name) : memory.look(name, maxAgeMs)),
    allSnapshots: async (root, { maxAgeMs, datasets } = {}) => (maxAgeMs === undefined ? memory.learn(root) : memory.all(root, datasets ?? (await zfs.datasets(root)), maxAgeMs)),
  };
}

/** What this call means for the snapshots that are remembered. */
function remember(memory: SnapshotMemory, name: (typeof changing)[number] | "hold" | "release", args: readonly unknown[], ok: boolean): void {
  const [first = "", second = ""] = args.map(String);
  switch (name) {
    case "set": case "inherit": case "mount": case "unmount":
      break;
    case "hold": case "release":
      memory.touched(second);
      break;
    case "snapshot":
      for (const one of args[0] as readonly string[])
        if (ok) memory.touched(one);
        else memory.forget(datasetOf(one));
      break;
    case "receive": {
      const snapshot = (args[4] as ReceiveOptions | undefined)?.snapshot;
      if (ok && snapshot !== undefined) memory.touched(`${first}@${snapshot}`);
      else memory.forget(first);
      break;
    }
    case "destroy":
      if (!first.includes("@")) memory.forget(first);
      else if (ok) memory.destroyed(first);
      else memory.touched(first);
      break;
    case "promote": // the snapshots of the origin become those of its clone, and whose origin it was is not known here
      memory.forget("");
      break;
    case "clone": case "rename":
      memory.forget(second);
      if (name === "rename") memory.forget(datasetOf(first));
      break;
    case "create": case "rollback": case "abortReceive":
      memory.forget(datasetOf(first));
  }
}
const datasetOf = (name: string): string => name.split("@")[0] as string;
