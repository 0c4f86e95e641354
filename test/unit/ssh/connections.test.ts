import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { delay } from "../../../daemon/lib/abort.js";
import { defaultPaths, type Identity } from "../../../daemon/lib/node-config.js";
import { handOver } from "../../../providers/handlers/cluster.js";
import type { Connection } from "../../../providers/schemas/connection.js";
import { apiCall } from "../../../providers/ssh/api-client.js";
import { closeConnections } from "../../../providers/ssh/pool.js";
import { SshRunner } from "../../../providers/ssh/ssh-runner.js";
import { startSshServer, type TestSshServer } from "../../support/ssh-server.js";

let server: TestSshServer;
beforeAll(async () => { server = await startSshServer(); });
afterAll(async () => {
  await closeConnections();
  await server.close();
});
const timeoutMs = 10_000;

describe("connections", () => {
  it("are shared, and made again after a break; what ran says that its end is not known", async () => {
    const runner = new SshRunner(server.target);
    await runner.run(["true"], { timeoutMs });
    const before = server.connections();
    await Promise.all(Array.from({ length: 20 }, () => runner.run(["true"], { timeoutMs })));
    expect(server.connections()).toBe(before);
    const running = runner.run(["sh", "-c", "echo x; exec cat"], { timeoutMs, input: new Readable({ read: () => undefined }) });
    running.catch(() => undefined);
    await runner.run(["true"], { timeoutMs });
    server.breakAll();
    await expect(running).rejects.toMatchObject({ code: "UNREACHABLE", retry: "unknown" });
    expect((await runner.run(["true"], { timeoutMs })).code).toBe(0);
    expect(server.connections()).toBe(before + 1);
  });
  it("refuse another host key, naming both fingerprints", async () => {
    const other = await startSshServer();
    try {
      const failing = new SshRunner({ ...server.target, hostKey: other.target.hostKey }).run(["true"], { timeoutMs });
      await expect(failing).rejects.toMatchObject({ code: "HOST_KEY_MISMATCH", message: expect.stringMatching(/shows SHA256:\S{43}, pinned is SHA256:\S{43}/) });
    } finally {
      await other.close();
    }
  });
  it("refuse a key of another type than the pinned one", async () => {
    await expect(new SshRunner({ ...server.target, hostKey: `ecdsa-sha2-nistp256 ${server.target.hostKey.split(" ")[1]}` }).run(["true"], { timeoutMs })).rejects.toMatchObject({ code: "HOST_KEY_MISMATCH" });
  });
  it("say who refused: no key, wrong key, nobody there", async () => {
    const strict = await startSshServer({ rejectKeys: true });
    try {
      await expect(new SshRunner(strict.target).run(["true"], { timeoutMs })).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED" });
    } finally {
      await strict.close();
    }
    await expect(new SshRunner(strict.target).run(["true"], { timeoutMs })).rejects.toMatchObject({ code: "AUTHENTICATION_FAILED", message: expect.stringContaining("cannot be read") });
    await expect(new SshRunner({ ...server.target, port: strict.target.port }).run(["true"], { timeoutMs })).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining(String(strict.target.port)) });
  });
});

describe("API calls over a forwarded socket", () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-api-"));
  const seen: string[] = [];
  let cutsIdentity = (): boolean => false;
  const api = createServer((request, response) => {
    let body = "";
    request.on("data", (part: Buffer) => { body += part.toString("latin1"); });
    request.on("end", () => {
      seen.push(`${request.method} ${request.url} ${body.length > 50 ? body.length : body}`);
      if (request.url === "/hang") return;
      if (request.url === "/error") return void response.writeHead(409).end(JSON.stringify({ error: { code: "CONFLICT", message: "somebody was first", context: { revision: "7" } } }));
      if (request.url === "/quorum") return void response.writeHead(503).end(JSON.stringify({ error: { code: "NO_QUORUM", message: "too few" } }));
      if (request.url === "/odd") return void response.writeHead(500).end("<html>");
      if (request.url === "/cut" || (request.url === "/v1/identity" && cutsIdentity())) return void request.socket.destroy();
      if (request.url === "/empty") return void response.writeHead(204).end();
      response.end(JSON.stringify({ method: request.method, got: body.length, if: request.headers["if-match"] ?? null }));
    });
  });
  const connection = (run = folder): Connection => ({ ...server.target, privateKeyPath: server.target.privateKeyPath as string, node: "n1", paths: { ...defaultPaths, run } });
  beforeAll(() => new Promise<void>((resolve) => void api.listen(join(folder, "hcd.sock"), resolve)));
  afterAll(async () => {
    api.closeAllConnections();
    await new Promise((resolve) => api.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  it("bring JSON, headers and streams", async () => {
    expect(await apiCall([connection()], "GET", "/x", undefined, { timeoutMs, headers: { "if-match": "7" } })).toEqual({ method: "GET", got: 0, if: "7" });
    expect(await apiCall([connection()], "PUT", "/x", { a: 1 }, { timeoutMs })).toMatchObject({ got: 7 });
    const size = 5 << 20;
    expect(await apiCall([connection()], "PUT", "/blob", Readable.from([Buffer.alloc(size / 2), Buffer.alloc(size / 2)]), { timeoutMs })).toMatchObject({ got: size });
    expect(await apiCall([connection()], "DELETE", "/empty", undefined, { timeoutMs })).toBeUndefined();
  });
  it("bring errors back with their code", async () => {
    await expect(apiCall([connection()], "GET", "/error", undefined, { timeoutMs })).rejects.toMatchObject({ code: "CONFLICT", message: "somebody was first", context: { revision: "7" } });
    await expect(apiCall([connection()], "GET", "/odd", undefined, { timeoutMs })).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("status 500") });
    await expect(apiCall([connection()], "GET", "/cut", undefined, { timeoutMs })).rejects.toMatchObject({ code: "UNREACHABLE", retry: "unknown", message: expect.stringContaining("hcd closed the connection") });
    let cuts = 1;
    cutsIdentity = () => cuts-- > 0;
    const told: string[] = [];
    await handOver(connection(), {} as Identity, (text) => void told.push(text));
    expect(told).toEqual([expect.stringContaining("PUT /v1/identity on n1")]);
    const before = seen.length;
    const hanging = apiCall([connection()], "GET", "/hang", undefined, { timeoutMs });
    hanging.catch(() => undefined);
    while (seen.length === before) await delay(5);
    server.breakAll();
    await expect(hanging).rejects.toMatchObject({ code: "UNREACHABLE", retry: "unknown", message: expect.stringContaining("the SSH connection is over") });
    await expect(apiCall([connection()], "GET", "/hang", undefined, { timeoutMs: 100 })).rejects.toMatchObject({ code: "TIMEOUT" });
    const abort = new AbortController();
    const cancelled = apiCall([connection()], "GET", "/hang", undefined, { timeoutMs, signal: abort.signal });
    abort.abort();
    await expect(cancelled).rejects.toMatchObject({ code: "ABORTED" });
    await expect(apiCall([], "GET", "/x", undefined, { timeoutMs })).rejects.toMatchObject({ code: "INVALID_INPUT" });
  });
  it("try the next host when one has no daemon or no quorum, and no host twice", async () => {
    const without = connection(join(folder, "nothing"));
    expect(await apiCall([without, connection()], "GET", "/x", undefined, { timeoutMs })).toMatchObject({ method: "GET" });
    await expect(apiCall([without], "GET", "/x", undefined, { timeoutMs })).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining("does not listen") });
    seen.length = 0;
    await expect(apiCall([connection(), connection()], "GET", "/quorum", undefined, { timeoutMs })).rejects.toMatchObject({ code: "NO_QUORUM" });
    expect(seen).toHaveLength(2);
    await expect(apiCall([connection(), without], "GET", "/quorum", undefined, { timeoutMs })).rejects.toMatchObject({ code: "NO_QUORUM" });
    seen.length = 2;
    await expect(apiCall([connection(), connection()], "GET", "/error", undefined, { timeoutMs })).rejects.toMatchObject({ code: "CONFLICT" });
    expect(seen).toHaveLength(3);
  });
  it("do not wait for a host that says nothing until it is given up, nor does the end of the command", async () => {
    const accepted: Socket[] = [];
    const silent = createTcpServer((socket) => void accepted.push(socket.on("error", () => undefined)));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const dead = { ...connection(), port: (silent.address() as AddressInfo).port };
    expect(await apiCall([dead, connection()], "GET", "/x", undefined, { timeoutMs })).toMatchObject({ method: "GET" });
    // still being tried: the answer came before the time-out
    expect(accepted.map((socket) => socket.readyState)).toEqual(["open"]);
    const cut = once(accepted[0] as Socket, "close");
    accepted[0]?.resume();
    await closeConnections();
    await cut;
    await new Promise((resolve) => silent.close(resolve));
  });
});
