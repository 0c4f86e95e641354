import { connect, type Socket } from "node:net";
import { limits } from "./limits.js";
import type { Ticker } from "./ticker.js";

/**
 * Who reads a link at the moment. Bytes are the sink's only until `onBytes` returns, unless it calls `lend` (a buffer for reading is used again). What it does not want it gives back with `putBack`,
 * and pauses the link.
 */
export interface Sink {
  onBytes(bytes: Buffer): void;
  /** The other side has sent its last byte. */
  onEnd(): void;
  /** The connection is no more. Once, and nothing follows. */
  onGone(error: Error | undefined): void;
  /** `write` has said false, and there is room again. */
  onDrain(): void;
  /** The deadline has passed, or nothing moved for the idle time. */
  onOverdue(): void;
}

/** Bytes read at once from a plain upstream, into a buffer of its own (PROXY.md 3). With 256 KiB a large body costs half of what it does with 64 (bench:proxy); pages that are never written to take no memory. */
const readBytes = 256 * 1024;

/** Where heads and small bodies are put together, of all links: what the kernel has taken at once (almost always, over plain TCP) leaves its place to the next. */
const joiningBytes = 128 * 1024;
const mostJoinedBytes = 16 * 1024;
let joining = Buffer.allocUnsafeSlow(joiningBytes);
let joinedBytes = 0;

/** One socket, read and written without a promise or a timer for each piece. Its reader changes with what is expected: `attach`. */
export class Link {
  public gone = false;
  /** `write` has said false, and no `onDrain` came since. */
  public blocked = false;
  private rest: Buffer | undefined;
  private ended = false;
  private endTold = false;
  private paused = false;
  private delivering = false;
  private lent = false;
  private failure: Error | undefined;
  private dueTick = Number.POSITIVE_INFINITY;
  private idleTicks = 0;
  private lastTick: number;

  /** `shared`: bytes come through `takeShared` (`onread`), not as events. */
  public constructor(public readonly socket: Socket, private readonly ticker: Ticker, private sink: Sink, private readonly shared = false) {
    this.lastTick = ticker.now;
    ticker.add(this);
    if (!shared) socket.on("data", (bytes: Buffer) => this.take(bytes));
    socket.on("end", () => {
      this.ended = true;
      if (!this.delivering) this.flush();
    });
    socket.on("error", (error) => {
      this.failure ??= error;
    });
    socket.on("close", () => {
      this.gone = true;
      ticker.delete(this);
      this.rest = undefined;
      this.sink.onGone(this.failure);
    });
    socket.on("drain", () => {
      this.lastTick = ticker.now;
      this.blocked = false;
      this.sink.onDrain();
    });
  }

  /** A plain TCP connection that is read into one buffer, again and again. The caller waits for `connect` and `error` of the socket. */
  public static dial(to: { host: string; port: number }, ticker: Ticker, sink: Sink): Link {
    let buffer = Buffer.allocUnsafeSlow(readBytes);
    let lastBytes = 0;
    let link: Link | undefined;
    link = new Link(connect({
      ...to, noDelay: true, allowHalfOpen: true,
      onread: {
        buffer: () => {
          // the next bytes come behind what is lent: over TLS each answer is, and a buffer for each costs more than all the rest
          if (link?.lent === true) buffer = buffer.length - lastBytes < readBytes / 2 ? Buffer.allocUnsafeSlow(readBytes) : buffer.subarray(lastBytes);
          return buffer;
        },
        callback: (length, bytes) => {
          if (link === undefined) return false;
          link.lent = false;
          lastBytes = length;
          link.take((bytes as Buffer).subarray(0, length));
          return !link.paused;
        },
      },
    }), ticker, sink, true);
    return link;
  }

  public attach(sink: Sink): void {
    this.sink = sink;
  }

  /** Whoever goes on using bytes after `onBytes` has returned says so here. */
  public lend(): void {
    this.lent = true;
  }
  /** Bytes that are not for this reader: the next one gets them first. */
  public putBack(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.rest = this.rest === undefined ? this.own(bytes) : Buffer.concat([bytes, this.rest]);
  }
  /** Something came that nobody has asked for: bytes, the end or an error. */
  public get stirred(): boolean {
    return this.rest !== undefined || this.ended || this.gone;
  }
  public get hasEnded(): boolean {
    return this.ended || this.gone;
  }

  public pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.socket.pause();
  }
  /** Goes on reading; what was put back comes first, at once. */
  public resume(): void {
    if (this.paused) {
      this.paused = false;
      this.lastTick = this.ticker.now;
      this.socket.resume();
    }
    if (!this.delivering) this.flush();
  }

  /** False: wait for `onDrain` before more is written. */
  public write(bytes: Buffer | string): boolean {
    if (this.gone || this.socket.destroyed || this.socket.writableEnded) return true; // onGone tells
    const free = typeof bytes === "string" ? this.socket.write(bytes, "latin1") : this.socket.write(bytes);
    if (!free && !this.blocked) {
      this.blocked = true;
      this.lastTick = this.ticker.now;
    }
    return free;
  }
  /** A head and what follows it, in one system call. */
  public writeBoth(head: string, bytes: Buffer): boolean {
    if (bytes.length === 0) return this.write(head);
    if (bytes.length <= mostJoinedBytes) {
      const length = head.length + bytes.length;
      if (joining.length - joinedBytes < length) {
        joining = Buffer.allocUnsafeSlow(joiningBytes);
        joinedBytes = 0;
      }
      const both = joining.subarray(joinedBytes, joinedBytes + length);
      both.write(head, 0, "latin1");
      bytes.copy(both, head.length);
      const free = this.write(both);
      if (this.writing) joinedBytes += length;
      return free;
    }
    this.socket.cork();
    this.write(head);
    const free = this.write(bytes);
    this.socket.uncork();
    return free;
  }
  /** Bytes that were written may still be in use. */
  public get writing(): boolean {
    return this.socket.writableLength > 0;
  }

  /** Overdue after so long, whatever comes; 0: never. */
  public within(ms: number): void {
    this.dueTick = ms === 0 ? Number.POSITIVE_INFINITY : this.ticker.now + this.ticker.ticks(ms);
  }
  /** Overdue when nothing came or went for so long while it was asked for; 0: never. */
  public idle(ms: number): void {
    this.idleTicks = ms === 0 ? 0 : this.ticker.ticks(ms);
    this.lastTick = this.ticker.now;
  }
  /** Something moved. */
  public touch(): void {
    this.lastTick = this.ticker.now;
  }
  /** Called by the ticker. */
  public look(now: number): void {
    const idle = this.idleTicks > 0 && now - this.lastTick > this.idleTicks && (!this.paused || this.blocked);
    if (!idle && now <= this.dueTick) return;
    this.dueTick = Number.POSITIVE_INFINITY;
    this.idleTicks = 0;
    this.sink.onOverdue();
  }

  /** Ends politely: what was written arrives, however slowly it is taken, and what still comes is read away for a moment after that (an early reset would destroy the answer; RFC 9112 §9.6). */
  public linger(ms: number): void {
    if (this.gone) return;
    this.sink = new Lingering(this);
    this.idle(0);
    this.within(limits.lastBytesMs);
    this.socket.end(() => {
      if (this.hasEnded) this.destroy();
      else this.within(ms);
    });
    this.rest = undefined;
    this.resume();
  }
  public destroy(): void {
    this.socket.destroy();
  }
  /** Ends so that what has arrived cannot look complete: by a reset, under TLS without its goodbye (RFC 8446 §6.1). */
  public reset(): void {
    if ("encrypted" in this.socket) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  /** Bytes that stay as they are. */
  private own(bytes: Buffer): Buffer {
    return this.shared ? Buffer.from(bytes) : bytes;
  }
  private take(bytes: Buffer): void {
    this.lastTick = this.ticker.now;
    if (this.rest !== undefined || this.paused || this.delivering) {
      // one piece may come after a pause
      this.rest = this.rest === undefined ? this.own(bytes) : Buffer.concat([this.rest, bytes]);
      if (!this.delivering) this.flush();
      return;
    }
    this.delivering = true;
    this.sink.onBytes(bytes);
    this.delivering = false;
    if (this.rest !== undefined || this.ended) this.flush();
  }
  /** In a loop, not by recursion: many small requests may lie in one piece. */
  private flush(): void {
    this.delivering = true;
    while (this.rest !== undefined && !this.paused && !this.gone) {
      const bytes = this.rest;
      this.rest = undefined;
      this.sink.onBytes(bytes);
    }
    if (this.ended && !this.endTold && this.rest === undefined && !this.paused && !this.gone) {
      this.endTold = true;
      this.sink.onEnd();
    }
    this.delivering = false;
  }
}

/** Reads away what comes until the end. */
class Lingering implements Sink {
  public constructor(private readonly link: Link) {}
  public onBytes(): void {}
  public onEnd(): void {
    if (!this.link.writing) this.link.destroy(); // else when the rest is out
  }
  public onGone(): void {}
  public onDrain(): void {}
  public onOverdue(): void {
    if (this.link.writing) this.link.reset();
    else this.link.destroy();
  }
}
