import { BodyReader } from "./body-framing.js";
import { type ByteStream, writeAll } from "./byte-stream.js";
import { type RequestHead, type ResponseHead, headEnd, parseResponse } from "./http-head.js";
import { responseOut } from "./heads-out.js";
import { limits } from "./limits.js";

/** Why an answer was held back: this node is not its unit's home any more, or may not say so. */
export const fenced = "fenced";
export interface ExchangeResult { status: number; keepClient: boolean; keepUpstream: boolean }
/** The upstream failed before a byte of its answer reached the client: an own page can still be sent, or another try made. */
export class UpstreamError extends Error {
  public constructor(message: string, public readonly answered: boolean) {
    super(message);
  }
}

/** Collects one head; what follows it stays in the stream. Undefined at a clean end before its first byte. */
export async function readHead(stream: ByteStream, firstMs: number, totalMs: number): Promise<Buffer | undefined> {
  let bytes: Buffer = Buffer.alloc(0);
  let end = performance.now() + firstMs;
  for (;;) {
    const chunk = await stream.read(Math.max(1, end - performance.now()));
    if (chunk === undefined) {
      if (bytes.length === 0) return undefined;
      throw new Error("ended within a head");
    }
    if (bytes.length === 0) end = performance.now() + totalMs;
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    if (bytes.length >= 2 && bytes[0] === 13 && bytes[1] === 10) bytes = bytes.subarray(2); // RFC 9112 §2.2: an empty line before the request line
    if (bytes.length === 0) continue;
    const at = headEnd(bytes);
    if (at === -1) continue;
    stream.unread(bytes.subarray(at));
    return bytes.subarray(0, at);
  }
}

async function pumpRequestBody(client: ByteStream, upstream: ByteStream, head: RequestHead, stopped: () => boolean): Promise<void> {
  const body = new BodyReader(head.framing);
  while (!body.done && !stopped()) {
    const bytes = await client.read(limits.bodyIdleMs);
    if (bytes === undefined) throw new Error("client ended within its body");
    const used = body.take(bytes);
    client.unread(bytes.subarray(used));
    if (used > 0) await writeAll(upstream.socket, bytes.subarray(0, used), limits.bodyIdleMs);
  }
}

async function pumpResponseBody(client: ByteStream, upstream: ByteStream, response: ResponseHead, dechunk: boolean): Promise<void> {
  const body = new BodyReader(response.framing);
  while (!body.done) {
    const bytes = await upstream.read(limits.answerMs);
    if (bytes === undefined) {
      if (response.framing.kind === "until-close") return;
      throw new Error("answer was cut short");
    }
    const payload: Buffer[] = [];
    const used = body.take(bytes, dechunk ? (data) => payload.push(data) : undefined);
    upstream.unread(bytes.subarray(used));
    const out = dechunk ? Buffer.concat(payload) : bytes.subarray(0, used);
    if (out.length > 0) await writeAll(client.socket, out, limits.bodyIdleMs);
  }
}

/** Both ways until both have ended (a half-closed side is passed on), or one broke. */
async function tunnel(a: ByteStream, b: ByteStream): Promise<void> {
  const copy = async (from: ByteStream, to: ByteStream): Promise<void> => {
    for (;;) {
      const bytes = await from.read(limits.tunnelIdleMs);
      if (bytes === undefined) return void to.socket.end();
      await writeAll(to.socket, bytes, limits.bodyIdleMs);
    }
  };
  try {
    await Promise.all([copy(a, b), copy(b, a)]);
  } catch {
    a.socket.destroy();
    b.socket.destroy();
  }
}

/**
 * One request over one upstream that has accepted it: body up, answer down, both at once. `headOut` is written first when given.
 * `mayAnswer` is asked before the first byte of the answer leaves (the fence, OWNERSHIP 5).
 */
export async function exchange(client: ByteStream, upstream: ByteStream, head: RequestHead, headOut: string | undefined, mayAnswer: () => boolean): Promise<ExchangeResult> {
  let answered = false;
  let finished = false;
  let bodyDone = head.framing.kind === "none";
  try {
    if (headOut !== undefined) await writeAll(upstream.socket, headOut, limits.bodyIdleMs);
    let bodyError: Error | undefined;
    const up = bodyDone ? Promise.resolve() : pumpRequestBody(client, upstream, head, () => finished).then(() => {
      bodyDone = !finished;
    }, (error: Error) => {
      bodyError = error;
      // the upstream must not wait for a body that will not come
      if (client.socket.destroyed || /client ended|idle|chunk|trailer|control byte/.test(error.message)) upstream.socket.destroy();
    });
    let response: ResponseHead;
    for (;;) {
      const bytes = await readHead(upstream, limits.answerMs, limits.headMs);
      if (bytes === undefined) throw new Error("no answer");
      response = parseResponse(bytes, head.method);
      if (response.status >= 200 || response.status === 101) break;
      if (head.minor === 1) await writeAll(client.socket, responseOut(response, { keep: true, clientMinor: 1, dechunk: false }), limits.bodyIdleMs);
    }
    if (!mayAnswer()) throw new Error(fenced);
    if (response.status === 101 && !head.upgrade) throw new Error("unasked 101");
    const dechunk = head.minor === 0 && response.framing.kind === "chunked";
    // an early answer with request bytes still unread closes the connection
    const keepClient = head.keepAlive && response.framing.kind !== "until-close" && !dechunk && response.status !== 101 && bodyDone && bodyError === undefined;
    answered = true;
    await writeAll(client.socket, responseOut(response, { keep: keepClient, clientMinor: head.minor, dechunk, fields: head.answerFields }), limits.bodyIdleMs);
    if (response.status === 101) {
      await tunnel(client, upstream);
      return { status: 101, keepClient: false, keepUpstream: false };
    }
    await pumpResponseBody(client, upstream, response, dechunk);
    finished = true;
    if (bodyDone) await up;
    return { status: response.status, keepClient, keepUpstream: response.keepAlive && bodyDone && !upstream.stirred };
  } catch (error) {
    finished = true;
    throw new UpstreamError((error as Error).message, answered);
  }
}
