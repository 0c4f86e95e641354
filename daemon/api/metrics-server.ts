import { createServer } from "node:http";
import type { Running } from "../context.js";

/** How long an answer is given again, ms: who asks in a loop costs no more than who asks once a second. */
const keepMs = 1_000;

/** `GET /metrics` in clear HTTP on a port of its own, where the host's `ports.metrics` asks for one: Prometheus does not speak to Unix sockets. Names and numbers, no secret; nothing can be changed here. */
export async function startMetricsServer(options: { port: number; text(): string; nowMs(): number; host?: string }): Promise<Running & { port: number }> {
  let kept = { text: "", atMs: Number.NEGATIVE_INFINITY };
  const server = createServer((request, response) => {
    if ((request.method !== "GET" && request.method !== "HEAD") || request.url?.split("?")[0] !== "/metrics") return void response.writeHead(404, { "content-type": "text/plain" }).end("GET /metrics\n");
    if (options.nowMs() - kept.atMs > keepMs) kept = { text: options.text(), atMs: options.nowMs() };
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8", "content-length": Buffer.byteLength(kept.text) }).end(request.method === "HEAD" ? undefined : kept.text);
  });
  server.maxConnections = 16;
  server.requestTimeout = 5_000;
  server.headersTimeout = 5_000;
  server.timeout = 30_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port: options.port, ...(options.host === undefined ? {} : { host: options.host }) }, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    stop: () => new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}
