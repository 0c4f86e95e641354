/** What the names of fields mean to a proxy (RFC 9110 §7.6.1, RFC 9112). Pure. */

/** `passed`: end to end. `hop`: for one connection; written anew where it is needed. `forwarding`: only a proxy may say it. The others are written by themselves. */
export type Meaning = "passed" | "hop" | "forwarding" | "host" | "expect" | "trailer";

const hop = ["Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Transfer-Encoding", "Upgrade", "Content-Length", "HTTP2-Settings"];
const forwarding = ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP", "Proxy"];
const passed = [
  "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Accept-Ranges", "Age", "Alt-Svc", "Authorization", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language",
  "Content-Security-Policy", "Content-Type", "Cookie", "DNT", "Date", "ETag", "Expires", "If-Match", "If-Modified-Since", "If-None-Match", "Last-Modified", "Link", "Location", "Origin", "Pragma", "Priority",
  "Range", "Referer", "Referrer-Policy", "Retry-After", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Server", "Set-Cookie",
  "Strict-Transport-Security", "Upgrade-Insecure-Requests", "User-Agent", "Vary", "WWW-Authenticate", "X-Content-Type-Options", "X-Frame-Options", "X-Powered-By", "X-Request-Id", "X-Requested-With",
  "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform",
];
const meaningOfKnown = new Map<string, Meaning>();
const slots = 1024;
/** The usual names, in their usual spellings, by their hash; where two share a slot the later one stays. Fixed: nothing a client sends goes in. */
const knownNames = new Array<{ name: string; lower: string } | undefined>(slots).fill(undefined);
/** The hash of a name: from 0, `hash * 31 + byte` in 32 bits for each byte. */
const hashOf = (name: string): number => Buffer.from(name).reduce((hash, byte) => (hash * 31 + byte) | 0, 0);

function know(names: readonly string[], meaning: Meaning): void {
  for (const name of names) {
    const lower = name.toLowerCase();
    meaningOfKnown.set(lower, meaning);
    for (const spelling of [lower, name]) knownNames[hashOf(spelling) & (slots - 1)] = { name: spelling, lower };
  }
}
know(hop, "hop");
know(forwarding, "forwarding");
know(passed, "passed");
know(["Host"], "host");
know(["Expect"], "expect");
know(["Trailer"], "trailer");

/** The usual name that stands in `text` from `from` to `to`, whose hash this is; undefined when it is none. It costs no new string. */
export function knownName(text: string, from: number, to: number, hash: number): { name: string; lower: string } | undefined {
  const known = knownNames[hash & (slots - 1)];
  return known !== undefined && known.name.length === to - from && text.startsWith(known.name, from) ? known : undefined;
}

/**
 * `lower` = a name in lower case. CGI turns "-" and "_" (older servers: whatever is no letter and no digit) into the same "_", so "x_forwarded_for"
 * reaches a program as X-Forwarded-For does: such spellings have the meaning of the name they would be taken for.
 */
export function meaningOf(lower: string): Meaning {
  const known = meaningOfKnown.get(lower);
  if (known !== undefined) return known;
  const plain = /[^0-9a-z-]/.test(lower) ? lower.replace(/[^0-9a-z-]/g, "-") : lower;
  if (plain.startsWith("x-forwarded-") || plain.startsWith("x-hc-")) return "forwarding";
  if (plain === lower) return "passed";
  const taken = meaningOfKnown.get(plain);
  return taken === undefined || taken === "passed" ? "passed" : "hop";
}
