import { type Control, controlOf, type Framing, optionsOf, persists } from "./head-control.js";
import { endsLine, type Field, HeadError, maxFields, mustEnd, pastValue, scanFields } from "./http-fields.js";

export interface ResponseHead { status: number; reason: string; minor: 0 | 1; /** May be shared (known-heads.ts): nobody writes into them. */ fields: readonly Readonly<Field>[]; framing: Framing; keepAlive: boolean }

const bad = (message: string): HeadError => new HeadError(502, message);

/** RFC 9112 §6.3. A coding beside a length, one in HTTP/1.0 (§6.1) and any but "chunked" is refused. */
function framingOf(method: string, status: number, minor: 0 | 1, { coding, length }: Control): Framing {
  if (coding !== undefined && (length !== undefined || minor === 0 || coding.toLowerCase() !== "chunked")) throw bad("both lengths in a response, or an unknown coding");
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return { kind: "none" };
  if (coding !== undefined) return { kind: "chunked" };
  if (length === undefined) return { kind: "until-close" };
  return length === 0 ? { kind: "none" } : { kind: "length", bytes: length };
}

/** RFC 9112 §4; the space before an empty reason may be missing. `next` = index of the first field line. */
function scanStatusLine(bytes: Buffer, text: string): { status: number; reason: string; minor: 0 | 1; next: number } {
  if (!text.startsWith("HTTP/1.") || (bytes[7] !== 0x30 && bytes[7] !== 0x31) || bytes[8] !== 0x20) throw bad("status line");
  const status = text.slice(9, 12);
  const at = pastValue(bytes, 12);
  if (!/^[1-9][0-9]{2}$/.test(status) || !endsLine(bytes, at) || (at > 12 && bytes[12] !== 0x20)) throw bad("status line");
  return { status: Number(status), reason: text.slice(13, at), minor: bytes[7] === 0x31 ? 1 : 0, next: at + 2 };
}

function parse(bytes: Buffer, method: string): ResponseHead {
  mustEnd(bytes);
  const text = bytes.toString("latin1");
  const { status, reason, minor, next } = scanStatusLine(bytes, text);
  const fields = scanFields(bytes, text, next, maxFields);
  const control = controlOf(fields);
  const framing = framingOf(method, status, minor, control);
  if (status === 101 && (control.upgrade === undefined || minor === 0)) throw bad("101 without a protocol");
  return { status, reason, minor, fields, framing, keepAlive: framing.kind !== "until-close" && persists(minor, control.connection, optionsOf(control.connection)) };
}

/** A response's head as headEnd found it; `method` (of the request) decides whether a body follows. Throws HeadError 502. */
export function parseResponse(bytes: Buffer, method: string): ResponseHead {
  try {
    return parse(bytes, method);
  } catch (error) {
    if (error instanceof HeadError && error.status !== 502) throw bad(error.message);
    throw error;
  }
}
