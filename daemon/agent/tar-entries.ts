import { HcError } from "../lib/errors.js";

/** One entry of a tar stream. `body` must be read, or skipped, before the next entry is asked for. */
export interface TarEntry { name: string; type: "file" | "folder" | "symlink" | "hard link" | "device or pipe"; mode: number; size: number; link: string; body: AsyncIterable<Buffer> }

const block = 512;
/** Longest extended header (names), bytes. */
const longestHeader = 64 * 1024;

function bad(why: string): HcError {
  return new HcError("INVALID_INPUT", `content: not a tar archive that can be read: ${why}.`);
}

/** Exact reads from a stream of chunks. */
class Source {
  private readonly iterator: AsyncIterator<Buffer>;
  private rest = Buffer.alloc(0);
  public constructor(chunks: AsyncIterable<Buffer>) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }
  /** Up to `limit` bytes; undefined at the end. */
  public async some(limit: number): Promise<Buffer | undefined> {
    while (this.rest.length === 0) {
      const next = await this.iterator.next();
      if (next.done === true) return undefined;
      this.rest = Buffer.from(next.value);
    }
    const part = this.rest.subarray(0, limit);
    this.rest = this.rest.subarray(part.length);
    return part;
  }
  public async exact(length: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      const part = await this.some(missing);
      if (part === undefined) {
        if (parts.length === 0) return undefined;
        throw bad("it ends in the middle of an entry");
      }
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts);
  }
}

const text = (header: Buffer, from: number, length: number): string => {
  const field = header.subarray(from, from + length);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? length : end).toString("utf8");
};

function number(header: Buffer, from: number, length: number): number {
  // GNU base-256 for what does not fit into octal digits
  if (((header[from] ?? 0) & 0x80) !== 0) {
    let value = BigInt((header[from] ?? 0) & 0x7f);
    for (const byte of header.subarray(from + 1, from + length)) value = (value << 8n) | BigInt(byte);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw bad("a number is too large");
    return Number(value);
  }
  const digits = text(header, from, length).trim();
  if (!/^[0-7]*$/.test(digits)) throw bad(`${JSON.stringify(digits)} is no octal number`);
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function checked(header: Buffer): boolean {
  let sum = 0;
  for (let index = 0; index < block; index += 1) sum += index >= 148 && index < 156 ? 32 : (header[index] as number);
  return sum === number(header, 148, 8);
}

/** Records of a pax header: "<length> <key>=<value>\n" (POSIX.1-2008, pax). */
function pax(body: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(32, at);
    const length = Number(body.subarray(at, space).toString());
    if (space < 0 || !Number.isInteger(length) || length <= 0 || at + length > body.length) throw bad("a pax header is broken");
    const record = body.subarray(space + 1, at + length - 1).toString("utf8");
    const equals = record.indexOf("=");
    records.set(record.slice(0, equals), record.slice(equals + 1));
    at += length;
  }
  return records;
}

const types: Record<string, TarEntry["type"]> = { "0": "file", "\0": "file", "7": "file", "5": "folder", "2": "symlink", "1": "hard link" };

/** Reads ustar, pax and GNU long names (tar(5)). Sparse files and unknown kinds are told as "device or pipe". Throws INVALID_INPUT. */
export async function* tarEntries(chunks: AsyncIterable<Buffer>): AsyncGenerator<TarEntry> {
  const source = new Source(chunks);
  let extended = new Map<string, string>();
  let first = true;
  for (;;) {
    const header = await source.exact(block);
    if (header === undefined) {
      if (first) throw bad("it is empty");
      return;
    }
    if (header.every((byte) => byte === 0)) {
      while ((await source.some(1 << 20)) !== undefined); // the rest is padding
      return;
    }
    if (!checked(header)) throw bad("a checksum is wrong");
    first = false;
    const kind = String.fromCharCode(header[156] as number);
    const headerSize = number(header, 124, 12);
    if (["x", "g", "L", "K"].includes(kind)) {
      if (headerSize > longestHeader) throw bad("a name is too long");
      const body = (await source.exact(Math.ceil(headerSize / block) * block))?.subarray(0, headerSize);
      if (body === undefined) throw bad("it ends in a header");
      if (kind === "x") for (const [key, value] of pax(body)) extended.set(key, value);
      if (kind === "L") extended.set("path", text(body, 0, body.length));
      if (kind === "K") extended.set("linkpath", text(body, 0, body.length));
      continue;
    }
    const prefix = text(header, 257, 5) === "ustar" && header[262] === 0 ? text(header, 345, 155) : "";
    const size = extended.has("size") ? Number(extended.get("size")) : headerSize;
    if (!Number.isSafeInteger(size) || size < 0) throw bad("a size is wrong");
    const name = extended.get("path") ?? (prefix === "" ? "" : `${prefix}/`) + text(header, 0, 100);
    const type = types[kind] ?? "device or pipe";
    let left = type === "folder" || type === "symlink" || type === "hard link" ? 0 : size;
    let padding = (block - (left % block)) % block;
    async function* body(): AsyncGenerator<Buffer> {
      while (left > 0) {
        const part = await source.some(left);
        if (part === undefined) throw bad("it ends in the middle of a file");
        left -= part.length;
        yield part;
      }
    }
    // old tars mark a folder only by the slash at its end
    yield { name, type: type === "file" && name.endsWith("/") ? "folder" : type, mode: number(header, 100, 8), size: left, link: extended.get("linkpath") ?? text(header, 157, 100), body: body() };
    while (left > 0) {
      const part = await source.some(left);
      if (part === undefined) throw bad("it ends in the middle of a file");
      left -= part.length;
    }
    while (padding > 0) {
      const part = await source.some(padding);
      if (part === undefined) break;
      padding -= part.length;
    }
    extended = new Map();
  }
}
