import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer, type Server } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { machineMs } from "../../daemon/lib/clock.js";
import { limits } from "../../daemon/proxy/limits.js";
import { edgePki } from "../support/edge-pki.js";
import { closeServer, listen, until } from "../support/proxy-pair.js";
import { type WorkerControl, workerControl } from "../support/worker-control.js";

// One worker as a process of its own, as nodes run it, against clients that mean no good: its memory stays bounded, and others are served.
jest.setTimeout(60_000);
let apache: Server;
let worker: ChildProcess;
let line: WorkerControl;
let port: number;
const sockets: Socket[] = [];

const rssMiB = (): number => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${worker.pid}/status`, "utf8"))?.[1]) / 1024;
const freePort = async (): Promise<number> => {
  const server = createServer();
  const found = await listen(server as never, 0, "127.0.0.1");
  await new Promise((resolve) => server.close(resolve));
  return found;
};
function open(text?: string | Buffer, reads = true): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => {
      socket.off("error", reject);
      socket.on("error", () => undefined);
      if (!reads) socket.pause();
      if (text !== undefined) socket.write(text);
      resolve(socket);
    });
    socket.once("error", reject);
    if (reads) socket.resume();
    sockets.push(socket);
  });
}
/** One request on a connection of its own, its status and how long it took. */
function ask(): Promise<{ status: number; ms: number }> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.write("GET /small HTTP/1.1\r\nHost: wiki.localhost\r\nConnection: close\r\n\r\n"));
    let back = "";
    socket.setEncoding("latin1").on("data", (data: string) => {
      back += data;
    });
    socket.on("end", () => resolve({ status: Number(back.slice(9, 12)), ms: performance.now() - began }));
    socket.on("error", reject);
  });
}
const dropAll = (): void => {
  for (const socket of sockets.splice(0)) socket.destroy();
};

beforeAll(async () => {
  const pki = await edgePki(["n1"]);
  const big = randomBytes(16 * 1024 * 1024);
  apache = createHttpServer((request, response) => {
    request.resume();
    request.on("end", () => response.end(request.url === "/big" ? big : "small"));
  });
  const apachePort = await listen(apache as never, 0, "127.0.0.1");
  line = await workerControl(join(pki.folder, "n1.sock"));
  line.push({ type: "deadline", ms: machineMs() + 600_000 });
  line.push({ type: "routes", table: { version: 1, revision: "1", node: "n1", hosts: { "wiki.localhost": "site-wiki" }, units: { "site-wiki": { home: "n1", epoch: 1, open: true } }, nodes: {}, apachePort } });
  const [httpPort, peerPort] = [await freePort(), await freePort()];
  port = httpPort;
  const options = { httpPort, peerPort, channel: line.path, pki: pki.of("n1"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" }, spool: pki.folder };
  worker = spawn(process.execPath, [join(process.cwd(), "dist", "daemon", "main.js"), "worker", JSON.stringify(options)], { stdio: "ignore" });
  await until(() => line.heard.some(({ type }) => type === "hello"));
  await ask();
});
afterAll(async () => {
  dropAll();
  worker.kill("SIGKILL");
  await line.close();
  await closeServer(apache);
});
afterEach(dropAll);

test("ten thousand idle connections cost little; one more is refused; when they go others come", async () => {
  const before = rssMiB();
  for (let count = 0; count < limits.connections; count += 500) await Promise.all(Array.from({ length: 500 }, () => open()));
  const refused = await open();
  await until(() => refused.destroyed);
  expect((rssMiB() - before) * 1024 / limits.connections).toBeLessThan(10); // KiB each
  dropAll();
  // until the worker has seen that they went
  let status: number | undefined;
  for (let count = 0; count < 1_000 && status !== 200; count += 1) status = (await ask().catch(() => undefined))?.status;
  expect(status).toBe(200);
});

test("heads and bodies that trickle, heads without an end, answers that nobody reads: bounded memory, others are served at once", async () => {
  const before = rssMiB();
  const started = "POST /up HTTP/1.1\r\nHost: wiki.localhost\r\n";
  const endless = Buffer.from(`X-Pad: ${"a".repeat(8000)}\r\n`.repeat(40));
  await Promise.all([
    ...Array.from({ length: 300 }, () => open(started)),
    ...Array.from({ length: 300 }, () => open(`${started}Content-Length: 900000000\r\n\r\nabc`)),
    ...Array.from({ length: 300 }, () => open(`${started}Transfer-Encoding: chunked\r\n\r\nfffffff\r\nabc`)),
    ...Array.from({ length: 300 }, () => open(Buffer.concat([Buffer.from(started), endless]))),
    ...Array.from({ length: 100 }, () => open("GET /big HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n".repeat(50), false)),
  ]);
  const times: number[] = [];
  for (let count = 0; count < 50; count += 1) {
    const { status, ms } = await ask();
    expect(status).toBe(200);
    times.push(ms);
  }
  // 100 answers of 16 MiB, fifty times asked for on each connection, are not in its memory
  expect(rssMiB() - before).toBeLessThan(150);
  expect(times.sort((a, b) => a - b)[25]).toBeLessThan(1_000);
});
