import type { TLSSocket } from "node:tls";
import { messageOf } from "../lib/errors.js";
import { ByteStream, writeAll } from "./byte-stream.js";
import { readLine, toApache } from "./dispatch.js";
import { readHead, UpstreamError } from "./exchange.js";
import { parseRequest, type RequestHead } from "./http-head.js";
import { limits } from "./limits.js";
import { page } from "./pages.js";
import { parsePrelude, type Prelude, type Verdict, verdictLine } from "./verdict.js";
import type { WorkerState } from "./worker-state.js";

function verdictOf(worker: WorkerState, unit: string, epoch: number): Verdict {
  const route = worker.routes.route(unit);
  if (worker.routes.mayServe(unit, epoch)) return worker.full(unit) ? "held" : "accepted";
  // the edge knows an older epoch, or this is the home and its gate is closed for now
  return route?.home === worker.routes.table?.node && worker.routes.live(unit) ? "held" : "not-home";
}

/** Runs what is accepted; false: the connection has had its last request. */
async function run(worker: WorkerState, edge: ByteStream, prelude: Prelude, head: RequestHead, bytes: Buffer): Promise<boolean> {
  await writeAll(edge.socket, verdictLine("accepted"), limits.bodyIdleMs);
  if (head.framing.kind !== "none" && !head.expectContinue) {
    // the edge sends a body only after the verdict: until it comes nothing has run, whether the verdict arrived or not, and the edge may go by that
    const bytesOfBody = await edge.read(limits.bodyIdleMs);
    if (bytesOfBody === undefined) return false;
    edge.unread(bytesOfBody);
  }
  try {
    const result = await toApache(worker, edge, head, bytes.toString("latin1"), () => worker.routes.mayAnswer(prelude.unit, prelude.epoch));
    worker.count(prelude.unit, result.status);
    return result.keepClient;
  } catch (error) {
    worker.error(prelude.unit, `${head.method} ${head.target.slice(0, 100)}: ${messageOf(error)}`);
    // a cut answer must never look complete
    if (error instanceof UpstreamError && error.answered) edge.socket.destroy();
    else await writeAll(edge.socket, page(502, { keep: false, head: head.method === "HEAD" }), limits.bodyIdleMs);
    return false;
  }
}

/** One connection from another node's proxy. The verdict leaves before a body is read; only `accepted` runs anything. */
export async function peerSession(worker: WorkerState, socket: TLSSocket): Promise<void> {
  const edge = new ByteStream(socket);
  try {
    for (;;) {
      const line = await readLine(edge, limits.tunnelIdleMs);
      if (line === undefined) break;
      const prelude = parsePrelude(line);
      const bytes = await readHead(edge, limits.headMs, limits.headMs);
      if (bytes === undefined) break;
      const head = parseRequest(bytes);
      const verdict = verdictOf(worker, prelude.unit, prelude.epoch);
      if (verdict !== "accepted") await writeAll(socket, verdictLine(verdict), limits.bodyIdleMs);
      else if (!(await worker.during(prelude.unit, () => run(worker, edge, prelude, head, bytes)))) break;
    }
    socket.end();
    setTimeout(() => socket.destroy(), 2_000).unref();
  } catch {
    socket.destroy();
  }
}
