import type { TLSSocket } from "node:tls";
import { messageOf } from "../lib/errors.js";
import { ByteStream, writeAll } from "./byte-stream.js";
import { readLine, toApache } from "./dispatch.js";
import { readHead, UpstreamError } from "./exchange.js";
import { parseRequest } from "./http-head.js";
import { limits } from "./limits.js";
import { page } from "./pages.js";
import { parsePrelude, type Verdict, verdictLine } from "./verdict.js";
import type { WorkerState } from "./worker-state.js";

function verdictOf(worker: WorkerState, unit: string, epoch: number): Verdict {
  const route = worker.routes.route(unit);
  if (worker.routes.mayServe(unit, epoch)) return worker.full(unit) ? "held" : "accepted";
  // the edge knows an older epoch, or this is the home and its gate is closed for now
  return route?.home === worker.routes.table?.node && worker.routes.live(unit) ? "held" : "not-home";
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
      await writeAll(socket, verdictLine(verdict), limits.bodyIdleMs);
      if (verdict !== "accepted") continue;
      try {
        const result = await toApache(worker, edge, head, bytes.toString("latin1"), prelude.unit, () => worker.routes.mayAnswer(prelude.unit, prelude.epoch));
        worker.count(prelude.unit, result.status);
        if (!result.keepClient) break;
      } catch (error) {
        worker.error(prelude.unit, `${head.method} ${head.target.slice(0, 100)}: ${messageOf(error)}`);
        if (error instanceof UpstreamError && error.answered) return void socket.destroy();
        await writeAll(socket, page(502, { keep: false, head: head.method === "HEAD" }), limits.bodyIdleMs);
        break;
      }
    }
    socket.end();
    setTimeout(() => socket.destroy(), 2_000).unref();
  } catch {
    socket.destroy();
  }
}
