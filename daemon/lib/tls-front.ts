import { createServer, type Server, type Socket } from "node:net";
import type { Server as TlsServer } from "node:tls";
import { addressOf } from "./networks.js";

/** The plain socket below a TLS socket, which Node tells nobody. */
export const plainOf = (socket: unknown): Socket | undefined => (socket as { _parent?: Socket } | undefined)?._parent;

export interface TlsFront {
  /** Connections that have not shown a certificate yet: so many at once. */
  mostUnproven: number;
  /** Of this address (networks.ts, addressOf) one more is let in all the same. */
  isKnown(address: string): boolean;
  /** Takes a connection before its handshake; false: it was ended, there are too many. */
  accept(socket: Socket): boolean;
}

/**
 * A server that listens for one with mutual TLS, which has no port of its own: a connection counts from its first byte. Strangers who say nothing, or nothing right, take a bounded number of places, and whatever they do, a
 * node still gets in. A node that comes from another address than it has published waits with the strangers. Ends no connection at `close`.
 */
export function createTlsFront(tls: TlsServer, { mostUnproven, isKnown, accept }: TlsFront): Server {
  const unproven = new Set<Socket>();
  tls.on("secureConnection", (socket) => {
    const plain = plainOf(socket);
    if (plain !== undefined) unproven.delete(plain);
  });
  return createServer((socket) => {
    if (unproven.size >= mostUnproven && !isKnown(addressOf(socket))) return void socket.destroy();
    if (!accept(socket)) return;
    unproven.add(socket);
    socket.once("close", () => unproven.delete(socket));
    tls.emit("connection", socket);
  });
}
