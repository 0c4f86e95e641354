import { zfsFailure } from "./errors.js";
import type { Zfs } from "./zfs.js";

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
    const dataset = name.split("@")[0] as string;
    for (const reader of this.readers) reader.note(dataset);
  }
}

const changing = ["create", "clone", "snapshot", "set", "inherit", "rename", "destroy", "mount", "unmount", "receive", "abortReceive", "promote", "rollback"] as const;

/** `zfs`, telling `changes` of everything that is done through it: after it ended, well or not, as a failed command may have changed something. */
export function noticed(zfs: Zfs, changes: ZfsChanges): Zfs {
  const telling = { ...zfs } as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of [...changing, "hold"] as const) {
    const act = zfs[name] as (...args: unknown[]) => Promise<unknown>;
    telling[name] = async (...args) => {
      try {
        return await act(...args);
      } catch (error) {
        if (zfsFailure(error) === "space") changes.refusals += 1;
        throw error;
      } finally {
        if (name !== "hold") for (const one of [args[0]].flat()) changes.note(String(one));
        if (name === "rename" || name === "clone") changes.note(String(args[1]));
      }
    };
  }
  return telling as unknown as Zfs;
}
