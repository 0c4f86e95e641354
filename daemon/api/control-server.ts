import { createServer } from "node:https";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { Running } from "../context.js";
import type { Logger } from "../lib/log.js";
import { createTlsFront } from "../lib/tls-front.js";
import type { Router } from "./router.js";

export interface ControlTls { ca: string; cert: string; key: string }

/** By its certificate; a connection that is over has none. */
function nameOf(socket: TLSSocket): string | undefined {
  const name = (socket.getPeerCertificate() as ReturnType<TLSSocket["getPeerCertificate"]> | null)?.subject?.CN;
  return typeof name === "string" ? name : undefined;
}

/** Connections at once; of them those that have not shown a certificate, and how long they may take for it, ms. */
export const controlLimits = { connections: 512, unproven: 128, handshakeMs: 10_000 };

/**
 * Control process to control process (`/peer/v1/…`): mutual TLS of the cluster's CA; the name in the certificate must be a member's.
 * A certificate of the edge CA, of nobody, or of a node that left gets no answer, and strangers who say nothing keep no node out: `isMemberAddress` of an address as `addressOf` gives it.
 */
export async function startControlServer(options: { port: number; host?: string; tls: ControlTls; isMember(node: string): boolean; isMemberAddress(address: string): boolean; router: Router; log: Logger }): Promise<Running & { port: number }> {
  const server = createServer({ ...options.tls, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.2", handshakeTimeout: controlLimits.handshakeMs }, (request, response) => {
    const name = nameOf(request.socket as TLSSocket);
    if (name === undefined || !options.isMember(name)) {
      options.log.warn({ peer: name, address: request.socket.remoteAddress }, "control port: refused a certificate that names no member");
      request.socket.destroy();
      return;
    }
    void options.router.handle(request, response, name);
  });
  server.on("tlsClientError", (error, socket) => options.log.warn({ reason: error.message, address: socket.remoteAddress }, "control port: handshake refused"));
  server.requestTimeout = 0; // streams may take long; a silent connection ends after `timeout`
  server.timeout = 300_000;
  // before it has sent a request
  server.on("secureConnection", (socket) => {
    if (!options.isMember(nameOf(socket) ?? "")) socket.destroy();
  });
  const open = new Set<Socket>();
  const front = createTlsFront(server, {
    mostUnproven: controlLimits.unproven,
    isKnown: options.isMemberAddress,
    accept: (socket) => {
      if (open.size >= controlLimits.connections) {
        socket.destroy();
        return false;
      }
      open.add(socket);
      socket.once("close", () => open.delete(socket));
      return true;
    },
  });
  await new Promise<void>((resolve, reject) => {
    front.once("error", reject);
    front.listen({ port: options.port, ...(options.host === undefined ? {} : { host: options.host }) }, resolve);
  });
  const address = front.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    stop: () =>
      new Promise<void>((resolve) => {
        front.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
