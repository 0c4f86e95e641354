import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Logger } from "../lib/log.js";
import { clientAddress } from "./at-peer.js";
import { limits } from "./limits.js";
import { plainOf } from "./tls-listener.js";
import type { EdgeKeys } from "./upstreams.js";

export interface PeerListenerOptions {
  keys: EdgeKeys;
  log: Pick<Logger, "debug">;
  /** Is this the address (as clientAddress gives it) of one of the cluster's nodes? */
  isNode(address: string): boolean;
  /** Takes a connection before its handshake; false: it was ended, there are too many. */
  accept(socket: Socket): boolean;
  /** A connection that has shown a certificate of the edge CA. */
  session(socket: TLSSocket): void;
}

/**
 * The port for other nodes' proxies, by mutual TLS. As on the public port (tls-listener.ts) `server` listens, and a connection counts from its first byte. Those that have not shown a certificate are counted
 * apart: strangers may have `limits.peerHandshakes` of them, and whatever they do, a node still gets in. A node that comes from another address than it has published waits with the strangers.
 */
export function createPeerListener({ keys, log, isNode, accept, session }: PeerListenerOptions): Server {
  const unproven = new Set<Socket>();
  const tls = createTlsServer({ ...keys, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3", handshakeTimeout: limits.handshakeMs }, (socket) => {
    const plain = plainOf(socket);
    if (plain !== undefined) unproven.delete(plain);
    session(socket);
  });
  tls.on("tlsClientError", (error, socket) => {
    log.debug({ err: error }, "a peer's handshake was refused");
    socket.destroy();
  });
  return createServer((socket) => {
    if (unproven.size >= limits.peerHandshakes && !isNode(clientAddress(socket))) return void socket.destroy();
    if (!accept(socket)) return;
    unproven.add(socket);
    socket.once("close", () => unproven.delete(socket));
    tls.emit("connection", socket);
  });
}
