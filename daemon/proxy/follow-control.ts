import { connect } from "node:net";
import { pauseMs } from "../lib/backoff.js";
import { onLines, type ToControl, type ToWorker } from "./channel.js";
import type { WorkerState } from "./worker-state.js";

/** `leave`: the control process wants this worker to make place for another. Keeps the line to the control process; while it is away the last table goes on, and the fence's deadline runs out by itself. */
export function followControl(worker: WorkerState, path: string, signal: AbortSignal, name?: string, leave: () => void = () => undefined): void {
  let attempt = 0;
  const dial = (): void => {
    if (signal.aborted) return;
    const socket = connect(path);
    let round = 0;
    /** Units that were held before this line was there: another process may have waited for them, and had its answer. */
    const carried = new Set<string>();
    const send = (message: ToControl): void => void socket.write(`${JSON.stringify(message)}\n`);
    const report = setInterval(() => {
      if (socket.writableLength < 1_000_000) send({ type: "report", held: worker.held.size, connections: worker.connections, inFlight: worker.allInFlight(), units: worker.report(), refusedHeaders: worker.refusedHeaders, ...(worker.accessLog === undefined ? {} : { accessLog: { written: worker.accessLog.written, dropped: worker.accessLog.dropped } }) });
    }, 2_000);
    const tellHolds = (): void => send({ type: "holding", inFlight: Object.fromEntries(worker.routes.heldUnits().map((unit) => [unit, worker.inFlight(unit)])), round });
    worker.onDrained = tellHolds;
    const line = { draining: new Set<string>(), round, send };
    socket.once("connect", () => {
      worker.ownCalls.follow(line);
      attempt = 0;
      send({ type: "hello", pid: process.pid, version: 1, ...(name === undefined ? {} : { name, argv: [process.execPath, ...process.argv.slice(1)] }) });
      for (const unit of worker.routes.heldUnits()) carried.add(unit);
      if (carried.size > 0) tellHolds(); // this line has not heard of them
    });
    onLines(socket, (message) => {
      const order = message as ToWorker;
      if (order.type === "routes") worker.routes.setTable(order.table);
      else if (order.type === "certificates") worker.tls.update(order);
      else if (order.type === "challenges") worker.challenges = order.answers;
      else if (order.type === "tickets") worker.onTickets(Buffer.from(order.key, "base64"));
      else if (order.type === "deadline") {
        const another = (order.round ?? 0) !== round;
        round = order.round ?? 0;
        const keep = order.keepHolds === true;
        // first: with the deadline gates may open, and what waits goes on in the same turn
        const closed = worker.routes.setHolds(order.holds, keep);
        worker.routes.setDeadline(order.ms, order.units);
        for (const unit of carried) if (!keep && order.holds?.[unit] === undefined) carried.delete(unit);
        line.round = round;
        line.draining = new Set(order.draining?.filter((unit) => !carried.has(unit)));
        if (closed || (another && order.holds !== undefined)) tellHolds();
      } else if (order.type === "own-call") worker.ownCalls.answered(order.id, order.passes);
      else if (order.type === "leave") leave();
    });
    socket.on("error", () => undefined); // close follows
    const end = (): void => void socket.destroy();
    socket.once("close", () => {
      signal.removeEventListener("abort", end);
      clearInterval(report);
      worker.ownCalls.follow(undefined);
      attempt += 1;
      setTimeout(dial, pauseMs(attempt, { firstMs: 50, capMs: 1_000 }));
    });
    signal.addEventListener("abort", end, { once: true });
  };
  dial();
}
