import { readFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { updates } from "../../../daemon/proxy/certificate-feed.js";
import { onLines, type ToControl, type ToWorker } from "../../../daemon/proxy/channel.js";
import { holdLeaseMs } from "../../../daemon/proxy/gates.js";
import { machineMs } from "../../../daemon/lib/clock.js";
import type { RouteTable } from "../../../daemon/proxy/routes.js";
import { beatMs } from "../../../daemon/proxy/worker-watch.js";

/**
 * A process in the control process' place: `control-stand-in.js SOCKET ROUTE-TABLE [CERTIFICATE]`. Listens on the worker's channel, sends the key of session tickets and the certificate, if there is one, the table, and the deadline with
 * each beat, as production does.
 * Lines on stdin: {hold: UNIT}, {release: UNIT}. Lines on stdout: {released: UNIT, atMs} (wall clock), each report of the worker, and {holding: UNITS} when it says that it holds.
 */
export type ToStandIn = { hold: string } | { release: string };
export interface BenchCertificate { /** PEM files. */ chain: string; key: string; names: string[]; /** base64 of 48 bytes. */ tickets: string }
export type FromStandIn = { released: string; atMs: number } | { held: number; connections: number } | { holding: string[] };

const [path, table] = [process.argv[2] ?? "", JSON.parse(process.argv[3] ?? "{}") as RouteTable];
const certificate = process.argv[4] === undefined ? undefined : (JSON.parse(process.argv[4]) as BenchCertificate);
const workers = new Set<Socket>();
const holds = new Set<string>();
const tell = (message: FromStandIn): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
const send = (socket: Socket, message: ToWorker): void => void socket.write(`${JSON.stringify(message)}\n`);
const deadline = (): ToWorker => {
  const now = machineMs();
  return { type: "deadline", ms: now + holdLeaseMs, ...(holds.size === 0 ? {} : { holds: Object.fromEntries([...holds].map((unit) => [unit, now + holdLeaseMs])) }) };
};
const beat = (): void => {
  for (const socket of workers) send(socket, deadline());
};

createServer((socket) => {
  workers.add(socket);
  socket.on("error", () => undefined); // close follows
  socket.once("close", () => workers.delete(socket));
  onLines(socket, (message) => {
    const said = message as ToControl;
    if (said.type === "report") tell({ held: said.held, connections: said.connections });
    else if (said.type === "holding") tell({ holding: Object.keys(said.inFlight) });
  });
  if (certificate !== undefined) {
    send(socket, { type: "tickets", key: certificate.tickets });
    const pem = { chain: readFileSync(certificate.chain, "utf8"), key: readFileSync(certificate.key, "utf8") };
    for (const update of updates(undefined, { certificates: new Map([["bench", pem]]), names: new Map(certificate.names.map((name) => [name, "bench"])), problems: new Map() })) send(socket, { type: "certificates", ...update });
  }
  send(socket, { type: "routes", table });
  send(socket, deadline());
}).listen(path);
setInterval(beat, beatMs);
onLines(process.stdin, (message) => {
  const order = message as ToStandIn;
  if ("hold" in order) {
    holds.add(order.hold);
    beat();
  } else {
    holds.delete(order.release);
    const atMs = performance.timeOrigin + performance.now();
    beat();
    tell({ released: order.release, atMs });
  }
});
process.stdin.once("end", () => process.exit(0));
