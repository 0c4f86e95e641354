import { randomBytes } from "node:crypto";
import { constants, open, readdir, rename, stat, unlink } from "node:fs/promises";
import { messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";

/** Bounds of what lies on disk. */
export interface LogBounds {
  /** A file of this size is put aside. */
  fileBytes: number;
  /** Of one site, and of all of them on this node. */
  unitBytes: number;
  allBytes: number;
  /** What was not written to for so long is removed. */
  keepMs: number;
}
export const logBounds: LogBounds = { fileBytes: 16 << 20, unitBytes: 64 << 20, allBytes: 2 ** 31, keepMs: 30 * 86_400_000 };
/** Bytes that wait in memory, of one unit and of all. */
export const waitingBounds = { unitBytes: 4 << 20, allBytes: 16 << 20 } as const;

/** Pure: may the unit's name be a file's? */
export const isLogName = (unit: string): boolean => /^[a-z0-9-]{1,64}$/.test(unit);

const flushTicks = 2;
const pruneMs = 600_000;
const complainMs = 60_000;

/**
 * Access logs of the sites: `<folder>/<unit>.log`, written by all workers of a node. Lines wait in memory and go out twice a second, one append a site: whole lines, so those of several workers do not mix (write(2), O_APPEND).
 * A file is opened for each of them, so any worker may put a large one aside: it goes on under a name with the time, `<unit>.log.20261123T170500123Z-3f0a`, and who had it open still writes to it there. Nothing here is ever waited
 * for by a request: what finds no room, in memory or on disk, is dropped and counted.
 */
export class AccessLog {
  /** Lines, since this worker began. */
  public written = 0;
  public dropped = 0;
  private waiting = new Map<string, { text: string; lines: number }>();
  /** Of what waits and of what is being written. */
  private bytes = 0;
  private ticks = 0;
  private flushing: Promise<void> | undefined;
  private prunedMs = Number.NEGATIVE_INFINITY;
  private complainedMs = Number.NEGATIVE_INFINITY;

  public constructor(private readonly folder: string, private readonly log: Pick<Logger, "warn">, private readonly bounds = logBounds, private readonly room: { unitBytes: number; allBytes: number } = waitingBounds) {}

  /** `line`: ASCII, with its newline. */
  public add(unit: string, line: string): void {
    let waiting = this.waiting.get(unit);
    if (waiting === undefined) {
      waiting = { text: "", lines: 0 };
      this.waiting.set(unit, waiting);
    }
    if (waiting.text.length + line.length > this.room.unitBytes || this.bytes + line.length > this.room.allBytes) {
      this.dropped += 1;
      return;
    }
    waiting.text += line;
    waiting.lines += 1;
    this.bytes += line.length;
  }
  /** Called by the ticker. */
  public tick(): void {
    this.ticks += 1;
    if (this.ticks % flushTicks === 0 && (this.waiting.size > 0 || performance.now() - this.prunedMs > pruneMs)) void this.flush();
  }
  /** Writes what waits; settles when it is out. One at a time. */
  public async flush(): Promise<void> {
    if (this.flushing !== undefined) return this.flushing;
    this.flushing = this.writeAll();
    await this.flushing;
    this.flushing = undefined;
  }
  /** With what came last. */
  public async stop(): Promise<void> {
    await this.flushing;
    await this.flush();
  }

  private async writeAll(): Promise<void> {
    const batch = this.waiting;
    this.waiting = new Map();
    let full = performance.now() - this.prunedMs > pruneMs;
    for (const [unit, { text, lines }] of batch) {
      try {
        if (lines > 0) full = (await this.write(unit, text)) || full;
        this.written += lines;
      } catch (error) {
        this.dropped += lines;
        this.complain(error);
      }
      this.bytes -= text.length;
    }
    if (!full) return;
    this.prunedMs = performance.now();
    await pruneLogs(this.folder, this.bounds, Date.now()).catch((error: unknown) => this.complain(error));
  }
  /** True: the file was put aside. */
  private async write(unit: string, text: string): Promise<boolean> {
    if (!isLogName(unit)) throw new Error("the unit's name cannot be a file's");
    const path = `${this.folder}/${unit}.log`;
    const file = await open(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o640);
    try {
      const bytes = Buffer.from(text, "latin1");
      const { bytesWritten } = await file.write(bytes);
      if (bytesWritten < bytes.length) throw new Error("no space left for an access log");
      const { size, ino } = await file.stat();
      // another worker may have been first
      if (size < this.bounds.fileBytes || (await stat(path).catch(() => undefined))?.ino !== ino) return false;
      await rename(path, `${path}.${new Date().toISOString().replace(/[-:.]/g, "")}-${randomBytes(2).toString("hex")}`).catch(() => undefined);
      return true;
    } finally {
      await file.close();
    }
  }
  private complain(error: unknown): void {
    const now = performance.now();
    if (now - this.complainedMs < complainMs) return;
    this.complainedMs = now;
    this.log.warn({ reason: messageOf(error), dropped: this.dropped }, "access logs cannot be written");
  }
}

/** Of one time the file that is written is the newest. */
const byAge = (a: LogFile, b: LogFile): number => a.atMs - b.atMs || Number(a.path.endsWith(".log")) - Number(b.path.endsWith(".log")) || (a.path < b.path ? -1 : 1);

interface LogFile { path: string; unit: string; bytes: number; atMs: number }
/** Pure: what has to go, oldest first: what is too old, what of a site is beyond its share, then the oldest of whoever takes most. */
export function logsToRemove(files: readonly LogFile[], bounds: LogBounds, nowMs: number): string[] {
  const gone = new Set(files.filter((file) => nowMs - file.atMs > bounds.keepMs).map((file) => file.path));
  const units = new Map<string, { bytes: number; files: LogFile[] }>();
  let all = 0;
  for (const file of files.filter((one) => !gone.has(one.path)).sort(byAge)) {
    const unit = units.get(file.unit) ?? { bytes: 0, files: [] };
    units.set(file.unit, unit);
    unit.bytes += file.bytes;
    unit.files.push(file);
    all += file.bytes;
  }
  const removeOldest = (unit: { bytes: number; files: LogFile[] }): void => {
    const oldest = unit.files.shift() as LogFile;
    unit.bytes -= oldest.bytes;
    all -= oldest.bytes;
    gone.add(oldest.path);
  };
  for (const unit of units.values()) while (unit.bytes > bounds.unitBytes) removeOldest(unit);
  while (all > bounds.allBytes) removeOldest([...units.values()].reduce((a, b) => (b.bytes > a.bytes ? b : a)));
  return [...gone];
}
/** Several workers may do it at once. */
async function pruneLogs(folder: string, bounds: LogBounds, nowMs: number): Promise<void> {
  const files: LogFile[] = [];
  for (const name of await readdir(folder)) {
    const unit = /^([a-z0-9-]+)\.log(?:\.|$)/.exec(name)?.[1];
    const path = `${folder}/${name}`;
    const seen = unit === undefined ? undefined : await stat(path).catch(() => undefined);
    if (unit !== undefined && seen !== undefined) files.push({ path, unit, bytes: seen.size, atMs: seen.mtimeMs });
  }
  for (const path of logsToRemove(files, bounds, nowMs)) await unlink(path).catch(() => undefined);
}
