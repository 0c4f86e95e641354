import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Writable } from "node:stream";
import { controlLimits, startControlServer } from "../../../daemon/api/control-server.js";
import { PeerClient } from "../../../daemon/api/peers.js";
import { Router } from "../../../daemon/api/router.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { createLogger } from "../../../daemon/lib/log.js";
import { type TestCa, testCa } from "../../support/cluster-pki.js";

const log = createLogger("test", { write: () => undefined });
let ca: TestCa;
let edgeCa: TestCa;
let port: number;
let stop = (): Promise<void> => Promise.resolve();
const clients: PeerClient[] = [];
const big = randomBytes(5_000_000);
let handled = 0;

beforeAll(async () => {
  [ca, edgeCa] = [await testCa("cluster"), await testCa("edge")];
  const router = new Router(log);
  router.route("GET", "/peer/v1/who", async ({ from }) => ({ from, number: ++handled }));
  router.route("POST", "/peer/v1/echo", async ({ json }) => ({ body: await json() }));
  router.route("GET", "/peer/v1/fail", async () => { throw new HcError("NOT_HOME", "elsewhere", { context: { home: "n3" } }); });
  router.route("GET", "/peer/v1/hang", () => new Promise(() => undefined));
  router.route("PUT", "/peer/v1/streams/:unit", async ({ params, stream, headers }) => {
    if (headers["x-refuse"] === "1") throw new HcError("NOT_READY", "not now");
    const hash = createHash("sha256");
    let size = 0;
    for await (const part of stream) {
      hash.update(part as Buffer);
      size += (part as Buffer).length;
    }
    return { unit: params["unit"], size, sha256: hash.digest("hex") };
  });
  router.route("GET", "/peer/v1/big", async (_request, response) => {
    response.writeHead(200);
    await pipeline(Readable.from([big.subarray(0, 3_000_000), big.subarray(3_000_000)]), response);
    return undefined;
  });
  const own = await ca.issue("n1");
  const server = await startControlServer({ port: 0, host: "127.0.0.1", tls: { ca: ca.ca, cert: own.cert, key: own.key }, isMember: (node) => ["n1", "n2"].includes(node), isMemberAddress: (address) => address === "127.0.0.1", router, log });
  port = server.port;
  stop = () => server.stop();
});
afterAll(async () => {
  for (const client of clients) client.close();
  await stop();
});
async function client(name: string, of: TestCa = ca, where: { addresses: string[]; port: number } = { addresses: ["127.0.0.1"], port }): Promise<PeerClient> {
  const own = await of.issue(name);
  const made = new PeerClient({ ca: ca.ca, cert: own.cert, key: own.key }, (node) => (node === "n1" || node === "n9" ? where : undefined));
  clients.push(made);
  return made;
}
const get = (from: PeerClient, path: string, timeoutMs = 5000, node = "n1"): Promise<unknown> => from.call(node, "GET", path, undefined, { timeoutMs });

test("the caller is known by its certificate; connections are used again", async () => {
  const n2 = await client("n2");
  expect(await get(n2, "/peer/v1/who")).toMatchObject({ from: "n2" });
  expect(await get(n2, "/peer/v1/who")).toMatchObject({ from: "n2" });
  expect(await n2.call("n1", "POST", "/peer/v1/echo", { ü: [1, 2] }, { timeoutMs: 5000 })).toEqual({ body: { ü: [1, 2] } });
});

test("a connection that is used again and again gathers no listeners", async () => {
  const n2 = await client("n2");
  for (let i = 0; i < 25; i += 1) await get(n2, "/peer/v1/who");
  const kept = (n2 as unknown as { idle: Map<string, Socket[]> }).idle.get("n1") ?? [];
  expect(kept.map((socket) => socket.listenerCount("timeout"))).toEqual([1]);
});

test("strangers who connect and say nothing take a bounded number of places, and keep no member out", async () => {
  const strangers: Socket[] = [];
  jest.replaceProperty(controlLimits, "unproven", 3);
  const own = await ca.issue("n1");
  const router = new Router(log);
  router.route("GET", "/peer/v1/who", async ({ from }) => ({ from }));
  const before = port;
  const server = await startControlServer({ port: 0, host: "127.0.0.1", tls: { ca: ca.ca, cert: own.cert, key: own.key }, isMember: (node) => node === "n2", isMemberAddress: (address) => address === "127.0.0.1", router, log });
  port = server.port;
  try {
    const refused = new Promise<void>((resolve) => {
      let left = 7;
      for (let count = 0; count < 10; count += 1) strangers.push(connect({ host: "127.0.0.1", port, localAddress: "127.0.0.2" }).on("error", () => undefined).on("close", () => void (--left === 0 && resolve())));
    });
    await refused;
    const where = { addresses: ["127.0.0.1"], port };
    expect(await get(await client("n2", ca, where), "/peer/v1/who")).toEqual({ from: "n2" });
    // who shows a certificate that names no member is gone before it has asked anything
    await expect(get(await client("n7", ca, where), "/peer/v1/who")).rejects.toMatchObject({ code: "UNREACHABLE" });
    expect(strangers.filter(({ destroyed }) => !destroyed)).toHaveLength(3);
  } finally {
    port = before;
    await server.stop(); // with those who say nothing
    for (const socket of strangers) socket.destroy();
    jest.restoreAllMocks();
  }
});

test("refused: a certificate of the edge CA, none, and one of the cluster's CA that names no member; no handler runs", async () => {
  const before = handled;
  await expect(get(await client("n2", edgeCa), "/peer/v1/who")).rejects.toMatchObject({ code: "UNREACHABLE" });
  await expect(get(await client("n7"), "/peer/v1/who")).rejects.toMatchObject({ code: "UNREACHABLE" });
  const nobody = new PeerClient({ ca: ca.ca, cert: "", key: "" }, () => ({ addresses: ["127.0.0.1"], port }));
  clients.push(nobody);
  await expect(get(nobody, "/peer/v1/who")).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(handled).toBe(before);
});

test("a server that shows another name is refused by the client", async () => {
  await expect(get(await client("n2"), "/peer/v1/who", 5000, "n9")).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining("names n1, not n9") });
});

test("addresses are tried in turn; unknown nodes are NOT_FOUND", async () => {
  expect(await get(await client("n2", ca, { addresses: ["127.0.0.2", "127.0.0.1"], port }), "/peer/v1/who")).toMatchObject({ from: "n2" });
  await expect(get(await client("n2"), "/peer/v1/who", 5000, "n5")).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("errors come back by code, with the node; a silent peer is TIMEOUT, a cancelled call ABORTED", async () => {
  const n2 = await client("n2");
  await expect(get(n2, "/peer/v1/fail")).rejects.toMatchObject({ code: "NOT_HOME", message: "elsewhere", context: { home: "n3", node: "n1" } });
  expect(await get(n2, "/peer/v1/who")).toMatchObject({ from: "n2" });
  await expect(get(n2, "/peer/v1/hang", 100)).rejects.toMatchObject({ code: "TIMEOUT" });
  const aborter = new AbortController();
  const call = n2.call("n1", "GET", "/peer/v1/hang", undefined, { timeoutMs: 5000, signal: aborter.signal });
  aborter.abort();
  await expect(call).rejects.toMatchObject({ code: "ABORTED" });
});

test("streams up and down arrive whole; an early refusal ends the upload", async () => {
  const n2 = await client("n2");
  const sha256 = createHash("sha256").update(big).digest("hex");
  expect(await n2.upload("n1", "/peer/v1/streams/site-x", {}, Readable.from([big.subarray(0, 100), big.subarray(100)]), { idleTimeoutMs: 5000 })).toEqual({ unit: "site-x", size: big.length, sha256 });
  const endless = new Readable({ read() { this.push(Buffer.alloc(65536)); } });
  await expect(n2.upload("n1", "/peer/v1/streams/site-x", { "x-refuse": "1" }, endless, { idleTimeoutMs: 5000 })).rejects.toMatchObject({ code: "NOT_READY" });
  expect(endless.destroyed).toBe(true);
  const hash = createHash("sha256");
  await pipeline(await n2.download("n1", "/peer/v1/big", { idleTimeoutMs: 5000 }), new Writable({ write: (part: Buffer, _encoding, done) => { hash.update(part); done(); } }));
  expect(hash.digest("hex")).toBe(sha256);
  await expect(n2.download("n1", "/peer/v1/fail", { idleTimeoutMs: 5000 })).rejects.toMatchObject({ code: "NOT_HOME" });
});

test("an upload whose source fails is not taken for a whole one", async () => {
  const n2 = await client("n2");
  const broken = Readable.from((function* () { yield Buffer.alloc(1000); throw new Error("zfs send died"); })());
  await expect(n2.upload("n1", "/peer/v1/streams/site-x", {}, broken, { idleTimeoutMs: 5000 })).rejects.toMatchObject({ code: expect.stringMatching(/UNREACHABLE|INTERNAL/) });
});
