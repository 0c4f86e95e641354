import { createServer } from "node:https";
import type { TLSSocket } from "node:tls";
import type { Running } from "../context.js";
import type { Logger } from "../lib/log.js";
import type { Router } from "./router.js";

export interface ControlTls { ca: string; cert: string; key: string }

/**
 * Control process to control process (`/peer/v1/…`): mutual TLS of the cluster's CA; the name in the certificate must be a member's.
 * A certificate of the edge CA, of nobody, or of a node that left gets no answer.
 */
export async function startControlServer(options: { port: number; host?: string; tls: ControlTls; isMember(node: string): boolean; router: Router; log: Logger }): Promise<Running & { port: number }> {
  const server = createServer({ ...options.tls, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.2" }, (request, response) => {
    const name = (request.socket as TLSSocket).getPeerCertificate().subject?.CN;
    if (typeof name !== "string" || !options.isMember(name)) {
      options.log.warn({ peer: name, address: request.socket.remoteAddress }, "control port: refused a certificate that names no member");
      request.socket.destroy();
      return;
    }
    void options.router.handle(request, response, name);
  });
  server.on("tlsClientError", (error, socket) => options.log.warn({ reason: error.message, address: socket.remoteAddress }, "control port: handshake refused"));
  server.requestTimeout = 0; // streams may take long; a silent connection ends after `timeout`
  server.timeout = 300_000;
  server.maxConnections = 512;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: options.port, ...(options.host === undefined ? {} : { host: options.host }) }, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
