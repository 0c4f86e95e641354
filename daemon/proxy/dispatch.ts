import { messageOf } from "../lib/errors.js";
import { type ByteStream, writeAll } from "./byte-stream.js";
import { exchange, type ExchangeResult, fenced, UpstreamError } from "./exchange.js";
import { requestOut } from "./heads-out.js";
import type { RequestHead } from "./http-head.js";
import { limits } from "./limits.js";
import { parseVerdict, preludeLine, type Verdict } from "./verdict.js";
import type { WorkerState } from "./worker-state.js";

/** A status that the proxy answers by itself. */
export interface OwnAnswer { own: 502 | 503 }
type Outcome = ExchangeResult | OwnAnswer;
const idempotent = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);

/** One line ended by CRLF from an upstream, at most 256 bytes. */
export async function readLine(stream: ByteStream, idleMs: number): Promise<string | undefined> {
  let text: Buffer = Buffer.alloc(0);
  for (;;) {
    const chunk = await stream.read(idleMs);
    if (chunk === undefined) {
      if (text.length === 0) return undefined;
      throw new Error("ended within a line");
    }
    text = text.length === 0 ? chunk : Buffer.concat([text, chunk]);
    const end = text.indexOf("\r\n");
    if (end > 256 || (end === -1 && text.length > 256)) throw new Error("line too long");
    if (end === -1) continue;
    stream.unread(text.subarray(end + 2));
    return text.toString("latin1", 0, end);
  }
}

/** May it run twice? Idempotent (RFC 9110 §9.2.2), and nothing of it lies only in a stream that has been read. */
const mayRepeat = (head: RequestHead): boolean => head.framing.kind === "none" && idempotent.has(head.method);

/**
 * The site's own Apache. A connection from the pool may just be closed by the other side (each reload of Apache closes those that are idle): a request that may run twice is then tried once more;
 * one that may not takes a new connection at once (cf. haproxy's `http-reuse safe`), which costs some 50 µs on loopback.
 */
export async function toApache(worker: WorkerState, client: ByteStream, head: RequestHead, headOut: string, mayAnswer: () => boolean): Promise<ExchangeResult> {
  const port = worker.routes.table?.apachePort ?? 0;
  for (let fresh = !mayRepeat(head); ; fresh = true) {
    const upstream = await worker.upstreams.local(port, fresh);
    try {
      const result = await exchange(client, upstream.stream, head, headOut, mayAnswer);
      if (result.keepUpstream) worker.upstreams.giveBack(upstream.key, upstream.stream);
      else upstream.stream.socket.destroy();
      return result;
    } catch (error) {
      upstream.stream.socket.destroy();
      const again = upstream.reused && error instanceof UpstreamError && !error.answered && mayRepeat(head) && error.message !== fenced;
      if (!again) throw error;
    }
  }
}

/**
 * Another node's proxy: asks first. Anything but `accepted` means that the request has not run. While it waits for a verdict or an answer, it is let go of as soon as the unit has another home:
 * from the old one, dead, cut off or hung, no answer may be passed on any more.
 */
async function toPeer(worker: WorkerState, client: ByteStream, head: RequestHead, headOut: string, unit: string, address: string, proto: "http" | "https"): Promise<ExchangeResult | Verdict> {
  const table = worker.routes.table;
  const route = worker.routes.route(unit);
  if (table === undefined || route === undefined) return "not-home";
  // without a verdict the home may have begun to run what has no body, or asks for it (the head is enough); what waits for its body has not run (peer-session.ts)
  const repeatable = (head.framing.kind !== "none" && !head.expectContinue) || idempotent.has(head.method);
  for (let fresh = false; ; fresh = true) {
    const upstream = await worker.upstreams.peer(table, route.home, fresh);
    const release = worker.routes.onPassed(unit, route.epoch, () => upstream.stream.socket.destroy());
    let verdict: Verdict;
    try {
      await writeAll(upstream.stream.socket, preludeLine({ unit, epoch: route.epoch, client: address, proto }) + headOut, limits.bodyIdleMs);
      const line = await readLine(upstream.stream, limits.verdictMs);
      if (line === undefined) throw new Error("no verdict");
      verdict = parseVerdict(line);
    } catch (error) {
      release();
      upstream.stream.socket.destroy();
      if (!repeatable) throw new UpstreamError(messageOf(error), false);
      if (upstream.reused && !worker.routes.hasPassed(unit, route.epoch)) continue;
      worker.error(unit, `no verdict of ${route.home}: ${messageOf(error)}`);
      return "not-home";
    }
    if (verdict !== "accepted") {
      release();
      worker.upstreams.giveBack(upstream.key, upstream.stream);
      return verdict;
    }
    try {
      const result = await exchange(client, upstream.stream, head, undefined, () => {
        release();
        return !worker.routes.hasPassed(unit, route.epoch);
      });
      if (result.keepUpstream) worker.upstreams.giveBack(upstream.key, upstream.stream);
      else upstream.stream.socket.destroy();
      return result;
    } catch (error) {
      upstream.stream.socket.destroy();
      throw error;
    } finally {
      release();
    }
  }
}

/** Sends a request to the home of its unit; where nobody can take it now, it waits here at the edge (bounded) for the next picture. */
export async function dispatch(worker: WorkerState, client: ByteStream, head: RequestHead, unit: string, address: string, proto: "http" | "https"): Promise<Outcome> {
  const headOut = requestOut(head, { address, proto });
  const end = performance.now() + limits.holdMs;
  let holding = false;
  try {
    for (;;) {
      const route = worker.routes.route(unit);
      if (route === undefined) return { own: 503 };
      try {
        if (worker.routes.mayServe(unit) && !worker.full(unit)) return await worker.during(unit, () => toApache(worker, client, head, headOut, () => worker.routes.mayAnswer(unit, route.epoch)));
        if (route.home !== worker.routes.table?.node) {
          const result = await toPeer(worker, client, head, headOut, unit, address, proto);
          if (typeof result !== "string") return result;
        }
      } catch (error) {
        // Not reached at all: surely not run. Lost after it was sent: repeated only where it may run twice and its home is one no more.
        const lostHome = error instanceof UpstreamError && !error.answered && mayRepeat(head) && (error.message === fenced || worker.routes.hasPassed(unit, route.epoch));
        if (error instanceof UpstreamError && !lostHome) throw error;
        worker.error(unit, messageOf(error));
      }
      if (!holding && !worker.hold(unit)) return { own: 503 };
      holding = true;
      if (performance.now() > end || client.socket.destroyed) return { own: 503 };
      if (worker.routes.route(unit)?.epoch === route.epoch) await worker.routes.changed(250);
    }
  } finally {
    if (holding) worker.unhold(unit);
  }
}
