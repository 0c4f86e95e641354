import { connect, createServer, type Server, type Socket } from "node:net";

export interface ForwardTarget {
  host: string;
  port: number;
  /** Own address to send from. A lab that has gone has no such address: the attempt then fails here, and no packet leaves the machine. */
  localAddress?: string;
}
export interface ForwardOptions {
  targets: readonly ForwardTarget[];
  connectTimeoutMs: number;
  maxConnections: number;
}

function tryConnect(target: ForwardTarget, timeoutMs: number): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: target.host, port: target.port, allowHalfOpen: true, ...(target.localAddress === undefined ? {} : { localAddress: target.localAddress }) });
    const settle = (result: Socket | undefined): void => {
      clearTimeout(timer);
      if (result === undefined) socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => settle(undefined), timeoutMs);
    socket.on("error", () => settle(undefined)); // stays: a late error must find a listener
    socket.once("connect", () => settle(socket));
  });
}

/** The targets in the order in which to try them: the last good one first, then the others as they stand. */
export function tryingOrder(count: number, lastGood: number): number[] {
  const all = Array.from({ length: count }, (_, number) => number);
  return all.sort((a, b) => Number(b === lastGood) - Number(a === lastGood));
}

function join(client: Socket, upstream: Socket): void {
  const end = (): void => {
    client.destroy();
    upstream.destroy();
  };
  for (const socket of [client, upstream]) {
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 30_000);
    socket.on("error", end);
    socket.on("close", end);
  }
  client.pipe(upstream);
  upstream.pipe(client);
}

/** A server that hands each TCP connection on to the first target that accepts one. Not listening yet. */
export function forwarder(options: ForwardOptions): Server {
  let lastGood = 0;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    client.on("error", () => client.destroy());
    void (async () => {
      for (const number of tryingOrder(options.targets.length, lastGood)) {
        const target = options.targets[number];
        if (target === undefined || client.destroyed) break;
        const upstream = await tryConnect(target, options.connectTimeoutMs);
        if (upstream === undefined) continue;
        lastGood = number;
        if (client.destroyed) return void upstream.destroy();
        return join(client, upstream);
      }
      client.resetAndDestroy();
    })();
  });
  server.maxConnections = options.maxConnections; // more are dropped at once
  return server;
}
