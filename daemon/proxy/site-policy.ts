import type { RequestHead } from "./http-head.js";
import type { RouteTable } from "./routes.js";

/** What a site's HTTPS asks for, before anything runs. `answer`: this is sent and nothing runs; `fields`: lines for the head of the answer. */
export type Policy = { answer: string; status: number } | { fields: string };
export interface PolicyInput {
  table: RouteTable;
  unit: string | undefined;
  head: Pick<RequestHead, "method" | "target" | "host" | "keepAlive" | "framing">;
  proto: "http" | "https";
  /** Of this worker: nobody is sent where the handshake would be refused. Asked only where it matters. */
  certificates: { has(host: string): boolean };
  /** Of a CA: token → answer. */
  challenges: Readonly<Record<string, string>>;
}
const challengePath = "/.well-known/acme-challenge/";

/** Pure. The answer to a challenge comes first: also for a site that is held, served elsewhere or nowhere, and before any redirect. Tokens that are not the cluster's are the site's own affair. */
export function sitePolicy({ table, unit, head, proto, certificates, challenges }: PolicyInput): Policy {
  const token = head.target.startsWith(challengePath) ? head.target.slice(challengePath.length) : "";
  if (token !== "" && Object.hasOwn(challenges, token) && (head.method === "GET" || head.method === "HEAD")) return own(head, 200, "OK", "Content-Type: application/octet-stream\r\nCache-Control: no-store\r\n", challenges[token] as string);
  // another name than the handshake's, without a certificate of its own: not to be had this way (RFC 9110 §15.5.20)
  if (proto === "https" && !certificates.has(head.host)) return own(head, 421, "Misdirected Request", "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n", "This name has no HTTPS here.\n");
  const tls = unit === undefined ? undefined : table.units[unit]?.tls;
  if (tls === undefined) return { fields: "" };
  // a browser must not heed the field over HTTP, and it must not be sent there (RFC 6797 §7.2)
  if (proto === "https") return { fields: tls.hsts === "" ? "" : `Strict-Transport-Security: ${tls.hsts}\r\n` };
  if (!tls.redirect || !certificates.has(head.host) || table.httpsPort === undefined || !head.target.startsWith("/")) return { fields: "" };
  const host = head.host.includes(":") ? `[${head.host}]` : head.host;
  // GET and HEAD may go with 301; what else comes must be sent again as it is (RFC 9110 §15.4.9). Kept for minutes only: certificates are taken away too, and browsers keep a redirect for ever.
  const simple = head.method === "GET" || head.method === "HEAD";
  const fields = `Location: https://${host}${table.httpsPort === 443 ? "" : `:${table.httpsPort}`}${head.target}\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: max-age=300\r\n`;
  return own(head, simple ? 301 : 308, simple ? "Moved Permanently" : "Permanent Redirect", fields, "This site is at its HTTPS address.\n");
}

function own(head: PolicyInput["head"], status: number, reason: string, fields: string, body: string): Policy {
  const keep = head.keepAlive && head.framing.kind === "none";
  return { status, answer: `HTTP/1.1 ${status} ${reason}\r\n${fields}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: ${keep ? "keep-alive" : "close"}\r\n\r\n${head.method === "HEAD" ? "" : body}` };
}
