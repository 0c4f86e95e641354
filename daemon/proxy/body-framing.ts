import { meaningOf } from "./field-names.js";
import type { Framing } from "./head-control.js";
import { pastToken, pastValue } from "./http-fields.js";

/** The bytes are no body of this framing: what follows cannot be told apart, so the connection must end. */
export class FramingError extends Error {}

/** Hexadecimal digits of a chunk's size: below 2^48, so that it stays exact. */
const maxSizeDigits = 12;
const maxExtensionBytes = 256;
/** Bytes of all trailers of one body, their line ends included. */
const maxTrailerBytes = 8192;
/** RFC 9112 §7.1.1 without the "bad whitespace" that nobody may send. */
const extension = /^(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t\x20-\x7e])*"))?)+$/;

const bareCR = /\r[^\n]/;
const CR = 13;
const LF = 10;
type State = "size" | "extension" | "size-end" | "data" | "data-end" | "data-lf" | "trailer" | "failed";

/** Value of a hexadecimal digit, or -1. */
function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/**
 * Follows a message body through its bytes (RFC 9112 §6, §7). Pure; one byte after the other, so that cuts make no difference. Tells how many of
 * the given bytes belong to the body and whether it has ended. Throws FramingError: sizes that are no plain hexadecimal, a bare CR or LF, odd or long
 * extensions, long or malformed trailers, trailers that would frame or route a message or say what only a proxy may (RFC 9110 §6.5.1).
 */
export class BodyReader {
  public done: boolean;
  private remaining = 0;
  private digits = 0;
  private state: State = "size";
  private line = "";
  private trailerBytes = 0;

  public constructor(private readonly framing: Framing) {
    this.done = framing.kind === "none";
    if (framing.kind === "length") {
      this.remaining = framing.bytes;
      this.done = framing.bytes === 0;
    }
  }

  /** Takes bytes; returns how many belong to the body. `onData` gets the payload without chunk framing. */
  public take(bytes: Buffer, onData?: (data: Buffer) => void): number {
    switch (this.framing.kind) {
      case "none": return 0;
      case "until-close": {
        if (bytes.length > 0) onData?.(bytes);
        return bytes.length;
      }
      case "length": {
        const used = this.takeData(bytes, 0, onData);
        if (this.remaining === 0) this.done = true;
        return used;
      }
      case "chunked": return this.takeChunked(bytes, onData);
    }
  }

  /** Takes up to `remaining` bytes from `at`; returns the index past them. */
  private takeData(bytes: Buffer, at: number, onData: ((data: Buffer) => void) | undefined): number {
    const end = Math.min(bytes.length, at + this.remaining);
    this.remaining -= end - at;
    if (end > at) onData?.(bytes.subarray(at, end));
    return end;
  }

  private takeChunked(bytes: Buffer, onData?: (data: Buffer) => void): number {
    let at = 0;
    while (at < bytes.length && !this.done) {
      if (this.state === "data") {
        at = this.takeData(bytes, at, onData);
        if (this.remaining === 0) this.state = "data-end";
      } else if (this.state === "trailer") at = this.takeTrailer(bytes, at);
      else {
        this.step(bytes[at] as number);
        at += 1;
      }
    }
    return at;
  }

  /** One byte of a chunk's framing. */
  private step(byte: number): void {
    switch (this.state) {
      case "size": {
        const digit = digitOf(byte);
        if (digit !== -1 && this.digits < maxSizeDigits) {
          this.remaining = this.remaining * 16 + digit;
          this.digits += 1;
        } else if (this.digits > 0 && byte === CR) this.state = "size-end";
        else if (this.digits > 0 && byte === 0x3b) {
          this.line = ";";
          this.state = "extension";
        } else this.fail("chunk size");
        return;
      }
      case "extension":
        if (byte === CR) {
          if (!extension.test(this.line)) this.fail("chunk extension");
          this.state = "size-end";
        } else if (this.line.length === maxExtensionBytes) this.fail("chunk extension too long");
        else this.line += String.fromCharCode(byte);
        return;
      case "size-end":
        if (byte !== LF) this.fail("bare CR in chunk framing");
        this.line = "";
        this.digits = 0;
        this.state = this.remaining === 0 ? "trailer" : "data";
        return;
      case "data-end":
        if (byte !== CR) this.fail("chunk longer than its size");
        this.state = "data-lf";
        return;
      case "data-lf":
        if (byte !== LF) this.fail("bare CR in chunk framing");
        this.state = "size";
        return;
      default: this.fail("chunk framing has failed before");
    }
  }

  /** Collects one line of the trailers; returns the index past what it took. */
  private takeTrailer(bytes: Buffer, at: number): number {
    const found = bytes.indexOf(LF, at);
    const end = found === -1 ? bytes.length : found + 1;
    this.trailerBytes += end - at;
    if (this.trailerBytes > maxTrailerBytes) this.fail("trailers too long");
    this.line += bytes.toString("latin1", at, end);
    if (found === -1 && bareCR.test(this.line)) this.fail("bare CR in a trailer"); // its line would never end
    if (found === -1) return end;
    if (!this.line.endsWith("\r\n")) this.fail("bare LF in a trailer");
    if (this.line === "\r\n") this.done = true;
    else if (!mayTrail(this.line)) this.fail("trailer");
    this.line = "";
    return end;
  }

  private fail(message: string): never {
    this.state = "failed";
    throw new FramingError(message);
  }
}

/** A field line, its CRLF included, that may stand in a trailer. */
function mayTrail(line: string): boolean {
  const bytes = Buffer.from(line, "latin1");
  const colon = pastToken(bytes, 0);
  return colon > 0 && bytes[colon] === 0x3a && pastValue(bytes, colon + 1) === bytes.length - 2 && meaningOf(line.slice(0, colon).toLowerCase()) === "passed";
}
