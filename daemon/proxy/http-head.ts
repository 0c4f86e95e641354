import { endsLine, HeadError, maxFields } from "./http-fields.js";

export { hostName } from "./authority.js";
export type { Framing } from "./head-control.js";
export { type Field, HeadError, listOf, maxFields } from "./http-fields.js";
export { parseRequest, type RequestHead } from "./request-head.js";
export { parseResponse, type ResponseHead } from "./response-head.js";

/**
 * Strict HTTP/1.1 heads (RFC 9112, RFC 9110). Pure. Whatever two programs could read in two ways is refused (request smuggling): bare
 * CR or LF, control bytes, folded lines, space before the colon, several or odd lengths, Transfer-Encoding other than "chunked".
 * Cases with their verdicts: test/fixtures/http.
 */

/** Bytes of a head, its lines and the empty line included. */
export const maxHeadBytes = 32 * 1024;
/** For a head that another node's proxy has written anew (heads-out.ts): what it accepted has grown by the fields that it adds. */
export const writtenHead = { mostBytes: maxHeadBytes + 1024, mostFields: maxFields + 8 } as const;

/**
 * Index just past CRLFCRLF, or -1 when the head is not complete; `searched` = bytes of it that an earlier call has seen,
 * `mostBytes` = its limit. Throws HeadError for what
 * can be refused before the end: a bare LF, two empty lines, more than the limit. What else is wrong, parseRequest and parseResponse tell; together
 * they say the same however the bytes are cut. One empty line before a request is part of it (RFC 9112 §2.2).
 */
export function headEnd(bytes: Buffer, searched = 0, mostBytes = maxHeadBytes): number {
  const skipped = endsLine(bytes, 0) ? 2 : 0;
  if (skipped === 2 && endsLine(bytes, 2)) throw new HeadError(400, "empty lines");
  const found = bytes.indexOf("\r\n\r\n", Math.max(skipped, searched - 3), "latin1");
  if (found !== -1 && found + 4 <= mostBytes) return found + 4;
  const most = Math.min(bytes.length, mostBytes);
  for (let at = bytes.indexOf(10, searched); at !== -1 && at < most; at = bytes.indexOf(10, at + 1)) if (bytes[at - 1] !== 13) throw new HeadError(400, "bare LF");
  if (bytes.length >= mostBytes) throw new HeadError(431, "head too large");
  return -1;
}
