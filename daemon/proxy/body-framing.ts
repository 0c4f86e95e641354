import type { Framing } from "./http-head.js";

/**
 * Follows a message body through its bytes (RFC 9112 §7). Pure. Tells how many of the given bytes belong to the body and whether it
 * has ended; refuses chunk sizes that are no plain hexadecimal, bare LF, and long extensions or trailers.
 */
export class BodyReader {
  public done: boolean;
  private remaining = 0;
  private state: "size" | "data" | "data-end" | "trailer" = "size";
  private line = "";
  private trailerBytes = 0;

  public constructor(private readonly framing: Framing) {
    this.done = framing.kind === "none";
    if (framing.kind === "length") this.remaining = framing.bytes;
  }

  /** Takes bytes; returns how many belong to the body. `onData` gets the payload without chunk framing. */
  public take(bytes: Buffer, onData?: (data: Buffer) => void): number {
    switch (this.framing.kind) {
      case "none": return 0;
      case "until-close": {
        onData?.(bytes);
        return bytes.length;
      }
      case "length": {
        const used = Math.min(bytes.length, this.remaining);
        this.remaining -= used;
        if (this.remaining === 0) this.done = true;
        if (used > 0) onData?.(bytes.subarray(0, used));
        return used;
      }
      case "chunked": return this.takeChunked(bytes, onData);
    }
  }

  private takeChunked(bytes: Buffer, onData?: (data: Buffer) => void): number {
    let at = 0;
    while (at < bytes.length && !this.done) {
      if (this.state === "data") {
        const used = Math.min(bytes.length - at, this.remaining);
        onData?.(bytes.subarray(at, at + used));
        at += used;
        this.remaining -= used;
        if (this.remaining === 0) this.state = "data-end";
        continue;
      }
      const end = bytes.indexOf(10, at);
      const piece = bytes.toString("latin1", at, end === -1 ? bytes.length : end + 1);
      this.line += piece;
      at += piece.length;
      if (this.line.length > 4096) throw new Error("chunk line too long");
      if (end === -1) break;
      const line = this.line;
      this.line = "";
      if (!line.endsWith("\r\n")) throw new Error("bare LF in chunk framing");
      this.takeLine(line.slice(0, -2));
    }
    return at;
  }

  private takeLine(line: string): void {
    if (line.includes("\r") || line.includes("\0")) throw new Error("control byte in chunk framing");
    switch (this.state) {
      case "data-end":
        if (line !== "") throw new Error("chunk longer than its size");
        this.state = "size";
        return;
      case "size": {
        const match = /^([0-9A-Fa-f]{1,12})(?:[\t ]*;[\t\x20-\x7e]{0,256})?$/.exec(line);
        if (match === null) throw new Error("chunk size");
        this.remaining = Number.parseInt(match[1] as string, 16);
        this.state = this.remaining === 0 ? "trailer" : "data";
        return;
      }
      case "trailer":
        if (line === "") {
          this.done = true;
          return;
        }
        this.trailerBytes += line.length;
        if (this.trailerBytes > 8192 || !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+:/.test(line)) throw new Error("trailer");
        return;
      case "data": return;
    }
  }
}
