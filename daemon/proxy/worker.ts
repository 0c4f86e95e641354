import { readFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { delay } from "../lib/abort.js";
import { pauseMs } from "../lib/backoff.js";
import { createLogger, type Logger } from "../lib/log.js";
import { addressOf } from "../lib/networks.js";
import { AccessLog } from "./access-log.js";
import { followControl } from "./follow-control.js";
import { http2Session } from "./http2-session.js";
import { limits } from "./limits.js";
import { createPeerListener } from "./peer-listener.js";
import { PeerSession } from "./peer-session.js";
import { ProxyHeaderReader } from "./proxy-header-reader.js";
import { PublicSession } from "./public-session.js";
import { RouteStore } from "./route-store.js";
import { SpoolRoom } from "./spool.js";
import { Ticker } from "./ticker.js";
import { createTlsListener } from "./tls-listener.js";
import { type EdgeKeys, Upstreams } from "./upstreams.js";
import { WorkerState } from "./worker-state.js";

export interface WorkerOptions {
  /** Of its service. */
  name?: string;
  httpPort: number;
  /** Missing: no HTTPS. */
  httpsPort?: number;
  peerPort: number;
  channel: string;
  pki: { ca: string; cert: string; key: string };
  hosts?: { http: string; peer: string };
  /** Others listen on the same ports (SO_REUSEPORT, socket(7)). */
  shared?: boolean;
  /** Folder of this worker's user for bodies that are too large for memory; default: memory only. */
  spool?: string;
  /** Folder of access logs (access-log.ts); default: none are written. */
  accessLog?: string;
}
export interface RunningWorker {
  httpPort: number;
  httpsPort: number;
  peerPort: number;
  state: WorkerState;
  /** Takes nothing new, lets what runs end, closes connections after their next answer or their keep-alive time. Settles when none is left, or at the deadline. */
  leave(): Promise<void>;
  stop(): Promise<void>;
}

/** A line of log for refused headers at most so often. */
const refusalsToldMs = 60_000;
const bind = (server: Server, port: number, host: string, reusePort: boolean): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host, ipv6Only: false, backlog: 4096, ...(reusePort ? { reusePort } : {}) }, () => {
      server.off("error", reject);
      server.on("error", () => undefined); // EMFILE on accept: the next accept tries again
      resolve();
    });
  });
/** `shared`: others listen there too; where the system has no SO_REUSEPORT, this one waits until their place is free, and its supervisor tries again when that takes long. */
async function listening(server: Server, port: number, host: string, shared: boolean): Promise<void> {
  let reusePort = shared;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await bind(server, port, host, reusePort);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (reusePort && (code === "ENOTSUP" || code === "ENOPROTOOPT")) reusePort = false;
      else if (!shared || code !== "EADDRINUSE" || attempt > 30) throw error;
      else await delay(pauseMs(attempt, { firstMs: 50, capMs: 1_000 }));
    }
  }
}

/** HTTPS is no reason for HTTP and the other nodes to wait: where somebody else has its port, it comes when that is free. Settles after the first try. */
async function listenWhenFree(server: Server, port: number, host: string, shared: boolean, signal: AbortSignal, log: Logger): Promise<void> {
  const attempt = async (number: number): Promise<void> => {
    try {
      await bind(server, port, host, shared);
    } catch (error) {
      if (number === 1) log.error({ err: error, port }, "the port of HTTPS cannot be had; it is tried again and again");
      void delay(pauseMs(number, { firstMs: 250, capMs: 10_000 }), signal).then(() => attempt(number + 1), () => undefined);
    }
  };
  await attempt(1);
}

/** Starts one proxy worker; returns its ports and its end. */
export async function startWorker(options: WorkerOptions, onLeave: () => void = () => undefined): Promise<RunningWorker> {
  const log = createLogger("hcd-proxy");
  const keys = (): EdgeKeys => ({ ca: readFileSync(options.pki.ca, "utf8"), cert: readFileSync(options.pki.cert, "utf8"), key: readFileSync(options.pki.key, "utf8") });
  let left: (() => void) | undefined;
  const ticker = new Ticker(() => {
    worker.held.expire();
    worker.ownCalls.expire();
    worker.accessLog?.tick();
    if (worker.leaving && worker.connections === 0 && worker.peerConnections === 0) left?.();
  });
  const worker = new WorkerState(new RouteStore(), new Upstreams(keys, ticker), ticker, new SpoolRoom(options.spool), log);
  if (options.accessLog !== undefined) worker.accessLog = new AccessLog(options.accessLog, log);
  /** With TLS: also what never finishes its handshake. */
  const encrypted = new Set<Socket>();
  /** One for all: an idle connection costs what hangs on it. */
  const gone = {
    connections: () => {
      worker.connections -= 1;
    },
    peerConnections: () => {
      worker.peerConnections -= 1;
    },
  };
  const accept = (socket: Socket, kind: "connections" | "peerConnections"): boolean => {
    if (worker[kind] >= limits[kind]) {
      socket.destroy();
      return false;
    }
    worker[kind] += 1;
    socket.setNoDelay(true);
    socket.on("close", gone[kind]);
    return true;
  };
  const acceptEncrypted = (socket: Socket, kind: "connections" | "peerConnections"): boolean => {
    if (!accept(socket, kind)) return false;
    encrypted.add(socket);
    socket.once("close", () => encrypted.delete(socket));
    return true;
  };
  let toldMs = Number.NEGATIVE_INFINITY;
  const fromBalancer = (socket: Socket, begin: (client: string) => void): boolean => {
    const address = addressOf(socket);
    if (!worker.routes.isBalancer(address)) return false;
    new ProxyHeaderReader(socket, ticker, (client) => begin(client ?? address), (why) => {
      worker.refusedHeaders += 1;
      if (performance.now() - toldMs < refusalsToldMs) return;
      toldMs = performance.now();
      log.warn({ balancer: address, why, refused: worker.refusedHeaders }, "a load balancer's connection is refused: it must begin with a PROXY header of version 2");
    });
    return true;
  };
  const http = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    if (accept(socket, "connections") && !fromBalancer(socket, (client) => void new PublicSession(worker, socket, "http", client))) new PublicSession(worker, socket);
  });
  const https = createTlsListener({
    contexts: worker.tls, log,
    accept: (socket) => acceptEncrypted(socket, "connections"),
    fromBalancer,
    session: (socket, client) => {
      if (socket.alpnProtocol === "h2") http2Session(worker, socket, client);
      else new PublicSession(worker, socket, "https", client);
    },
  });
  worker.onTickets = (key) => void https.tls.setTicketKeys(key);
  const peer = createPeerListener({
    keys: keys(), log,
    isNode: (address) => worker.routes.isNode(address),
    accept: (socket) => acceptEncrypted(socket, "peerConnections"),
    session: (socket) => void new PeerSession(worker, socket),
  });
  const shared = options.shared === true;
  await listening(http, options.httpPort, options.hosts?.http ?? "::", shared);
  await listening(peer, options.peerPort, options.hosts?.peer ?? "::", shared);
  const end = new AbortController();
  followControl(worker, options.channel, end.signal, options.name, onLeave);
  if (options.httpsPort !== undefined) await listenWhenFree(https.server, options.httpsPort, options.hosts?.http ?? "::", shared, end.signal, log);
  const port = (server: Server): number => (server.address() as { port: number } | null)?.port ?? 0;
  log.info({ httpPort: port(http), httpsPort: port(https.server), peerPort: port(peer) }, "proxy worker listens");
  return {
    httpPort: port(http),
    httpsPort: port(https.server),
    peerPort: port(peer),
    state: worker,
    leave: () =>
      new Promise((resolve) => {
        worker.leaving = true;
        for (const session of worker.sessions) session.close(); // says so (GOAWAY), and ends with its last stream
        const timer = setTimeout(resolve, limits.leaveMs);
        left = () => {
          clearTimeout(timer);
          resolve();
        };
        http.close();
        https.server.close();
        peer.close();
      }),
    stop: async () => {
      end.abort();
      ticker.stop();
      worker.held.stop();
      const closed = [http, https.server, peer].map((server) => new Promise<void>((resolve) => server.close(() => resolve()))); // one that never listened says so, and is closed
      ticker.destroyAll();
      for (const session of worker.sessions) session.destroy();
      for (const socket of encrypted) socket.destroy();
      await Promise.all(closed);
      await worker.accessLog?.stop();
    },
  };
}

/** `hcd.cjs worker <options as JSON>`: ports, socket and paths of keys; no secret is on the command line. */
export async function runWorker(argv: readonly string[]): Promise<void> {
  let running: RunningWorker | undefined;
  const exit = (ended: Promise<void>): void => void ended.finally(() => process.exit(0));
  process.once("SIGTERM", () => exit(running?.stop() ?? Promise.resolve()));
  running = await startWorker(JSON.parse(argv[0] ?? "{}") as WorkerOptions, () => {
    if (running !== undefined) exit(running.leave().then(() => running?.stop()));
  });
}
