import { constants, type BigIntStats } from "node:fs";
import { lchown, link, lstat, lutimes, mkdir, open, readdir, readlink, rename, rmdir, symlink, unlink, chmod } from "node:fs/promises";
import { errorCode, HcError } from "../lib/errors.js";
import { isNoRoom } from "../membership/reserve.js";
import { isStage } from "./plan-path.js";

/*
 * Brings a tree to the state of another one. Both are what tenants made of them, so nothing is believed: 1. every entry is looked at by lstat, no link is ever followed, files are opened with O_NOFOLLOW; 2. names are
 * bytes, not text; 3. what is in the way is renamed into a folder that only root can enter, and removed from there; 4. new files are made under a name of their own (O_EXCL) and renamed into place; 5. `guard`
 * is asked before each change, and says no when the tree may not be written any more. The caller sees to it that nobody else changes either tree meanwhile.
 */
export interface TreeCopy {
  /** Absolute; a read-only clone of a snapshot. */
  source: string;
  /** Absolute; on one filesystem. */
  target: string;
  /** An empty folder of ours on the target's filesystem: what has to go is renamed into it. */
  attic: string;
  /** Throws when nothing may be written now. Called before each change. */
  guard(): Promise<void> | void;
}
export interface CopyCount { entries: number; /** Entries written anew. */ copied: number; bytes: number; /** Entries that are not in the source, or were in the way. */ removed: number; /** Devices, sockets and fifos of the source: not restored. */ skipped: number }

const chunkBytes = 1024 * 1024;
const zeros = Buffer.alloc(chunkBytes);
/** Entries looked at side by side. */
const batch = 16;
/** Levels of folders; PATH_MAX ends it before on most systems. */
const maxDepth = 2_048;
const slash = Buffer.from("/");
const join = (folder: Buffer, name: Buffer): Buffer => Buffer.concat([folder, slash, name]);
const stat = (path: Buffer): Promise<BigIntStats> => lstat(path, { bigint: true });
async function statIfAny(path: Buffer): Promise<BigIntStats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
const permissions = (stats: BigIntStats): number => Number(stats.mode & 0o7777n);
const seconds = (ns: bigint): number => Number(ns) / 1e9;

class Copier {
  public readonly count: CopyCount = { entries: 0, copied: 0, bytes: 0, removed: 0, skipped: 0 };
  /** Inode of the source that has several names → where the first of them stands now in the target. */
  private readonly linked = new Map<bigint, Buffer>();
  private temporaries = 0;
  public constructor(private readonly options: TreeCopy) {}

  /** One entry, with all below it. */
  public async entry(source: Buffer, target: Buffer, depth: number): Promise<void> {
    await this.put(source, await stat(source), target, await statIfAny(target), depth);
  }

  private async put(source: Buffer, from: BigIntStats, target: Buffer, here: BigIntStats | undefined, depth: number): Promise<void> {
    this.count.entries += 1;
    if (from.isDirectory()) return this.folder(source, from, target, here, depth);
    if (here !== undefined && unchanged(from, here)) {
      if (from.nlink > 1n) this.linked.set(from.ino, target);
      return;
    }
    if (!from.isFile() && !from.isSymbolicLink()) {
      this.count.skipped += 1;
      return;
    }
    await this.options.guard();
    if (here?.isDirectory() === true) await this.remove(target);
    const first = from.nlink > 1n ? this.linked.get(from.ino) : undefined;
    this.temporaries += 1;
    const temporary = join(target.subarray(0, target.lastIndexOf(0x2f)), Buffer.from(`.hc-new-${process.pid}-${this.temporaries}`));
    try {
      if (first !== undefined) await link(first, temporary);
      else if (from.isSymbolicLink()) await this.symlink(source, from, temporary);
      else await this.file(source, from, temporary);
      await this.options.guard();
      await rename(temporary, target);
      // rename(2) of two names of one file does nothing and leaves both
      if (first !== undefined) await unlink(temporary).catch(() => undefined);
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      throw error;
    }
    this.count.copied += 1;
    if (from.nlink > 1n && first === undefined) this.linked.set(from.ino, target);
  }

  private async folder(source: Buffer, from: BigIntStats, target: Buffer, here: BigIntStats | undefined, depth: number): Promise<void> {
    if (depth > maxDepth) throw new HcError("LIMIT_EXCEEDED", `More than ${maxDepth} folders in each other: ${source.toString().slice(0, 200)}…`, { retry: "never" });
    let seen = here;
    if (seen !== undefined && !seen.isDirectory()) {
      await this.remove(target);
      seen = undefined;
    }
    if (seen === undefined) {
      await this.options.guard();
      await mkdir(target, { mode: 0o700 });
      this.count.copied += 1;
    }
    const top = depth === 0;
    const wanted = (await names(source)).filter((name) => !(top && hidden(name)));
    const known = new Set(wanted.map((name) => name.toString("latin1")));
    if (seen !== undefined) for (const name of await names(target)) if (!known.has(name.toString("latin1")) && !(top && hidden(name))) await this.remove(join(target, name));
    for (let at = 0; at < wanted.length; at += batch) {
      const part = wanted.slice(at, at + batch);
      const looked = await Promise.all(part.map(async (name) => [await stat(join(source, name)), await statIfAny(join(target, name))] as const));
      for (const [index, name] of part.entries()) {
        const [one, other] = looked[index] as (typeof looked)[number];
        await this.put(join(source, name), one, join(target, name), other, depth + 1);
      }
    }
    const after = await stat(target);
    if (!after.isDirectory()) throw new HcError("CONFLICT", `${target.toString()} changed while it was restored.`, { retry: "never" });
    const differs = after.uid !== from.uid || after.gid !== from.gid || permissions(after) !== permissions(from);
    const late = after.mtimeNs - from.mtimeNs;
    if (!differs && late < 1_000_000n && late > -1_000_000n) return;
    await this.options.guard();
    if (differs) {
      await lchown(target, Number(from.uid), Number(from.gid));
      await chmod(target, permissions(from));
    }
    await lutimes(target, seconds(from.atimeNs), seconds(from.mtimeNs));
  }

  private async symlink(source: Buffer, from: BigIntStats, target: Buffer): Promise<void> {
    await symlink(await readlink(source, { encoding: "buffer" }), target);
    await lchown(target, Number(from.uid), Number(from.gid));
    await lutimes(target, seconds(from.atimeNs), seconds(from.mtimeNs));
  }

  /** Content, holes left as holes, then owner before mode (chown(2) clears the set-id bits), then times. */
  private async file(source: Buffer, from: BigIntStats, target: Buffer): Promise<void> {
    const input = await open(source, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const output = await open(target, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
      try {
        const chunk = Buffer.allocUnsafe(chunkBytes);
        let at = 0;
        for (;;) {
          const { bytesRead } = await input.read(chunk, 0, chunkBytes, at);
          if (bytesRead === 0) break;
          await this.options.guard();
          const part = chunk.subarray(0, bytesRead);
          if (!part.equals(zeros.subarray(0, bytesRead))) for (let done = 0; done < bytesRead; ) done += (await output.write(part, done, bytesRead - done, at + done)).bytesWritten;
          at += bytesRead;
        }
        await output.truncate(at);
        this.count.bytes += at;
        await output.chown(Number(from.uid), Number(from.gid));
        await output.chmod(permissions(from));
        await output.utimes(seconds(from.atimeNs), seconds(from.mtimeNs));
      } finally {
        await output.close();
      }
    } finally {
      await input.close();
    }
  }

  private async remove(target: Buffer): Promise<void> {
    await this.options.guard();
    await rename(target, join(Buffer.from(this.options.attic), Buffer.from(String(this.count.removed))));
    this.count.removed += 1;
  }
}

/** In the order of their bytes, so that two runs do the same. */
async function names(folder: Buffer): Promise<Buffer[]> {
  return (await readdir(folder, { encoding: "buffer" })).sort(Buffer.compare);
}
/** In the root of a unit: what is not the unit's. */
const hidden = (name: Buffer): boolean => isStage(name) || name.equals(Buffer.from(".zfs"));

/**
 * Not touched since the snapshot: a clone keeps inode numbers and times of change, and ctime is set by each write, chmod, chown and link and by no tenant's will (mtime can be forged: utimensat(2)). What was
 * restored before has another inode, and is simply copied again.
 */
function unchanged(from: BigIntStats, here: BigIntStats): boolean {
  return from.ino === here.ino && from.ctimeNs === here.ctimeNs && from.mode === here.mode && from.size === here.size;
}

/** Makes `target` what `source` is: two folders. */
export async function copyTree(options: TreeCopy): Promise<CopyCount> {
  return run(options, 0);
}
/** The same for one entry of any kind; `target`'s folder exists. */
export async function copyEntry(options: TreeCopy): Promise<CopyCount> {
  return run(options, 1);
}
async function run(options: TreeCopy, depth: number): Promise<CopyCount> {
  const copier = new Copier(options);
  try {
    await copier.entry(Buffer.from(options.source), Buffer.from(options.target), depth);
    return copier.count;
  } catch (error) {
    throw asHcError(error);
  }
}

/** What a filesystem refuses, in words of ours. */
export function asHcError(error: unknown): unknown {
  if (errorCode(error) !== undefined) return error;
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const { message } = error as Error;
  if (isNoRoom(error)) return new HcError("LIMIT_EXCEEDED", `There is no room for what is to be restored (${message}): the present stays as a snapshot, so both need room. Raise the site's quota, or free space.`, { cause: error, retry: "never" });
  if (code === "ENAMETOOLONG" || code === "ELOOP") return new HcError("CONFLICT", `A path is too long or led through a link: ${message}`, { cause: error, retry: "never" });
  return code === "" ? error : new HcError("COMMAND_FAILED", `The filesystem refused: ${message}`, { cause: error, retry: "never" });
}

/** Removes an empty folder of ours; one that is gone is success. */
export async function removeEmpty(path: string): Promise<void> {
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}
