import { hostName, sameAuthority } from "./authority.js";
import { type Control, controlOf, type Framing, noOptions, optionsOf, persists } from "./head-control.js";
import { endsLine, type Field, HeadError, maxFields, membersOf, mustEnd, pastTarget, pastToken, scanFields } from "./http-fields.js";

export interface RequestHead {
  method: string;
  /** Origin form ("/path?query") or "*". */
  target: string;
  minor: 0 | 1;
  /** Heads may be shared (known-heads.ts): nobody writes into them. */
  fields: readonly Readonly<Field>[];
  /** Lower case, without port and brackets; empty where the client said none (an empty Host, or none in HTTP/1.0). */
  host: string;
  framing: Framing;
  keepAlive: boolean;
  upgrade: boolean;
  expectContinue: boolean;
}

const maxMethodBytes = 32;
const bad = (message: string, status = 400): HeadError => new HeadError(status, message);

interface RequestLine { method: string; target: string; minor: 0 | 1 | undefined; next: number }
const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39;

/** RFC 9112 §3: one space each. `minor` is undefined for a version that is none of ours; `next` = index of the first field line. */
function scanRequestLine(bytes: Buffer, text: string, start: number): RequestLine {
  const methodEnd = pastToken(bytes, start);
  const at = pastTarget(bytes, methodEnd + 1);
  if (methodEnd === start || methodEnd - start > maxMethodBytes || bytes[methodEnd] !== 0x20 || at === methodEnd + 1 || bytes[at] !== 0x20) throw bad("request line");
  const version = at + 1;
  if (!text.startsWith("HTTP/", version) || !isDigit(bytes[version + 5]) || bytes[version + 6] !== 0x2e || !isDigit(bytes[version + 7]) || !endsLine(bytes, version + 8)) throw bad("request line");
  const minor = bytes[version + 5] !== 0x31 ? undefined : bytes[version + 7] === 0x31 ? 1 : bytes[version + 7] === 0x30 ? 0 : undefined;
  return { method: text.slice(start, methodEnd), target: text.slice(methodEnd + 1, at), minor, next: version + 10 };
}

/** The authority and the rest of an absolute form, or undefined for the origin form and the "*" of OPTIONS (RFC 9112 §3.2). */
function absoluteForm(method: string, target: string): { authority: string; rest: string } | undefined {
  if (target.charCodeAt(0) === 0x2f || (target === "*" && method === "OPTIONS")) return undefined;
  const match = /^http:\/\/([^/?]+)([/?].*)?$/i.exec(target);
  if (match === null) throw bad("target");
  const [, authority = "", rest = method === "OPTIONS" ? "*" : "/"] = match; // §3.2.4
  return { authority, rest: rest.startsWith("?") ? `/${rest}` : rest };
}

/** RFC 9112 §6.1 and §6.3, stricter: a length beside a coding, and any coding but "chunked", is refused. */
function framingOf(minor: 0 | 1, { coding, length }: Control): Framing {
  if (coding === undefined) return length === undefined || length === 0 ? { kind: "none" } : { kind: "length", bytes: length };
  if (length !== undefined || minor === 0) throw bad("transfer-encoding with a length, or in HTTP/1.0");
  if (coding.toLowerCase() !== "chunked") throw bad("transfer-encoding", 501);
  return { kind: "chunked" };
}

/** Only what may become a tunnel: one protocol's name or several, none of them another HTTP or TLS within this connection (h2c smuggling). */
function mayUpgrade(minor: 0 | 1, options: readonly string[], framing: Framing, { upgrade, upgrades }: Control): boolean {
  if (upgrade === undefined || upgrades !== 1 || minor !== 1 || framing.kind !== "none" || !options.includes("upgrade")) return false;
  const protocols = membersOf(upgrade);
  return protocols.length > 0 && protocols.every((protocol) => !/^(?:h2|http|tls)/.test(protocol) && /^[!#$%&'*+.^_`|~0-9a-z-]+(?:\/[!#$%&'*+.^_`|~0-9a-z-]+)?$/.test(protocol));
}

/** `bytes` = one whole head as headEnd found it. Throws HeadError. */
export function parseRequest(bytes: Buffer, mostFields = maxFields): RequestHead {
  mustEnd(bytes);
  const text = bytes.toString("latin1");
  const { method, minor, target, next } = scanRequestLine(bytes, text, endsLine(bytes, 0) ? 2 : 0);
  const fields = scanFields(bytes, text, next, mostFields);
  if (minor === undefined) throw bad("version", 505);
  if (method === "CONNECT") throw bad("CONNECT", 405);
  const control = controlOf(fields);
  const absolute = absoluteForm(method, target);
  if (control.host === undefined) {
    if (minor === 1) throw bad("host");
    // an HTTP/1.0 client that names the host in the target (§3.2.2)
    if (absolute !== undefined) fields.push({ name: "Host", lower: "host", value: absolute.authority });
  } else if (absolute !== undefined && !sameAuthority(absolute.authority, control.host)) throw bad("target of another host");
  const authority = control.host ?? absolute?.authority;
  const host = authority === undefined || authority === "" ? "" : hostName(authority); // empty: §3.2, a target without an authority
  const framing = framingOf(minor, control);
  const options = optionsOf(control.connection);
  const expect = control.expect === undefined ? noOptions : membersOf(control.expect);
  if (expect.some((item) => item !== "100-continue")) throw bad("expect", 417);
  return {
    method, target: absolute?.rest ?? target, minor, fields, host, framing,
    upgrade: mayUpgrade(minor, options, framing, control),
    keepAlive: persists(minor, control.connection, options),
    expectContinue: minor === 1 && expect.length > 0 && framing.kind !== "none",
  };
}
