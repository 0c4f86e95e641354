import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import { HcError, messageOf } from "../lib/errors.js";

/**
 * Framing of a stream between nodes. Version 1: magic "HCS1", then frames of 4 bytes length (big-endian), 4 bytes CRC-32 of that length and the frame's number, and that
 * many bytes. The first frame is the head (JSON), the others are the payload; a frame of length 0 ends it and is followed by the SHA-256 of head and payload. Without the
 * CRC a damaged length shifts the frames, and the whole payload may be given out before the digest is looked at.
 * Version 2 ("HCS2", for receives that can be resumed): the head and every frame are followed by a link of a chain, SHA-256 of the link before and the frame (of the head alone for the first), and a frame is given out
 * only after its link matched. So whatever a receive keeps when the stream is cut is what the sender gave, and the digest reaches over all parts that make the snapshot up.
 * HTTP trailers would do the same but get lost in intermediate layers; the end of a connection is never taken for the end of a stream.
 */
const magics = { 1: Buffer.from("HCS1"), 2: Buffer.from("HCS2") } as const;
export type FrameVersion = keyof typeof magics;
const linkBytes = 32;
const maxHeadBytes = 256 * 1024;
const maxFrameBytes = 1024 * 1024;

export interface FramedCounts { payloadBytes: number }

/** Head and payload as framed bytes. Errors of the payload end the framed stream with an error. */
export function frame(head: unknown, payload: AsyncIterable<Uint8Array>, counts?: FramedCounts, version: FrameVersion = 1): Readable {
  async function* generate(): AsyncGenerator<Buffer> {
    const headBytes = Buffer.from(JSON.stringify(head));
    if (headBytes.length > maxHeadBytes) throw new HcError("LIMIT_EXCEEDED", `The head of a stream has ${headBytes.length} bytes, more than ${maxHeadBytes}.`, { retry: "never" });
    let number = 0;
    const prefix = (bytes: number): Buffer => prefixOf(bytes, number++);
    const digest = new Digest(headBytes, version);
    yield Buffer.concat([magics[version], prefix(headBytes.length), headBytes, digest.link]);
    for await (const chunk of payload)
      for (let at = 0; at < chunk.length; at += maxFrameBytes) {
        const part = Buffer.from(chunk.buffer, chunk.byteOffset + at, Math.min(maxFrameBytes, chunk.length - at));
        digest.add(part);
        if (counts !== undefined) counts.payloadBytes += part.length;
        yield prefix(part.length);
        yield part;
        if (digest.link.length > 0) yield digest.link;
      }
    yield Buffer.concat([prefix(0), digest.end()]);
  }
  return Readable.from(generate(), { objectMode: false });
}

/** What is known of all bytes so far: one hash of everything (version 1), or the newest link of the chain (version 2). */
class Digest {
  private readonly whole = createHash("sha256");
  /** Follows the frame that was added last; empty in version 1. */
  public link: Buffer = Buffer.alloc(0);
  public constructor(head: Buffer, private readonly version: FrameVersion) {
    this.add(head);
  }
  public add(part: Buffer): void {
    if (this.version === 1) this.whole.update(part);
    else this.link = createHash("sha256").update(this.link).update(part).digest();
  }
  public end(): Buffer {
    if (this.version === 1) return this.whole.digest();
    this.add(Buffer.alloc(0));
    return this.link;
  }
}

const prefixBytes = 8;
function prefixOf(bytes: number, number: number): Buffer {
  const buffer = Buffer.alloc(prefixBytes);
  buffer.writeUInt32BE(bytes);
  buffer.writeUInt32BE(number >>> 0, 4);
  buffer.writeUInt32BE(crc32(buffer), 4);
  return buffer;
}
async function lengthOf(reader: ByteReader, number: number): Promise<number> {
  const prefix = await reader.take(prefixBytes);
  const length = prefix.readUInt32BE();
  if (!prefix.equals(prefixOf(length, number))) throw broken(`frame ${number} has no true length`);
  return length;
}

export interface Unframed {
  version: FrameVersion;
  head: unknown;
  /**
   * The payload, verified: its last frame is given out only after the digest was seen to match, so that what reads it
   * (zfs receive) cannot finish on a cut or altered stream.
   */
  payload: Readable;
}

/** Reads the head, then hands out the payload. Throws COMMAND_FAILED (transient) when the bytes are not such a stream. */
export async function unframe(source: Readable, counts?: FramedCounts): Promise<Unframed> {
  const reader = new ByteReader(source);
  try {
    const magic = await reader.take(4);
    const version = magic.equals(magics[1]) ? 1 : magic.equals(magics[2]) ? 2 : undefined;
    if (version === undefined) throw broken("it does not begin with HCS1 or HCS2");
    const headLength = await lengthOf(reader, 0);
    if (headLength > maxHeadBytes) throw broken("its head is too long");
    const headBytes = Buffer.from(await reader.take(headLength));
    const digest = new Digest(headBytes, version);
    await checkLink(reader, digest, 0);
    let head: unknown;
    try {
      head = JSON.parse(headBytes.toString("utf8"));
    } catch {
      throw broken("its head is not JSON");
    }
    return { version, head, payload: Readable.from(verified(reader, digest, counts), { objectMode: false }) };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function checkLink(reader: ByteReader, digest: Digest, number: number): Promise<void> {
  if (digest.link.length > 0 && !(await reader.take(linkBytes)).equals(digest.link)) throw broken(`the SHA-256 of frame ${number} does not match`);
}

async function* verified(reader: ByteReader, digest: Digest, counts?: FramedCounts): AsyncGenerator<Buffer> {
  let held: Buffer | undefined;
  try {
    for (let number = 1; ; number += 1) {
      const length = await lengthOf(reader, number);
      if (length > maxFrameBytes) throw broken("a frame is too long");
      if (length === 0) break;
      const part = await reader.take(length);
      digest.add(part);
      await checkLink(reader, digest, number);
      if (counts !== undefined) counts.payloadBytes += part.length;
      if (held !== undefined) yield held;
      held = part;
    }
    if (!(await reader.take(32)).equals(digest.end())) throw broken("its SHA-256 does not match");
    if (held !== undefined) yield held;
  } finally {
    await reader.close();
  }
}

function broken(why: string): HcError {
  return new HcError("COMMAND_FAILED", `The stream is damaged: ${why}.`, { retry: "transient", context: { stream: "damaged" } });
}

/** Takes exact numbers of bytes from a stream; the end before that is an error. */
class ByteReader {
  private readonly iterator: AsyncIterator<Uint8Array>;
  private chunks: Buffer[] = [];
  private bytes = 0;
  public constructor(source: Readable) {
    this.iterator = source.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>; // what is left may be drained by the caller
  }
  public async take(count: number): Promise<Buffer> {
    while (this.bytes < count) {
      let next: IteratorResult<Uint8Array>;
      try {
        next = await this.iterator.next();
      } catch (error) {
        throw new HcError("COMMAND_FAILED", `The stream is damaged: ${messageOf(error)}`, { retry: "transient", context: { stream: "damaged" }, cause: error });
      }
      if (next.done === true) throw broken("it ended early");
      this.chunks.push(Buffer.from(next.value.buffer, next.value.byteOffset, next.value.length));
      this.bytes += next.value.length;
    }
    const all = this.chunks.length === 1 ? (this.chunks[0] as Buffer) : Buffer.concat(this.chunks);
    this.chunks = all.length === count ? [] : [all.subarray(count)];
    this.bytes -= count;
    return all.subarray(0, count);
  }
  public async close(): Promise<void> {
    await this.iterator.return?.();
  }
}
