import type { Upload, UploadTaker } from "./asker.js";
import { BodyReader } from "./body-framing.js";
import type { Framing } from "./http-head.js";
import type { Link } from "./link.js";
import type { Spool } from "./spool.js";

/** A body that has come whole and waits in a spool (without chunk framing). */
export class GatheredUpload implements Upload {
  public readonly replayable = true;
  public readonly complete = true;
  private to: UploadTaker | undefined;
  private at = 0;
  private busy = false;

  public constructor(private readonly spool: Spool) {}

  public get whole(): Buffer | undefined {
    return this.spool.whole;
  }
  public start(to: UploadTaker): void {
    this.to = to;
    this.at = 0;
    if (!this.busy) this.next(to);
  }
  public more(): void {
    if (this.to !== undefined && !this.busy) this.next(this.to);
  }
  public stop(): void {
    this.to = undefined;
  }

  private next(to: UploadTaker): void {
    if (this.at === this.spool.size) {
      this.to = undefined;
      return void to.uploadEnded();
    }
    this.busy = true;
    this.spool.read(this.at, (bytes) => {
      this.busy = false;
      if (this.to === undefined) return;
      // another one has begun meanwhile
      if (this.to !== to) return this.next(this.to);
      if (bytes === undefined) {
        if (this.spool.error !== undefined) return to.uploadFailed(this.spool.error);
        return this.spool.onChange(() => this.more());
      }
      this.at += bytes.length;
      if (to.upload(bytes)) this.next(to);
    });
  }
}

/** A body that comes through a connection as it is taken. `take` and `failed` are for whoever reads that connection. */
export class StreamedUpload implements Upload {
  public readonly replayable = false;
  public complete = false;
  private readonly reader: BodyReader;
  private to: UploadTaker | undefined;
  private failure: Error | undefined;

  /** What follows the body is put back. */
  public constructor(private readonly link: Link, framing: Framing) {
    this.reader = new BodyReader(framing);
  }
  public start(to: UploadTaker): void {
    this.to = to;
    if (this.failure !== undefined) return void to.uploadFailed(this.failure);
    this.link.resume();
  }
  public more(): void {
    if (!this.complete) this.link.resume();
  }
  public stop(): void {
    this.to = undefined;
    if (!this.complete) this.link.pause();
  }

  public take(bytes: Buffer): void {
    if (this.to === undefined) {
      this.link.pause();
      this.link.putBack(bytes);
      return;
    }
    let used: number;
    try {
      used = this.reader.take(bytes);
    } catch (error) {
      return void this.failed(error as Error);
    }
    const { to } = this;
    if (used < bytes.length) {
      this.link.pause();
      this.link.putBack(bytes.subarray(used));
    }
    if (used > 0 && !to.upload(used === bytes.length ? bytes : bytes.subarray(0, used))) this.link.pause();
    if (!this.reader.done || this.complete) return;
    this.complete = true;
    this.to = undefined;
    to.uploadEnded();
  }
  /** The sender has gone, was too slow or wrong. */
  public failed(error: Error): void {
    if (this.complete || this.failure !== undefined) return;
    this.failure = error;
    this.link.pause();
    this.to?.uploadFailed(error);
  }
}
