import { requestOut, responseOut } from "./heads-out.js";
import { parseRequest, parseResponse, type RequestHead, type ResponseHead } from "./http-head.js";

/** Heads that are remembered at most, and the longest of them. */
const places = 256;
const mostBytes = 2048;
/** So many of the first bytes are in a head's hash; of the others every so many-th part. */
const wholeBytes = 64;
const samples = 16;

function hashOf(bytes: Buffer, end: number): number {
  let hash = end;
  const whole = Math.min(wholeBytes, end);
  for (let at = 0; at < whole; at += 1) hash = (hash * 31 + (bytes[at] as number)) | 0;
  const step = 1 + Math.floor((end - whole) / samples);
  for (let at = whole; at < end; at += step) hash = (hash * 31 + (bytes[at] as number)) | 0;
  return hash;
}

/** Not of the pool of small buffers, which one of them would keep whole. */
function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

interface Known<Head, To> { hash: number; bytes: Buffer; head: Head; to: To | undefined; text: string }

/**
 * Heads that came before, byte for byte: a client that keeps its connection sends the same head again and again, and so does a server within one second. What was parsed and refused or not, and what was written from it, is a
 * function of the bytes alone, and need not be found out anew. Bounded; a head is kept when its hash has come twice in a row at its place, so what comes once costs no copy. Heads that were given are shared: nobody writes into them.
 */
export class KnownHeads<Head extends object, To> {
  private readonly known = new Array<Known<Head, To> | undefined>(places).fill(undefined);
  private readonly hashes = new Int32Array(places);
  private readonly byHead = new WeakMap<Head, Known<Head, To>>();

  public constructor(private readonly parse: (bytes: Buffer) => Head, private readonly write: (head: Head, to: To) => string, private readonly same: (a: To, b: To) => boolean) {}

  /** The head that these bytes are, neither more nor less, if it is known. */
  public find(bytes: Buffer): Head | undefined {
    const end = bytes.length;
    return end > mostBytes ? undefined : this.at(hashOf(bytes, end), bytes, end);
  }
  /** What `parse` makes of the whole head that ends at `end`. Throws as it does. */
  public of(bytes: Buffer, end = bytes.length): Head {
    if (end > mostBytes) return this.parse(bytes.subarray(0, end));
    const hash = hashOf(bytes, end);
    const known = this.at(hash, bytes, end);
    if (known !== undefined) return known;
    const whole = bytes.subarray(0, end);
    const head = this.parse(whole);
    const place = hash & (places - 1);
    if (this.hashes[place] === hash) this.keep({ hash, bytes: copyOf(whole), head, to: undefined, text: "" });
    this.hashes[place] = hash;
    return head;
  }
  /** What `write` makes of a head, known or not. */
  public out(head: Head, to: To): string {
    const known = this.byHead.get(head);
    if (known === undefined) return this.write(head, to);
    if (known.to === undefined || !this.same(known.to, to)) {
      known.text = this.write(head, to);
      known.to = to;
    }
    return known.text;
  }

  private at(hash: number, bytes: Buffer, end: number): Head | undefined {
    const known = this.known[hash & (places - 1)];
    return known !== undefined && known.hash === hash && known.bytes.length === end && known.bytes.compare(bytes, 0, end) === 0 ? known.head : undefined;
  }
  private keep(known: Known<Head, To>): void {
    this.known[known.hash & (places - 1)] = known;
    this.byHead.set(known.head, known);
  }
}

type Client = Parameters<typeof requestOut>[1];
type Options = Parameters<typeof responseOut>[1];
export const requestHeads = new KnownHeads<RequestHead, Client>(parseRequest, requestOut, (a, b) => a.address === b.address && a.proto === b.proto);
/** Of answers to any method but HEAD, which alone changes how they are read. */
export const responseHeads = new KnownHeads<ResponseHead, Options>((bytes) => parseResponse(bytes, "GET"), responseOut, (a, b) => a.keep === b.keep && a.clientMinor === b.clientMinor && a.dechunk === b.dechunk && a.fields === b.fields);
