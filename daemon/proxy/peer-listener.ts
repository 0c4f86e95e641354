import type { Server, Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Logger } from "../lib/log.js";
import { createTlsFront } from "../lib/tls-front.js";
import { limits } from "./limits.js";
import type { EdgeKeys } from "./upstreams.js";

export interface PeerListenerOptions {
  keys: EdgeKeys;
  log: Pick<Logger, "debug">;
  /** Is this the address (as addressOf gives it) of one of the cluster's nodes? */
  isNode(address: string): boolean;
  /** Takes a connection before its handshake; false: it was ended, there are too many. */
  accept(socket: Socket): boolean;
  /** A connection that has shown a certificate of the edge CA. */
  session(socket: TLSSocket): void;
}

/** The port for other nodes' proxies, by mutual TLS; strangers may have `limits.peerHandshakes` connections. */
export function createPeerListener({ keys, log, isNode, accept, session }: PeerListenerOptions): Server {
  const tls = createTlsServer({ ...keys, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3", handshakeTimeout: limits.handshakeMs }, session);
  tls.on("tlsClientError", (error, socket) => {
    log.debug({ err: error }, "a peer's handshake was refused");
    socket.destroy();
  });
  return createTlsFront(tls, { mostUnproven: limits.peerHandshakes, isKnown: isNode, accept });
}
