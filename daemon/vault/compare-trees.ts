import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink } from "node:fs/promises";
import { isStage } from "./plan-path.js";

/**
 * What a history that lost holds in files, besides what went on without it. Three trees: `base` = the last snapshot that both share, `other` = what lost, `present` = what went on; all are read-only clones that nobody changes.
 * They are tenants' trees: every entry is looked at by lstat, no link is followed, names are bytes. A clone keeps inode numbers and ctime, so an entry with the same ones was not touched since (tree-copy.ts); everything else is
 * compared by its content, because sizes and times can be forged.
 */
export interface DiffOptions {
  other: string;
  /** Undefined: there is no shared snapshot; then `present` is what `other` is compared with. */
  base: string | undefined;
  present: string | undefined;
  /** Differences that are told; all are counted. */
  limit: number;
  /** Fires when there was time enough: the answer is then not complete. */
  signal: AbortSignal;
}
export interface Side { kind: "file" | "folder" | "link" | "special"; bytes: number; mtimeMs: number }
export interface Difference {
  path: string;
  /** What the other history did since `base`; `rights`: owner or mode alone. */
  change: "added" | "changed" | "rights" | "removed";
  /** null: it is not there. */
  other: Side | null;
  present: Side | null;
  /** Was it changed in the present too, since `base`? Then a restore of it takes that away. False where there is no base. */
  both: boolean;
}
export interface Differences { differences: Difference[]; total: number; /** Entries that the other history changed and the present holds just so. */ same: number; entries: number; /** Entries that could not be read (e.g. a path that is too long). */ unread: number; complete: boolean }

const chunkBytes = 256 * 1024;
const maxDepth = 2_048;
/** Of paths that are told: an answer between nodes has an end. */
const maxToldBytes = 2 * 1024 * 1024;
const slash = Buffer.from("/");
type Found = { path: Buffer; stats: BigIntStats } | undefined;
type Sameness = "same" | "rights" | "content";

/** Names are bytes; what is no UTF-8 is shown by \xNN. */
export function nameText(name: Buffer): string {
  const text = name.toString("utf8");
  return Buffer.from(text, "utf8").equals(name) ? text : [...name].map((byte) => (byte < 0x80 ? String.fromCharCode(byte) : `\\x${byte.toString(16)}`)).join("");
}

class Walk {
  public readonly found: Differences = { differences: [], total: 0, same: 0, entries: 0, unread: 0, complete: true };
  private toldBytes = 0;
  public constructor(private readonly options: DiffOptions) {}

  public async entry(shown: string, other: Found, base: Found, present: Found, depth: number): Promise<void> {
    if (this.options.signal.aborted) {
      this.found.complete = false;
      return;
    }
    this.found.entries += 1;
    const before = this.options.base === undefined ? present : base;
    if (other === undefined && before === undefined) return; // the present's own
    try {
      const how = await this.compare(other, before);
      if (how !== "same") await this.note(shown, how, other, before, present);
      if (isFolder(other) && depth < maxDepth) await this.below(shown, other, isFolder(base) ? base : undefined, isFolder(present) ? present : undefined, depth);
    } catch (error) {
      if (this.options.signal.aborted) this.found.complete = false;
      else if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      else this.found.unread += 1;
    }
  }

  public async below(shown: string, other: Found, base: Found, present: Found, depth: number): Promise<void> {
    const names = new Map<string, Buffer>();
    for (const folder of [other, base, ...(this.options.base === undefined ? [present] : [])]) if (folder !== undefined) for (const name of await readdir(folder.path, { encoding: "buffer" })) names.set(name.toString("latin1"), name);
    for (const name of [...names.values()].sort(Buffer.compare)) {
      if (depth === 0 && isStage(name)) continue; // ours, not the unit's
      const one = (folder: Found): Promise<Found> => (folder === undefined ? Promise.resolve(undefined) : look(Buffer.concat([folder.path, slash, name])));
      const [a, b, c] = await Promise.all([one(other), one(base), one(present)]);
      await this.entry(shown === "" ? nameText(name) : `${shown}/${nameText(name)}`, a, b, c, depth + 1);
      if (!this.found.complete) return;
    }
  }

  private async note(path: string, how: Sameness, other: Found, before: Found, present: Found): Promise<void> {
    const three = this.options.base !== undefined;
    if (three && (await this.compare(other, present)) === "same") {
      this.found.same += 1;
      return;
    }
    this.found.total += 1;
    this.toldBytes += Buffer.byteLength(path);
    if (this.found.differences.length >= this.options.limit || this.toldBytes > maxToldBytes) return;
    const change = before === undefined ? "added" : other === undefined ? "removed" : how === "rights" ? "rights" : "changed";
    this.found.differences.push({ path, change, other: side(other), present: side(present), both: three && (await this.compare(before, present)) !== "same" });
  }

  private async compare(a: Found, b: Found): Promise<Sameness> {
    if (a === undefined || b === undefined) return a === b ? "same" : "content";
    const [x, y] = [a.stats, b.stats];
    if ((x.mode & BigInt(constants.S_IFMT)) !== (y.mode & BigInt(constants.S_IFMT))) return "content";
    if (x.ino === y.ino && x.ctimeNs === y.ctimeNs && x.size === y.size && x.mode === y.mode) return "same";
    if (x.isSymbolicLink() && !(await readlink(a.path, { encoding: "buffer" })).equals(await readlink(b.path, { encoding: "buffer" }))) return "content";
    if (x.isFile() && (x.size !== y.size || !(await this.sameContent(a.path, b.path)))) return "content";
    return x.mode === y.mode && x.uid === y.uid && x.gid === y.gid ? "same" : "rights";
  }

  private async sameContent(a: Buffer, b: Buffer): Promise<boolean> {
    const opened: FileHandle[] = [];
    try {
      for (const path of [a, b]) opened.push(await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
      const [one, two] = opened as [FileHandle, FileHandle];
      const [left, right] = [Buffer.allocUnsafe(chunkBytes), Buffer.allocUnsafe(chunkBytes)];
      for (let at = 0; ; ) {
        this.options.signal.throwIfAborted();
        const [{ bytesRead }, { bytesRead: same }] = await Promise.all([one.read(left, 0, chunkBytes, at), two.read(right, 0, chunkBytes, at)]);
        if (bytesRead !== same || !left.subarray(0, bytesRead).equals(right.subarray(0, same))) return false;
        if (bytesRead === 0) return true;
        at += bytesRead;
      }
    } finally {
      for (const handle of opened) await handle.close();
    }
  }
}

const isFolder = (found: Found): boolean => found?.stats.isDirectory() === true;
const side = (found: Found): Side | null =>
  found === undefined ? null : { kind: found.stats.isDirectory() ? "folder" : found.stats.isFile() ? "file" : found.stats.isSymbolicLink() ? "link" : "special", bytes: Number(found.stats.size), mtimeMs: Number(found.stats.mtimeMs) };
async function look(path: Buffer): Promise<Found> {
  try {
    return { path, stats: await lstat(path, { bigint: true }) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Throws what the roots' own lstat throws; what lies below them and cannot be read is counted. */
export async function diffTrees(options: DiffOptions): Promise<Differences> {
  const walk = new Walk(options);
  const root = (path: string | undefined): Promise<Found> => (path === undefined ? Promise.resolve(undefined) : look(Buffer.from(path)));
  const [other, base, present] = await Promise.all([root(options.other), root(options.base), root(options.present)]);
  await walk.below("", other, base, present, 0);
  return walk.found;
}
