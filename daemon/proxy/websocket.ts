/** A close frame of a server (RFC 6455 §5.5.1): unmasked, with its code. */
export function closeFrame(code: number): Buffer {
  return Buffer.from([0x88, 2, code >> 8, code & 255]);
}

/** Follows the frames that a server sends (RFC 6455 §5.2), without looking into them. Pure. */
export class FrameFollower {
  private header: number[] = [];
  private payload = 0;

  /** Nothing of a frame is on its way: another one may be sent now. */
  public get between(): boolean {
    return this.payload === 0 && this.header.length === 0;
  }
  /** Takes bytes; with `stop`, tells after how many of them a frame has ended first, or undefined when none does. */
  public take(bytes: Buffer, stop: boolean): number | undefined {
    let at = 0;
    while (at < bytes.length) {
      if (this.payload > 0) {
        const used = Math.min(this.payload, bytes.length - at);
        this.payload -= used;
        at += used;
      } else {
        this.header.push(bytes[at] as number);
        at += 1;
        this.readHeader();
      }
      if (stop && this.between) return at;
    }
    return undefined;
  }

  private readHeader(): void {
    const { header } = this;
    if (header.length < 2) return;
    const short = (header[1] as number) & 127;
    const masked = ((header[1] as number) & 128) !== 0;
    const wide = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (header.length < 2 + wide + (masked ? 4 : 0)) return;
    this.payload = wide === 0 ? short : header.slice(2, 2 + wide).reduce((sum, byte) => sum * 256 + byte, 0);
    this.header = [];
  }
}
