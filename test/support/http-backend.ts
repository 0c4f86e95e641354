import { connect } from "node:net";
import { requestOut } from "../../daemon/proxy/heads-out.js";
import { headEnd, parseRequest } from "../../daemon/proxy/http-head.js";
import { sample } from "../fuzz/messages.js";
import { Random } from "../fuzz/random.js";
import { httpCases } from "./http-corpus.js";
import { readRequest } from "./http-messages.js";

/** A request as a backend reads it. */
export interface SeenRequest { method: string; target: string; host: string; body: string }
/** What the proxy sends on for one client's request, and how it read it. `bytes` = the head written anew and the body's bytes as they came. */
export interface Forwarded { name: string; bytes: Buffer; seen: SeenRequest; upgrade: boolean }

/** The request that follows each: when the backend reads it as this, the one before has ended where the proxy says. */
const sentinel: SeenRequest = { method: "GET", target: "/sentinel", host: "sentinel", body: "" };
const sentinelBytes = Buffer.from("GET /sentinel HTTP/1.1\r\nHost: sentinel\r\nConnection: close\r\n\r\n");

/** What a backend that agrees with the proxy reads over the connection of one request. */
export const wantedFor = ({ seen, upgrade }: Forwarded): SeenRequest[] => (upgrade ? [seen] : [seen, sentinel]);

/** Undefined for what the proxy refuses or waits for more of. */
function forwarded(name: string, bytes: Buffer): Forwarded | undefined {
  const reading = readRequest([bytes]);
  if (!("head" in reading) || reading.head === undefined || !reading.complete) return undefined;
  const end = headEnd(bytes);
  const { method, target } = parseRequest(bytes.subarray(0, end));
  const host = reading.head.fields.find((field) => field.lower === "host")?.value ?? "";
  const head = Buffer.from(requestOut(reading.head, { address: "192.0.2.7", proto: "http" }), "latin1");
  return { name, bytes: Buffer.concat([head, bytes.subarray(end, bytes.length - reading.rest.length)]), seen: { method, target, host, body: reading.body }, upgrade: reading.head.upgrade };
}
/** All of the corpus that the proxy accepts, and `count` of the fuzzer's. */
export function forwardedRequests(count: number): Forwarded[] {
  const found = httpCases("requests").flatMap(({ name, bytes }) => forwarded(name, bytes) ?? []);
  const wanted = found.length + count;
  for (let seed = 1; found.length < wanted; seed += 1) {
    const { kind, bytes } = sample(new Random(seed));
    const one = kind === "request" ? forwarded(`seed ${seed}`, bytes) : undefined;
    if (one !== undefined) found.push(one);
  }
  return found;
}

/**
 * Sends a request and, at once, the sentinel over a connection of their own (an upgrade has none: what follows it is not HTTP); resolves with all bytes that
 * come back once the backend has closed it. Rejects when it does not.
 */
export function answersTo(port: number, { bytes, upgrade }: Forwarded): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => void (upgrade ? socket.end(bytes) : socket.write(Buffer.concat([bytes, sentinelBytes]))));
    socket.setEncoding("latin1").setTimeout(60_000, () => socket.destroy(new Error(`the backend waits for more: ${JSON.stringify(bytes.toString("latin1"))}; it said ${text}`)));
    socket.on("data", (data) => {
      text += data;
    });
    socket.on("error", reject).on("close", () => resolve(text));
  });
}
