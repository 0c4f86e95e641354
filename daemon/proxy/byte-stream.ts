import type { Socket } from "node:net";

/** Most bytes kept unread of one socket before it is paused. */
const highWaterBytes = 128 * 1024;

/** A socket read by pulling: bytes wait here (bounded) until they are asked for. */
export class ByteStream {
  private readonly queue: Buffer[] = [];
  private queued = 0;
  private ended = false;
  private failure: Error | undefined;
  private wake: (() => void) | undefined;

  public constructor(public readonly socket: Socket) {
    socket.on("data", (chunk: Buffer) => {
      this.queue.push(chunk);
      this.queued += chunk.length;
      if (this.queued > highWaterBytes) socket.pause();
      this.notify();
    });
    socket.on("end", () => {
      this.ended = true;
      this.notify();
    });
    socket.on("error", (error) => {
      this.failure ??= error;
      this.notify();
    });
    socket.on("close", () => {
      if (!this.ended) this.failure ??= new Error("connection closed");
      this.notify();
    });
  }

  /** The next bytes, or undefined at the end. Throws when the connection broke, or nothing came for `idleMs`. */
  public async read(idleMs: number): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.queue.shift();
      if (chunk !== undefined) {
        this.queued -= chunk.length;
        if (this.queued <= highWaterBytes / 2 && this.socket.isPaused()) this.socket.resume();
        return chunk;
      }
      if (this.failure !== undefined) throw this.failure;
      if (this.ended) return undefined;
      await this.waitForBytes(idleMs);
    }
  }

  public unread(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.queue.unshift(bytes);
    this.queued += bytes.length;
  }

  /** True when bytes, the end or an error are there already. */
  public get stirred(): boolean {
    return this.queue.length > 0 || this.ended || this.failure !== undefined;
  }

  private waitForBytes(idleMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.wake = undefined;
        reject(new Error("idle"));
      }, idleMs);
      this.wake = () => {
        clearTimeout(timer);
        this.wake = undefined;
        resolve();
      };
    });
  }

  private notify(): void {
    this.wake?.();
  }
}

/** Writes with back-pressure: settles when the socket takes more. Rejects when it broke or took nothing for `idleMs`. */
export function writeAll(socket: Socket, bytes: Buffer | string, idleMs: number): Promise<void> {
  if (socket.destroyed || socket.writableEnded) return Promise.reject(new Error("connection closed"));
  if (typeof bytes === "string" ? socket.write(bytes, "latin1") : socket.write(bytes)) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const end = (error?: Error): void => {
      clearTimeout(timer);
      socket.off("drain", onDrain);
      socket.off("close", onClose);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onDrain = (): void => end();
    const onClose = (): void => end(new Error("connection closed"));
    const timer = setTimeout(() => end(new Error("idle")), idleMs);
    socket.once("drain", onDrain);
    socket.once("close", onClose);
  });
}
