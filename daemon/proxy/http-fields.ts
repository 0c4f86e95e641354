import { knownName } from "./field-names.js";

/** Field lines (RFC 9112 §5, RFC 9110 §5): one pass over the bytes, no regular expression. Pure. */

/** Field names keep their spelling; `lower` is for comparing. */
export interface Field { name: string; lower: string; value: string }
export class HeadError extends Error {
  public constructor(public readonly status: number, message: string) {
    super(message);
  }
}
export const maxFields = 128;

/** Bits of a byte: may stand in a token (RFC 9110 §5.6.2), a field's value (§5.5), a target (RFC 9112 §3.2; no "#", nothing above 0x7e). */
const inToken = 1;
const inValue = 2;
const inTarget = 4;
const kinds = new Uint8Array(256);
for (let byte = 0; byte < 256; byte += 1) {
  const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(byte)) ? inToken : 0;
  const value = byte === 9 || (byte >= 0x20 && byte !== 0x7f) ? inValue : 0;
  const target = byte > 0x20 && byte < 0x7f && byte !== 0x23 ? inTarget : 0;
  kinds[byte] = token | value | target;
}

/** True when CR LF stands at `at`. */
export function endsLine(bytes: Buffer, at: number): boolean {
  return bytes[at] === 13 && bytes[at + 1] === 10;
}
/** Throws unless `bytes` ends with CRLFCRLF: no loop over its lines runs past them. */
export function mustEnd(bytes: Buffer): void {
  if (bytes.length < 4 || !endsLine(bytes, bytes.length - 4) || !endsLine(bytes, bytes.length - 2)) throw new HeadError(400, "head without its end");
}
/** Index of the first byte from `at` that may not stand in a token, value or target. Ends at the latest at a line's end. */
export function pastToken(bytes: Buffer, at: number): number {
  while ((kinds[bytes[at] as number] as number) & inToken) at += 1;
  return at;
}
export function pastValue(bytes: Buffer, at: number): number {
  while ((kinds[bytes[at] as number] as number) & inValue) at += 1;
  return at;
}
export function pastTarget(bytes: Buffer, at: number): number {
  while ((kinds[bytes[at] as number] as number) & inTarget) at += 1;
  return at;
}

const isBlank = (byte: number | undefined): boolean => byte === 0x20 || byte === 9;

/**
 * Field lines from `start` to the empty line that ends `bytes`; `text` = the same bytes as latin1. mustEnd has passed.
 * Throws HeadError 400 (431 for too many).
 */
export function scanFields(bytes: Buffer, text: string, start: number, mostFields: number): Field[] {
  const fields: Field[] = [];
  const end = bytes.length - 2;
  let at = start;
  while (at < end) {
    const nameAt = at;
    let hash = 0; // of knownName, here once more: a call for each byte would cost more than it saves
    for (let byte = bytes[at] as number; (kinds[byte] as number) & inToken; byte = bytes[at] as number) {
      hash = (hash * 31 + byte) | 0;
      at += 1;
    }
    if (at === nameAt || bytes[at] !== 0x3a) throw new HeadError(400, "field name");
    const known = knownName(text, nameAt, at, hash);
    const name = known?.name ?? text.slice(nameAt, at);
    do at += 1; while (isBlank(bytes[at]));
    const valueAt = at;
    at = pastValue(bytes, at);
    if (!endsLine(bytes, at)) throw new HeadError(400, "field value");
    let valueEnd = at;
    while (valueEnd > valueAt && isBlank(bytes[valueEnd - 1])) valueEnd -= 1;
    at += 2;
    fields.push({ name, lower: known?.lower ?? name.toLowerCase(), value: text.slice(valueAt, valueEnd) });
  }
  if (at !== end) throw new HeadError(400, "field lines");
  // last: where a bare LF stands among them, the refusal is the same as when it is met byte by byte (headEnd)
  if (fields.length > mostFields) throw new HeadError(431, "too many fields");
  return fields;
}

/** Members of a comma-separated value in lower case; empty ones are left out (RFC 9110 §5.6.1). Only space and tab are trimmed: "\xa0close" is not "close". */
export function membersOf(value: string): string[] {
  const members: string[] = [];
  for (const item of value.split(",")) {
    let from = 0;
    let to = item.length;
    while (from < to && isBlank(item.charCodeAt(from))) from += 1;
    while (to > from && isBlank(item.charCodeAt(to - 1))) to -= 1;
    if (to > from) members.push(item.slice(from, to).toLowerCase());
  }
  return members;
}

/** Comma-separated members in lower case, e.g. of Connection, from all fields of that name. */
export function listOf(fields: readonly Field[], lower: string): string[] {
  const members: string[] = [];
  for (const field of fields) if (field.lower === lower) for (const member of membersOf(field.value)) members.push(member);
  return members;
}
