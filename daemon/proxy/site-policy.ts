import type { RequestHead } from "./http-head.js";
import type { RouteTable } from "./routes.js";

/** What a site's HTTPS asks for, before anything runs. `answer`: this is sent and nothing runs; `fields`: lines for the head of the answer. */
export type Policy = { answer: string; status: number } | { fields: string };
export interface PolicyInput {
  table: RouteTable;
  unit: string | undefined;
  head: Pick<RequestHead, "method" | "target" | "host" | "keepAlive" | "framing">;
  proto: "http" | "https";
  /** Has this worker a certificate for the name? Nobody is sent where the handshake would be refused. */
  secured: boolean;
}

/** Pure. */
export function sitePolicy({ table, unit, head, proto, secured }: PolicyInput): Policy {
  const tls = unit === undefined ? undefined : table.units[unit]?.tls;
  if (tls === undefined) return { fields: "" };
  // a browser must not heed the field over HTTP, and it must not be sent there (RFC 6797 §7.2)
  if (proto === "https") return { fields: tls.hsts === "" ? "" : `Strict-Transport-Security: ${tls.hsts}\r\n` };
  if (!tls.redirect || !secured || table.httpsPort === undefined || !head.target.startsWith("/")) return { fields: "" };
  const host = head.host.includes(":") ? `[${head.host}]` : head.host;
  return own(head, 301, `https://${host}${table.httpsPort === 443 ? "" : `:${table.httpsPort}`}${head.target}`);
}

/** GET and HEAD may go with 301; what else comes must be sent again as it is (RFC 9110 §15.4.9). Kept for minutes only: certificates are taken away too, and browsers keep a 301 for ever. */
function own(head: PolicyInput["head"], status: 301, location: string): Policy {
  const simple = head.method === "GET" || head.method === "HEAD";
  const code = simple ? status : 308;
  const body = simple && head.method !== "HEAD" ? "This site is at its HTTPS address.\n" : "";
  const keep = head.keepAlive && head.framing.kind === "none";
  const length = head.method === "HEAD" ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  return { status: code, answer: `HTTP/1.1 ${code} ${simple ? "Moved Permanently" : "Permanent Redirect"}\r\nLocation: ${location}\r\nContent-Type: text/plain; charset=utf-8\r\n${length}Cache-Control: max-age=300\r\nConnection: ${keep ? "keep-alive" : "close"}\r\n\r\n${body}` };
}
