import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from "node:tls";
import type { Logger } from "../lib/log.js";
import { plainOf } from "../lib/tls-front.js";
import { limits } from "./limits.js";
import { ciphers, minVersion, sessionIdContext, type TlsContexts } from "./tls-contexts.js";

/** A fatal alert "unrecognized_name" (RFC 6066 §3, RFC 8446 §6.2) as a record in clear: nothing of the handshake was answered yet. */
const unrecognizedName = Buffer.from([21, 3, 3, 0, 2, 2, 112]);
export interface TlsListenerOptions {
  contexts: TlsContexts;
  log: Pick<Logger, "debug">;
  /** Takes a connection before its handshake; false: it was ended, there are too many. */
  accept(socket: Socket): boolean;
  /** True: it is a load balancer's, and `begin` is called with its client's address once it has said that. */
  fromBalancer(socket: Socket, begin: (client: string) => void): boolean;
  /** A connection whose handshake is done; `client`: who a load balancer has said that it is. */
  session(socket: TLSSocket, client: string | undefined): void;
}

/**
 * The public HTTPS port: the certificate by the name that is asked for (SNI), refused where there is none. HTTP/2 or HTTP/1.1 (ALPN, RFC 7301). `server` listens, and hands what was accepted to `tls`,
 * which has no port of its own: so a connection counts from its first byte, and the limit holds for handshakes too.
 */
export function createTlsListener({ contexts, log, accept, fromBalancer, session }: TlsListenerOptions): { server: Server; tls: TlsServer } {
  const clients = new WeakMap<Socket, string>();
  const tls = createTlsServer({
    minVersion, ciphers, sessionIdContext,
    sessionTimeout: limits.tlsSessionS,
    handshakeTimeout: limits.handshakeMs,
    ALPNProtocols: ["h2", "http/1.1"],
    SNICallback(this: unknown, servername, callback) {
      const context = contexts.of(servername);
      if (context !== undefined) return callback(null, context);
      // Node has no way to name the alert. It calls this on the TLS socket; without the plain one the connection is just closed.
      plainOf(this)?.write(unrecognizedName);
      callback(new Error("no certificate for this name"));
    },
  }, (socket) => {
    // as on the plain port: who has sent its request and says so is still answered. Who goes away within its handshake is gone: nobody waits for the deadline
    socket.allowHalfOpen = true;
    socket.disableRenegotiation(); // CPU for the asking, and nobody needs it (RFC 9325 §3.5)
    const plain = plainOf(socket);
    session(socket, plain === undefined ? undefined : clients.get(plain));
  });
  tls.on("tlsClientError", (error, socket) => {
    log.debug({ err: error }, "a client's handshake failed");
    socket.destroy();
  });
  const server = createServer((socket) => {
    if (!accept(socket)) return;
    const begin = (client: string): void => {
      clients.set(socket, client);
      tls.emit("connection", socket);
    };
    if (!fromBalancer(socket, begin)) tls.emit("connection", socket);
  });
  return { server, tls };
}
