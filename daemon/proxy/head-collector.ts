import { headEnd, maxHeadBytes } from "./http-head.js";

const empty = Buffer.alloc(0);

/** Collects one head (RFC 9112 §2.1) from pieces of any size. One that comes whole is not copied. */
export class HeadCollector {
  /** What came behind the head. */
  public rest: Buffer = empty;
  private kept: Buffer = empty;
  private length = 0;

  public get begun(): boolean {
    return this.length > 0;
  }

  /** The whole head, CRLFCRLF included, or undefined while it is not complete. Throws HeadError as `headEnd` does. */
  public take(bytes: Buffer): Buffer | undefined {
    let piece = bytes;
    if (this.length === 0) {
      // RFC 9112 §2.2: an empty line before the request line
      if (piece[0] === 13 && piece[1] === 10) piece = piece.subarray(2);
      const end = headEnd(piece);
      if (end !== -1) {
        this.rest = piece.subarray(end);
        return piece.subarray(0, end);
      }
    }
    this.keep(piece);
    if (this.length === 2 && this.kept[0] === 13 && this.kept[1] === 10) this.length = 0;
    // only a line's end can complete or spoil a head
    if (this.length <= maxHeadBytes && piece.indexOf(10) === -1) return undefined;
    const all = this.kept.subarray(0, this.length);
    const end = headEnd(all);
    if (end === -1) return undefined;
    this.rest = all.subarray(end);
    this.kept = empty;
    this.length = 0;
    return all.subarray(0, end);
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
