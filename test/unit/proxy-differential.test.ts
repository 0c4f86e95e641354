import { createServer, METHODS, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { answersTo, forwardedRequests, type SeenRequest, wantedFor } from "../support/http-backend.js";

// node:http as the second reader of what the proxy writes. The same with Apache: test/lab/proxy-apache.test.ts.
let server: Server;
let seen: SeenRequest[] = [];
beforeAll(async () => {
  server = createServer({ insecureHTTPParser: false, maxHeaderSize: 64 * 1024 }, (request, response) => {
    let body = "";
    request.setEncoding("latin1").on("data", (data: string) => {
      body += data;
    });
    request.on("end", () => {
      seen.push({ method: request.method ?? "", target: request.url ?? "", host: request.headers.host ?? "", body });
      response.setHeader("Content-Length", "0").end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

const requests = forwardedRequests(400);
test("there is enough to compare", () => expect(requests.length).toBeGreaterThan(480));
test("node:http reads what the proxy accepts and writes anew as the same one request", async () => {
  const differ: unknown[] = [];
  for (const request of requests) {
    seen = [];
    const answers = await answersTo((server.address() as AddressInfo).port, request);
    // a method it does not know it refuses, and closes: nothing has run
    const wanted = METHODS.includes(request.seen.method) ? wantedFor(request) : [];
    if (JSON.stringify(seen) !== JSON.stringify(wanted)) differ.push({ name: request.name, bytes: request.bytes.toString("latin1").slice(0, 1_000), seen, answers });
  }
  expect(differ).toEqual([]);
});
