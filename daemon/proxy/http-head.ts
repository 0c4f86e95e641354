/**
 * Strict HTTP/1.1 heads (RFC 9112, RFC 9110). Pure. Whatever two programs could read in two ways is refused (request smuggling): bare
 * CR or LF, control bytes, folded lines, space before the colon, several or odd lengths, Transfer-Encoding other than "chunked".
 */
export type Framing = { kind: "none" } | { kind: "length"; bytes: number } | { kind: "chunked" } | { kind: "until-close" };
/** Field names keep their spelling; `lower` is for comparing. */
export interface Field { name: string; lower: string; value: string }
export interface RequestHead {
  method: string;
  /** Origin form ("/path?query") or "*". */
  target: string;
  minor: 0 | 1;
  fields: Field[];
  /** Lower case, without port and brackets. */
  host: string;
  framing: Framing;
  keepAlive: boolean;
  upgrade: boolean;
  expectContinue: boolean;
  /** Lines that the proxy adds to the head of the answer (site-policy.ts). */
  answerFields?: string;
}
export interface ResponseHead { status: number; reason: string; minor: 0 | 1; fields: Field[]; framing: Framing; keepAlive: boolean }
export class HeadError extends Error {
  public constructor(public readonly status: number, message: string) {
    super(message);
  }
}
/** Bytes of a head, its lines and the empty line included. */
export const maxHeadBytes = 32 * 1024;
export const maxFields = 128;

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const bad = (message: string, status = 400): HeadError => new HeadError(status, message);

/** Index just past CRLFCRLF, or -1 when the head is not complete. Throws on a bare LF or NUL before it, and past the limit. */
export function headEnd(bytes: Buffer): number {
  const end = bytes.indexOf("\r\n\r\n");
  const seen = end === -1 ? bytes : bytes.subarray(0, end);
  if (seen.length > maxHeadBytes) throw bad("head too large", 431);
  for (let at = seen.indexOf(10); at !== -1; at = seen.indexOf(10, at + 1)) if (seen[at - 1] !== 13) throw bad("bare LF");
  return end === -1 ? -1 : end + 4;
}

function parseFields(lines: readonly string[]): Field[] {
  if (lines.length > maxFields) throw bad("too many fields", 431);
  return lines.map((line) => {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    if (colon < 1 || !token.test(name)) throw bad("field name");
    const value = line.slice(colon + 1).replace(/^[\t ]+|[\t ]+$/g, "");
    if (!fieldValue.test(value)) throw bad("field value");
    return { name, lower: name.toLowerCase(), value };
  });
}
const valuesOf = (fields: readonly Field[], lower: string): string[] => fields.filter((field) => field.lower === lower).map((field) => field.value);
/** Comma-separated members in lower case, e.g. of Connection. */
export const listOf = (fields: readonly Field[], lower: string): string[] =>
  valuesOf(fields, lower).flatMap((value) => value.split(",").map((item) => item.trim().toLowerCase())).filter((item) => item !== "");

function lengthOf(fields: readonly Field[]): number | undefined {
  const values = valuesOf(fields, "content-length");
  if (values.length === 0) return undefined;
  const [value] = values;
  if (values.length > 1 || value === undefined || !/^(0|[1-9][0-9]{0,14})$/.test(value)) throw bad("content-length");
  return Number(value);
}

function splitLines(text: string): string[] {
  const lines = text.slice(0, -4).split("\r\n");
  if (lines.some((line) => line.includes("\r"))) throw bad("bare CR");
  return lines;
}

/** Host with an optional port → lower case name without port and brackets. */
export function hostName(value: string): string {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?$/.exec(value);
  if (match === null) throw bad("host");
  return (match[1] ?? match[2] ?? "").toLowerCase().replace(/\.$/, "");
}

/** `bytes` = one whole head, CRLFCRLF included. */
export function parseRequest(bytes: Buffer): RequestHead {
  const [line = "", ...rest] = splitLines(bytes.toString("latin1"));
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~\x80-\xff]+) HTTP\/1\.([01])$/.exec(line);
  if (match === null) throw /HTTP\/[02-9]/.test(line) ? bad("version", 505) : bad("request line");
  const method = match[1] as string;
  const minor = match[3] === "1" ? 1 : 0;
  if (method === "CONNECT") throw bad("CONNECT", 405);
  const fields = parseFields(rest);
  const hosts = valuesOf(fields, "host");
  if (hosts.length > 1 || (hosts.length === 0 && minor === 1)) throw bad("host");
  const host = hosts[0] === undefined ? "" : hostName(hosts[0]);
  let target = match[2] as string;
  if (!target.startsWith("/") && !(target === "*" && method === "OPTIONS")) {
    const absolute = /^https?:\/\/([^/?#]+)([/?].*)?$/i.exec(target);
    if (absolute === null || hostName(absolute[1] as string) !== host) throw bad("target");
    target = absolute[2] === undefined ? "/" : absolute[2].startsWith("?") ? `/${absolute[2]}` : absolute[2];
  }
  const codings = valuesOf(fields, "transfer-encoding");
  const length = lengthOf(fields);
  let framing: Framing = { kind: "none" };
  if (codings.length > 0) {
    if (length !== undefined || minor === 0) throw bad("transfer-encoding with a length, or in HTTP/1.0");
    if (codings.length > 1 || codings[0]?.toLowerCase() !== "chunked") throw bad("transfer-encoding", 501);
    framing = { kind: "chunked" };
  } else if (length !== undefined && length > 0) framing = { kind: "length", bytes: length };
  const connection = listOf(fields, "connection");
  const upgrade = minor === 1 && connection.includes("upgrade") && valuesOf(fields, "upgrade").length === 1 && framing.kind === "none" && !listOf(fields, "upgrade").includes("h2c");
  const expect = listOf(fields, "expect");
  if (expect.some((item) => item !== "100-continue")) throw bad("expect", 417);
  return {
    method, target, minor, fields, host, framing, upgrade,
    keepAlive: minor === 1 ? !connection.includes("close") : connection.includes("keep-alive"),
    expectContinue: minor === 1 && expect.length > 0 && framing.kind !== "none",
  };
}

/** A response's head; `method` decides whether a body follows (RFC 9112 §6.3). */
export function parseResponse(bytes: Buffer, method: string): ResponseHead {
  const [line = "", ...rest] = splitLines(bytes.toString("latin1"));
  const match = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/.exec(line);
  if (match === null) throw bad("status line", 502);
  const fields = parseFields(rest);
  const status = Number(match[2]);
  const minor = match[1] === "1" ? 1 : 0;
  const connection = listOf(fields, "connection");
  const codings = valuesOf(fields, "transfer-encoding");
  const length = lengthOf(fields);
  if (codings.length > 0 && (length !== undefined || codings.length > 1 || codings[0]?.toLowerCase() !== "chunked")) throw bad("both lengths in a response", 502);
  const bodyless = method === "HEAD" || status < 200 || status === 204 || status === 304;
  const framing: Framing = bodyless ? { kind: "none" }
    : codings.length > 0 ? { kind: "chunked" }
    : length !== undefined ? (length === 0 ? { kind: "none" } : { kind: "length", bytes: length })
    : { kind: "until-close" };
  return { status, reason: match[3] ?? "", minor, fields, framing, keepAlive: framing.kind !== "until-close" && (minor === 1 ? !connection.includes("close") : connection.includes("keep-alive")) };
}
