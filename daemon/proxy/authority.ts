import { isIPv6 } from "node:net";
import { HeadError } from "./http-fields.js";

/** The authority of a request: host and optional port (RFC 9110 §7.2, RFC 3986 §3.2). Stricter than the grammar: no user, no empty or odd port, no empty label, no percent. Pure. */

const longestName = 255;
const bad = (): HeadError => new HeadError(400, "host");
/** Letters, digits, "-" and "_" (hosts with one exist). */
const inLabel = (code: number): boolean => (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || code === 0x2d || code === 0x5f;

/** Index past the name or the bracketed address. Throws HeadError 400. */
function nameEnd(value: string): number {
  if (value.charCodeAt(0) === 0x5b) {
    const close = value.indexOf("]");
    const address = value.slice(1, close);
    if (close === -1 || address.includes("%") || !isIPv6(address)) throw bad();
    return close + 1;
  }
  let label = 0;
  let at = 0;
  for (; at < value.length; at += 1) {
    const code = value.charCodeAt(at);
    if (inLabel(code)) label += 1;
    else if (code !== 0x2e) break;
    else if (label === 0) throw bad();
    else label = 0;
  }
  if (at === 0 || at > longestName) throw bad();
  return at;
}

/** 1 to 65535 without leading zeros; `otherwise` where there is none. */
function portFrom(value: string, at: number, otherwise: number): number {
  if (at === value.length) return otherwise;
  const digits = value.slice(at + 1);
  if (value.charCodeAt(at) !== 0x3a || !/^[1-9][0-9]{0,4}$/.test(digits) || Number(digits) > 65_535) throw bad();
  return Number(digits);
}

/** Host with an optional port → lower case name without port, brackets and last dot. Throws HeadError 400. */
export function hostName(value: string): string {
  const end = nameEnd(value);
  if (end !== value.length) portFrom(value, end, 0);
  const name = value.charCodeAt(0) === 0x5b ? value.slice(1, end - 1) : value.slice(0, value.charCodeAt(end - 1) === 0x2e ? end - 1 : end);
  return name.toLowerCase();
}

/** True when both name the same host and port; 80 is the port that is not said. */
export const sameAuthority = (one: string, other: string): boolean => hostName(one) === hostName(other) && portFrom(one, nameEnd(one), 80) === portFrom(other, nameEnd(other), 80);
