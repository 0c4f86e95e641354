import { meaningOf } from "./field-names.js";
import { type Field, listOf, type RequestHead, type ResponseHead } from "./http-head.js";

/**
 * Heads written anew (RFC 9110 §7.6.1). What frames a message, Host, Expect and what only a proxy may say is written from what was parsed, never
 * copied, so no name in Connection can take it away.
 */
const usual: ReadonlySet<string> = new Set(["keep-alive", "Keep-Alive", "close", "Close", "upgrade", "Upgrade"]);

/** Names that Connection lists, or undefined where it lists none that could be a field of the message. */
function namedIn(fields: readonly Field[]): ReadonlySet<string> | undefined {
  for (const field of fields) if (field.lower === "connection" && !usual.has(field.value)) return new Set(listOf(fields, "connection"));
  return undefined;
}
const firstValue = (fields: readonly Field[], lower: string): string | undefined => {
  for (const field of fields) if (field.lower === lower) return field.value;
  return undefined;
};
const lengthField = (framing: { kind: string; bytes?: number }): string => (framing.kind === "chunked" ? "Transfer-Encoding: chunked\r\n" : framing.kind === "length" ? `Content-Length: ${framing.bytes}\r\n` : "");

/** An address or a host as RFC 7239 §6 wants it: in quotes where it is no token. */
const node = (value: string): string => (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value) ? value : `"${value}"`);
const forAddress = (address: string): string => (address.includes(":") ? `"[${address}]"` : node(address));

/** The head that goes to the home's Apache: HTTP/1.1, our own forwarding fields, upstream kept alive whatever the client wants. */
export function requestOut(head: RequestHead, client: { address: string; proto: "http" | "https" }): string {
  const { fields, framing } = head;
  const host = firstValue(fields, "host") ?? head.host;
  const named = namedIn(fields);
  let text = `${head.method} ${head.target} HTTP/1.1\r\nHost: ${host}\r\n`;
  let emptyBody = false;
  for (const { name, lower, value } of fields) {
    const meaning = meaningOf(lower);
    if (meaning === "passed" ? named?.has(lower) !== true : meaning === "trailer" && framing.kind === "chunked") text += `${name}: ${value}\r\n`;
    else if (lower === "content-length") emptyBody = framing.kind === "none";
  }
  text += emptyBody ? "Content-Length: 0\r\n" : lengthField(framing);
  if (head.expectContinue) text += "Expect: 100-continue\r\n";
  text += `X-Forwarded-For: ${client.address}\r\nX-Forwarded-Proto: ${client.proto}\r\n`;
  text += host === "" ? `Forwarded: for=${forAddress(client.address)};proto=${client.proto}\r\n` : `X-Forwarded-Host: ${host}\r\nForwarded: for=${forAddress(client.address)};host=${node(host)};proto=${client.proto}\r\n`;
  text += head.upgrade ? `Connection: Upgrade\r\nUpgrade: ${firstValue(fields, "upgrade") ?? ""}\r\n` : "Connection: keep-alive\r\n";
  return `${text}\r\n`;
}

/** The head that goes to the client. `dechunk`: an HTTP/1.0 client gets the payload until close. */
export function responseOut(response: ResponseHead, options: { keep: boolean; clientMinor: 0 | 1; dechunk: boolean; /** Lines of the proxy's own; Strict-Transport-Security stands instead of the site's, for at most one may be sent (RFC 6797 §7.1). */ fields?: string }): string {
  const { fields, framing, status } = response;
  const named = namedIn(fields);
  const chunked = framing.kind === "chunked" && !options.dechunk;
  const own = options.fields ?? "";
  let text = `HTTP/1.1 ${status} ${response.reason}\r\n${own}`;
  for (const { name, lower, value } of fields) {
    // spellings of CGI mean nothing in a response: what is no field of ours by its very name passes
    const meaning = meaningOf(lower);
    if ((meaning === "hop" && !/[^0-9a-z-]/.test(lower)) || (meaning === "trailer" && !chunked) || named?.has(lower) === true || (own !== "" && lower === "strict-transport-security")) continue;
    text += `${name}: ${value}\r\n`;
  }
  if (status === 101) return `${text}Connection: Upgrade\r\nUpgrade: ${firstValue(fields, "upgrade") ?? ""}\r\n\r\n`;
  if (status < 200) return `${text}\r\n`;
  if (framing.kind === "none") {
    // HEAD and 304 tell the length of what they do not send; 204 has none
    const length = firstValue(fields, "content-length");
    if (status !== 204 && length !== undefined) text += `Content-Length: ${length}\r\n`;
  } else if (!options.dechunk) text += lengthField(framing);
  if (!options.keep) text += "Connection: close\r\n";
  else if (options.clientMinor === 0) text += "Connection: keep-alive\r\n";
  return `${text}\r\n`;
}
