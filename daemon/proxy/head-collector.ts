import { headEnd, maxHeadBytes } from "./http-head.js";

const empty = Buffer.alloc(0);

/** Collects one head (RFC 9112 §2.1) from pieces of any size. One that comes whole is not copied. */
export class HeadCollector {
  private rest: Buffer = empty;
  private kept: Buffer = empty;
  private length = 0;

  public constructor(private readonly mostBytes = maxHeadBytes) {}

  /** The whole head, CRLFCRLF included, or undefined while it is not complete. Throws HeadError as `headEnd` does. */
  public take(piece: Buffer): Buffer | undefined {
    if (this.length === 0) {
      const end = headEnd(piece, 0, this.mostBytes);
      if (end !== -1) {
        this.rest = piece.subarray(end);
        return piece.subarray(0, end);
      }
    }
    const searched = this.length;
    this.keep(piece);
    const all = this.kept.subarray(0, this.length);
    const end = searched === 0 ? -1 : headEnd(all, searched, this.mostBytes);
    if (end === -1) return undefined;
    this.rest = all.subarray(end);
    this.kept = empty;
    this.length = 0;
    return all.subarray(0, end);
  }

  /** Nothing of a head has come yet. */
  public get isEmpty(): boolean {
    return this.length === 0;
  }

  /** What came behind the head; it is kept here no longer, as a connection may idle for long. */
  public takeRest(): Buffer {
    const { rest } = this;
    this.rest = empty;
    return rest;
  }

  private keep(piece: Buffer): void {
    if (this.length + piece.length > this.kept.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, 2 * this.kept.length, this.length + piece.length));
      this.kept.copy(larger, 0, 0, this.length);
      this.kept = larger;
    }
    piece.copy(this.kept, this.length);
    this.length += piece.length;
  }
}
