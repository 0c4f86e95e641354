import { readFileSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { pauseMs } from "../lib/backoff.js";
import { createLogger } from "../lib/log.js";
import { onLines, type ToControl, type ToWorker } from "./channel.js";
import { limits } from "./limits.js";
import { peerSession } from "./peer-session.js";
import { publicSession } from "./public-session.js";
import { createTlsListener } from "./tls-listener.js";
import { RouteStore } from "./route-store.js";
import { type EdgeKeys, Upstreams } from "./upstreams.js";
import { WorkerState } from "./worker-state.js";

export interface WorkerOptions { httpPort: number; /** Missing: no HTTPS. */ httpsPort?: number; peerPort: number; channel: string; pki: { ca: string; cert: string; key: string }; hosts?: { http: string; peer: string } }

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, ipv6Only: false, backlog: 4096 }, () => {
      server.off("error", reject);
      server.on("error", () => undefined); // EMFILE on accept: the next accept tries again
      resolve();
    });
  });
}

/** Keeps the line to the control process; while it is away the last table goes on, and the fence's deadline runs out by itself. */
function followControl(worker: WorkerState, path: string, signal: AbortSignal): void {
  let attempt = 0;
  const dial = (): void => {
    if (signal.aborted) return;
    const socket = connect(path);
    const send = (message: ToControl): void => void socket.write(`${JSON.stringify(message)}\n`);
    const report = setInterval(() => {
      if (socket.writableLength < 1_000_000) send({ type: "report", held: worker.held, connections: worker.connections, inFlight: Object.fromEntries(worker.inFlight), units: worker.report() });
    }, 2_000);
    const tellHolds = (): void => send({ type: "holding", inFlight: Object.fromEntries(worker.routes.heldUnits().map((unit) => [unit, worker.inFlight.get(unit) ?? 0])) });
    worker.onDrained = tellHolds;
    socket.once("connect", () => {
      attempt = 0;
      send({ type: "hello", pid: process.pid, version: 1 });
      if (worker.routes.heldUnits().length > 0) tellHolds(); // this line has not heard of them
    });
    onLines(socket, (message) => {
      const order = message as ToWorker;
      if (order.type === "routes") worker.routes.setTable(order.table);
      else if (order.type === "certificates") worker.tls.update(order);
      else if (order.type === "challenges") worker.challenges = order.answers;
      else if (order.type === "tickets") worker.onTickets(Buffer.from(order.key, "base64"));
      else if (order.type === "deadline") {
        worker.routes.setDeadline(order.ms, order.units);
        if (worker.routes.setHolds(order.holds)) tellHolds();
      }
    });
    socket.on("error", () => undefined); // close follows
    const end = (): void => void socket.destroy();
    socket.once("close", () => {
      signal.removeEventListener("abort", end);
      clearInterval(report);
      attempt += 1;
      setTimeout(dial, pauseMs(attempt, { firstMs: 50, capMs: 1_000 }));
    });
    signal.addEventListener("abort", end, { once: true });
  };
  dial();
}

/** Starts one proxy worker; returns its ports and its end. */
export async function startWorker(options: WorkerOptions): Promise<{ httpPort: number; httpsPort: number; peerPort: number; state: WorkerState; stop(): Promise<void> }> {
  const log = createLogger("hcd-proxy");
  const keys = (): EdgeKeys => ({ ca: readFileSync(options.pki.ca, "utf8"), cert: readFileSync(options.pki.cert, "utf8"), key: readFileSync(options.pki.key, "utf8") });
  const worker = new WorkerState(new RouteStore(), new Upstreams(keys), log);
  const sockets = new Set<Socket>();
  const track = (socket: Socket): void => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };
  const accept = (socket: Socket, kind: "connections" | "peerConnections"): boolean => {
    if (worker[kind] >= limits[kind]) {
      socket.destroy();
      return false;
    }
    worker[kind] += 1;
    track(socket);
    socket.setNoDelay(true);
    socket.once("close", () => {
      worker[kind] -= 1;
    });
    return true;
  };
  const http = createServer({ allowHalfOpen: true }, (socket) => {
    if (accept(socket, "connections")) void publicSession(worker, socket, "http");
  });
  const https = createTlsListener({ contexts: worker.tls, log, accept: (socket) => accept(socket, "connections"), session: (socket) => void publicSession(worker, socket, "https") });
  worker.onTickets = (key) => void https.tls.setTicketKeys(key);
  const peer = createTlsServer({ ...keys(), requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3", handshakeTimeout: 10_000 }, (socket) => {
    if (accept(socket, "peerConnections")) void peerSession(worker, socket);
  });
  peer.on("connection", track); // also what never finishes its handshake
  peer.on("tlsClientError", (error, socket) => {
    log.debug({ err: error }, "a peer's handshake was refused");
    socket.destroy();
  });
  await listening(http, options.httpPort, options.hosts?.http ?? "::");
  if (options.httpsPort !== undefined) await listening(https.server, options.httpsPort, options.hosts?.http ?? "::");
  await listening(peer, options.peerPort, options.hosts?.peer ?? "::");
  const end = new AbortController();
  followControl(worker, options.channel, end.signal);
  const tick = setInterval(() => worker.upstreams.sweep(), 1_000);
  const port = (server: Server): number => (server.address() as { port: number } | null)?.port ?? 0;
  log.info({ httpPort: port(http), httpsPort: port(https.server), peerPort: port(peer) }, "proxy worker listens");
  return {
    httpPort: port(http),
    httpsPort: port(https.server),
    peerPort: port(peer),
    state: worker,
    stop: async () => {
      end.abort();
      clearInterval(tick);
      const closed = [http, https.server, peer].map((server) => new Promise<void>((resolve) => server.close(() => resolve()))); // one that never listened says so, and is closed
      for (const socket of sockets) socket.destroy();
      await Promise.all(closed);
    },
  };
}

/** `hcd.cjs worker <options as JSON>`: ports, socket and paths of keys; no secret is on the command line. */
export async function runWorker(argv: readonly string[]): Promise<void> {
  const worker = await startWorker(JSON.parse(argv[0] ?? "{}") as WorkerOptions);
  process.once("SIGTERM", () => void worker.stop().then(() => process.exit(0)));
}
