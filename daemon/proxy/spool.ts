import { randomBytes } from "node:crypto";
import { close, open, read, statfs, unlink, write } from "node:fs";
import { limits } from "./limits.js";

/** What all spools of a worker may take together. `folder`: on disk, the worker's own; undefined: memory only. */
export class SpoolRoom {
  public memory = 0;
  public disk = 0;
  /** Of what counts as disk: still in memory, on its way there. */
  public unsaved = 0;
  public diskPerRequest: number = limits.spoolDiskPerRequest;
  private isLow = false;
  private lookedMs = Number.NEGATIVE_INFINITY;
  public constructor(public folder: string | undefined) {}

  /** May bodies go to the disk? Not where its filesystem, which is etcd's too, would be left with less than `spoolReserve`, or a tenth of it. Looked at while bodies come, at most every half second: never waited for. */
  public mayGrow(nowMs = performance.now()): boolean {
    if (this.folder !== undefined && nowMs - this.lookedMs > limits.spoolLookMs) {
      this.lookedMs = nowMs;
      statfs(this.folder, (error, seen) => {
        if (error === null) this.isLow = seen.bavail * seen.bsize < Math.min(limits.spoolReserve, (seen.blocks * seen.bsize) / 10);
      });
    }
    return !this.isLow;
  }
}

/**
 * Bytes on their way that somebody need not wait for (OWNERSHIP 22): some in memory, the rest in a file without a name. Written at its end, read from its start, at the same time if need be.
 * Bounded by the room that its worker has: `append` refuses what does not fit.
 */
export class Spool {
  /** Bytes appended. */
  public size = 0;
  private memory: Buffer = Buffer.alloc(0);
  private inMemory = 0;
  /** Not yet in the file. */
  private unsaved: Buffer[] = [];
  private unsavedBytes = 0;
  private saved = 0;
  private fd: number | undefined;
  private busy = false;
  private reading = 0;
  private closed = false;
  private failure: Error | undefined;
  private readonly waiting = new Set<() => void>();

  public constructor(private readonly room: SpoolRoom) {}

  /** All of it, when nothing had to go to disk. */
  public get whole(): Buffer | undefined {
    return this.inMemory === this.size ? this.memory.subarray(0, this.size) : undefined;
  }
  /** So much lies before the disk that whoever fills this must wait (`onRoom`). */
  public get congested(): boolean {
    return this.unsavedBytes > limits.spoolUnsavedBytes || this.unsaved.length > limits.spoolUnsavedPieces || (this.unsavedBytes > 0 && this.room.unsaved > limits.spoolUnsaved);
  }
  /** Of what it keeps: what lies where there is hardly room for others any more. */
  public get scarceBytes(): number {
    const { memory, disk } = this.room;
    const inMemory = memory > limits.spoolFullShare * limits.spoolMemory ? this.inMemory : 0;
    const onDisk = disk > limits.spoolFullShare * limits.spoolDisk ? this.size - this.inMemory : 0;
    return inMemory + onDisk;
  }
  public get error(): Error | undefined {
    return this.failure;
  }

  /** Takes bytes, which must stay as they are (`Link.lend`); false: no room is left, nothing was taken. */
  public append(bytes: Buffer): boolean {
    if (this.failure !== undefined) return false;
    // behind what is on its way to the file nothing goes to memory, however small: their order is that of the body
    if (this.size === this.inMemory && this.inMemory + bytes.length <= limits.spoolMemoryPerRequest && this.room.memory + bytes.length <= limits.spoolMemory) {
      this.keep(bytes);
      this.room.memory += bytes.length;
    } else {
      const inFile = this.size - this.inMemory + bytes.length;
      if (this.room.folder === undefined || inFile > this.room.diskPerRequest || this.room.disk + bytes.length > limits.spoolDisk || !this.room.mayGrow()) return false;
      this.room.disk += bytes.length;
      this.unsaved.push(bytes);
      this.unsavedBytes += bytes.length;
      this.room.unsaved += bytes.length;
      this.save();
    }
    this.size += bytes.length;
    this.tell();
    return true;
  }
  /** Calls once, when something has changed: bytes came, were saved, or saving failed. */
  public onChange(call: () => void): void {
    this.waiting.add(call);
  }

  /** Bytes from `at` on, at most 64 KiB: at once, or later. Undefined: there are none yet (or saving failed: `error`). */
  public read(at: number, call: (bytes: Buffer | undefined) => void): void {
    if (at < this.inMemory) return void call(this.memory.subarray(at, Math.min(this.inMemory, at + 64 * 1024)));
    const from = at - this.inMemory;
    const { fd } = this;
    const there = Math.min(this.saved - from, 64 * 1024);
    if (fd === undefined || there <= 0) return void call(undefined);
    this.reading += 1;
    read(fd, Buffer.allocUnsafe(there), 0, there, from, (error, length, bytes) => {
      this.reading -= 1;
      if (this.closed) this.drop();
      if (error !== null || length === 0) this.failure ??= error ?? new Error("the spool file ends early");
      call(this.closed || this.failure !== undefined ? undefined : bytes.subarray(0, length));
    });
  }

  public close(): void {
    if (this.closed) return;
    this.closed = true;
    this.room.memory -= this.inMemory;
    this.room.disk -= this.size - this.inMemory;
    this.waiting.clear();
    this.forgetUnsaved();
    this.drop();
  }

  private keep(bytes: Buffer): void {
    if (this.inMemory + bytes.length > this.memory.length) {
      const larger = Buffer.allocUnsafe(Math.max(bytes.length, 2 * this.memory.length, this.inMemory + bytes.length));
      this.memory.copy(larger, 0, 0, this.inMemory);
      this.memory = larger;
    }
    bytes.copy(this.memory, this.inMemory);
    this.inMemory += bytes.length;
  }
  /** However long the disk stands still, what nobody wants any more takes no memory. */
  private forgetUnsaved(): void {
    this.room.unsaved -= this.unsavedBytes;
    this.unsavedBytes = 0;
    this.unsaved = [];
  }
  private drop(): void {
    // its number may be another file's as soon as it is closed
    if (this.busy || this.reading > 0 || this.fd === undefined) return;
    close(this.fd, () => undefined);
    this.fd = undefined;
  }
  private tell(): void {
    const calls = [...this.waiting];
    this.waiting.clear();
    for (const call of calls) call();
  }
  private fail(error: Error): void {
    this.failure = error;
    this.busy = false;
    this.forgetUnsaved();
    if (this.closed) this.drop();
    else this.tell();
  }
  private save(): void {
    if (this.busy) return;
    this.busy = true;
    if (this.fd !== undefined) return void this.saveNext(this.fd);
    const path = `${this.room.folder}/${randomBytes(12).toString("hex")}`;
    open(path, "wx+", 0o600, (error, fd) => {
      if (error !== null) return this.fail(error);
      this.fd = fd;
      // without a name: whatever happens, it goes with the process
      unlink(path, () => this.saveNext(fd));
    });
  }
  private saveNext(fd: number): void {
    const bytes = this.unsaved.length === 1 ? (this.unsaved[0] as Buffer) : Buffer.concat(this.unsaved);
    if (bytes.length === 0 || this.closed) {
      this.busy = false;
      if (this.closed) this.drop();
      return;
    }
    this.unsaved = [];
    this.writeAll(fd, bytes, 0);
  }
  private writeAll(fd: number, bytes: Buffer, from: number): void {
    write(fd, bytes, from, bytes.length - from, this.saved + from, (error, length) => {
      if (error !== null) return this.fail(error);
      if (from + length < bytes.length) return this.writeAll(fd, bytes, from + length);
      this.saved += bytes.length;
      if (!this.closed) {
        this.unsavedBytes -= bytes.length;
        this.room.unsaved -= bytes.length;
      }
      this.tell();
      this.saveNext(fd);
    });
  }
}
