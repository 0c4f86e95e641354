import type { Socket } from "node:net";
import { messageOf } from "../lib/errors.js";
import { ByteStream, writeAll } from "./byte-stream.js";
import { dispatch } from "./dispatch.js";
import { readHead, UpstreamError } from "./exchange.js";
import { HeadError, parseRequest, type RequestHead } from "./http-head.js";
import { limits } from "./limits.js";
import { page } from "./pages.js";
import { unitOfHost } from "./routes.js";
import { sitePolicy } from "./site-policy.js";
import type { WorkerState } from "./worker-state.js";

/** Ends politely: what was written arrives, what the client still sends is read away for a moment (an early reset would destroy the answer). */
function linger(socket: Socket): void {
  if (socket.destroyed) return;
  socket.end();
  socket.resume();
  setTimeout(() => socket.destroy(), 2_000).unref();
}

async function answer(worker: WorkerState, client: ByteStream, head: RequestHead, address: string, proto: "http" | "https"): Promise<boolean> {
  const table = worker.routes.table;
  const unit = table === undefined ? undefined : unitOfHost(table, head.host);
  const own = async (status: number): Promise<boolean> => {
    const keep = head.keepAlive && head.framing.kind === "none";
    await writeAll(client.socket, page(status, { keep, head: head.method === "HEAD" }), limits.bodyIdleMs);
    return keep;
  };
  if (table === undefined) return own(503);
  const policy = sitePolicy({ table, unit, head, proto, secured: worker.tls.has(head.host), challenges: worker.challenges });
  if ("answer" in policy) {
    if (unit !== undefined) worker.count(unit, policy.status);
    await writeAll(client.socket, policy.answer, limits.bodyIdleMs);
    return head.keepAlive && head.framing.kind === "none";
  }
  head.answerFields = policy.fields;
  if (unit === undefined) return own(404);
  try {
    const result = await dispatch(worker, client, head, unit, address, proto);
    worker.count(unit, "own" in result ? result.own : result.status);
    return "own" in result ? await own(result.own) : result.keepClient;
  } catch (error) {
    worker.error(unit, `${head.method} ${head.target.slice(0, 100)}: ${messageOf(error)}`);
    worker.count(unit, 502);
    if (error instanceof UpstreamError && error.answered) {
      client.socket.resetAndDestroy(); // a cut answer must never look complete
      return false;
    }
    await own(502);
    return false;
  }
}

/** One client connection on a public port. */
export async function publicSession(worker: WorkerState, socket: Socket, proto: "http" | "https"): Promise<void> {
  const client = new ByteStream(socket);
  const address = (socket.remoteAddress ?? "0.0.0.0").replace(/^::ffff:/, "").replace(/%.*$/, "");
  try {
    for (;;) {
      let head: RequestHead;
      try {
        const bytes = await readHead(client, limits.keepAliveMs, limits.headMs);
        if (bytes === undefined) break;
        head = parseRequest(bytes);
      } catch (error) {
        if (error instanceof HeadError) await writeAll(socket, page(error.status, { keep: false, head: false }), limits.bodyIdleMs);
        break;
      }
      if (!(await answer(worker, client, head, address, proto))) break;
    }
    linger(socket);
  } catch {
    socket.destroy();
  }
}
