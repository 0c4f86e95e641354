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
const lowerOfKnown = new Map<string, string>();
const meaningOfKnown = new Map<string, Meaning>();
function know(names: readonly string[], meaning: Meaning): void {
  for (const name of names) {
    const lower = name.toLowerCase();
    lowerOfKnown.set(name, lower).set(lower, lower);
    meaningOfKnown.set(lower, meaning);
  }
}
know(hop, "hop");
know(forwarding, "forwarding");
know(passed, "passed");
know(["Host"], "host");
know(["Expect"], "expect");
know(["Trailer"], "trailer");

/** A field's name in lower case; the usual names are looked up, not made. */
export const lowerName = (name: string): string => lowerOfKnown.get(name) ?? name.toLowerCase();

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
