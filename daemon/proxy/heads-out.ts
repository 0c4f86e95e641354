import { type Field, listOf, type RequestHead, type ResponseHead } from "./http-head.js";

const hopByHop = new Set(["connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "transfer-encoding", "upgrade", "content-length", "trailer"]);
/** What only a proxy may say: never taken from a client. */
const ours = /^(x-forwarded-.*|forwarded|x-real-ip|proxy|x-hc-.*)$/;

/** At most one of them may be sent (RFC 6797 §7.1). */
const sts = /^strict-transport-security$/;

function passed(fields: readonly Field[], alsoDrop: RegExp | undefined): string {
  const named = new Set(listOf(fields, "connection"));
  let text = "";
  for (const field of fields) if (!hopByHop.has(field.lower) && !named.has(field.lower) && alsoDrop?.test(field.lower) !== true) text += `${field.name}: ${field.value}\r\n`;
  return text;
}
const lengthField = (framing: { kind: string; bytes?: number }): string => (framing.kind === "chunked" ? "Transfer-Encoding: chunked\r\n" : framing.kind === "length" ? `Content-Length: ${framing.bytes}\r\n` : "");

/** The head that goes to the home's Apache: HTTP/1.1, our own forwarding fields, upstream kept alive whatever the client wants. */
export function requestOut(head: RequestHead, client: { address: string; proto: "http" | "https" }): string {
  const host = head.fields.find((field) => field.lower === "host")?.value ?? head.host;
  let text = `${head.method} ${head.target} HTTP/1.1\r\n${passed(head.fields, ours)}`;
  if (!head.fields.some((field) => field.lower === "host")) text += `Host: ${host}\r\n`;
  const length = head.fields.some((field) => field.lower === "content-length") && head.framing.kind === "none" ? "Content-Length: 0\r\n" : lengthField(head.framing);
  text += `${length}X-Forwarded-For: ${client.address}\r\nX-Forwarded-Proto: ${client.proto}\r\nX-Forwarded-Host: ${host}\r\n`;
  text += head.upgrade ? `Connection: Upgrade\r\nUpgrade: ${head.fields.find((field) => field.lower === "upgrade")?.value ?? ""}\r\n` : "Connection: keep-alive\r\n";
  return `${text}\r\n`;
}

/** The head that goes to the client. `dechunk`: an HTTP/1.0 client gets the payload until close. */
export function responseOut(response: ResponseHead, options: { keep: boolean; clientMinor: 0 | 1; dechunk: boolean; /** Lines of the proxy's own; they stand instead of the site's of the same name. */ fields?: string | undefined }): string {
  const own = options.fields ?? "";
  let text = `HTTP/1.1 ${response.status} ${response.reason}\r\n${passed(response.fields, own === "" ? undefined : sts)}${own}`;
  if (response.status === 101) return `${text}Connection: Upgrade\r\nUpgrade: ${response.fields.find((field) => field.lower === "upgrade")?.value ?? ""}\r\n\r\n`;
  if (response.status < 200) return `${text}\r\n`;
  if (response.framing.kind === "none") {
    // HEAD and 304 tell the length of what they do not send; 204 has none
    const length = response.fields.find((field) => field.lower === "content-length");
    if (response.status !== 204 && length !== undefined) text += `Content-Length: ${length.value}\r\n`;
  } else if (!options.dechunk) text += lengthField(response.framing);
  if (!options.keep) text += "Connection: close\r\n";
  else if (options.clientMinor === 0) text += "Connection: keep-alive\r\n";
  return `${text}\r\n`;
}
