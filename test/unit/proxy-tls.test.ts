import { once } from "node:events";
import { createServer as createHttpServer, type IncomingHttpHeaders, type IncomingMessage, type Server } from "node:http";
import { connect as connectHttp2, type IncomingHttpStatusHeader } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { join } from "node:path";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { machineMs } from "../../daemon/lib/clock.js";
import { limits } from "../../daemon/proxy/limits.js";
import type { RouteTable } from "../../daemon/proxy/routes.js";
import { createTlsListener } from "../../daemon/proxy/tls-listener.js";
import { startWorker } from "../../daemon/proxy/worker.js";
import { TestCa, type TestCertificate } from "../support/certificates.js";
import { edgePki } from "../support/edge-pki.js";
import { closeServer, listen, until } from "../support/proxy-pair.js";
import { type WorkerControl, workerControl } from "../support/worker-control.js";

// A real worker with real TLS sockets; node:http in Apache's place.
type Worker = Awaited<ReturnType<typeof startWorker>>;
let pki: Awaited<ReturnType<typeof edgePki>>;
let ca: TestCa;
let certificates: Record<"shop" | "wild", TestCertificate>;
let apache: Server;
let control: WorkerControl;
let worker: Worker;
let seen: IncomingMessage["headers"][] = [];
let base: RouteTable;

beforeAll(async () => {
  pki = await edgePki(["n1"]);
  ca = await TestCa.create();
  certificates = { shop: await ca.issue(["shop.example"]), wild: await ca.issue(["*.wild.example"]) };
  apache = createHttpServer((request, response) => {
    seen.push(request.headers);
    response.setHeader("strict-transport-security", "max-age=1");
    if (request.url === "/big") return void response.end(Buffer.alloc(3 * 1024 * 1024, "x"));
    let bytes = 0;
    request.on("data", (data: Buffer) => {
      bytes += data.length;
    });
    request.on("end", () => response.end(String(bytes)));
  });
  const apachePort = await new Promise<number>((resolve) => apache.listen(0, "127.0.0.1", () => resolve((apache.address() as { port: number }).port)));
  control = await workerControl(join(pki.folder, "n1.sock"));
  worker = await startWorker({ httpPort: 0, httpsPort: 0, peerPort: 0, channel: control.path, pki: pki.of("n1"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" }, spool: pki.folder });
  base = {
    version: 1, revision: "1", node: "n1", nodes: {}, apachePort, httpsPort: worker.httpsPort,
    hosts: { "shop.example": "site-shop", "*.wild.example": "site-wild", "bare.example": "site-bare" },
    units: { "site-shop": { home: "n1", epoch: 1, open: true, tls: { redirect: true, hsts: "max-age=600" } }, "site-wild": { home: "n1", epoch: 1, open: true, tls: { redirect: false, hsts: "" } }, "site-bare": { home: "n1", epoch: 1, open: true, tls: { redirect: true, hsts: "" } } },
  };
  const { shop, wild } = certificates;
  control.push({ type: "deadline", ms: machineMs() + 600_000 });
  control.push({ type: "certificates", reset: true, complete: true, certificates: { s: shop, w: wild }, names: { "shop.example": "s", "*.wild.example": "w" } });
  control.push({ type: "routes", table: base });
  await until(() => worker.state.routes.table !== undefined);
});
afterAll(async () => {
  await worker.stop();
  await control.close();
  await closeServer(apache);
});
beforeEach(() => {
  seen = [];
});

const dial = (options: ConnectionOptions): Promise<TLSSocket> => new Promise((resolve, reject) => {
  const socket = connectTls({ host: "127.0.0.1", port: worker.httpsPort, ca: ca.root, ...options }, () => resolve(socket));
  socket.on("error", reject);
});
const refusal = (options: ConnectionOptions): Promise<string> => dial(options).then((socket) => {
  socket.destroy();
  return "taken";
}, (error: NodeJS.ErrnoException) => String(error.code));
interface Answer { status: number; headers: IncomingMessage["headers"]; body: string }
const ask = (path: string, options: { host?: string; method?: string; body?: Buffer; headers?: Record<string, string> } = {}): Promise<Answer> => new Promise((resolve, reject) => {
  const host = options.host ?? "shop.example";
  const request = httpsRequest({ host: "127.0.0.1", port: worker.httpsPort, servername: host, ca: ca.root, path, method: options.method ?? "GET", headers: { host, ...options.headers }, agent: false }, (response) => {
    let body = "";
    response.on("data", (part: Buffer) => {
      body += part.toString();
    });
    response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    response.on("error", reject);
  });
  request.on("error", reject);
  request.end(options.body);
});
const plain = (text: string): Promise<string> => new Promise((resolve, reject) => {
  let back = "";
  const socket = connect(worker.httpPort, "127.0.0.1", () => socket.write(text));
  socket.on("data", (data) => {
    back += data.toString("latin1");
  });
  socket.on("close", () => resolve(back));
  socket.on("error", reject);
});

test("HTTPS: the site hears that it is HTTPS, the visitor gets one HSTS field, bodies go both ways", async () => {
  const { status, headers, body } = await ask("/", { method: "POST", body: Buffer.alloc(300_000), headers: { "x-forwarded-proto": "http" } });
  expect([status, body, headers["strict-transport-security"]]).toEqual([200, "300000", "max-age=600"]);
  expect(seen[0]).toMatchObject({ "x-forwarded-proto": "https", "x-forwarded-host": "shop.example" });
  expect((await ask("/big")).body.length).toBe(3 * 1024 * 1024);
  // without one of its own, the site's goes through
  expect((await ask("/", { host: "a.wild.example" })).headers["strict-transport-security"]).toBe("max-age=1");
});

test("a name without a certificate is not to be had over another's connection", async () => {
  const socket = await dial({ servername: "shop.example" });
  let back = "";
  socket.on("data", (data: Buffer) => {
    back += data.toString("latin1");
  });
  socket.write("GET / HTTP/1.1\r\nHost: bare.example\r\nConnection: close\r\n\r\n");
  await new Promise((resolve) => socket.once("end", resolve));
  expect([back.slice(0, 12), seen]).toEqual(["HTTP/1.1 421", []]);
});

test("HTTP is sent on where there is a certificate; HSTS never goes over HTTP", async () => {
  expect(await plain("GET /x HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")).toContain(`HTTP/1.1 301 Moved Permanently\r\nLocation: https://shop.example:${worker.httpsPort}/x\r\n`);
  expect(seen).toEqual([]);
  const bare = await plain("GET /x HTTP/1.1\r\nHost: bare.example\r\nConnection: close\r\n\r\n");
  expect([bare.slice(0, 15), seen[0]?.["x-forwarded-proto"]]).toEqual(["HTTP/1.1 200 OK", "http"]);
});

test("the certificate by name: exact, one label of a wildcard, in any spelling; no other name is answered at all", async () => {
  for (const [servername, names] of [["shop.example", "DNS:shop.example"], ["SHOP.example", "DNS:shop.example"], ["x.wild.example", "DNS:*.wild.example"]] as const) {
    const socket = await dial({ servername });
    expect(socket.getPeerCertificate().subjectaltname).toBe(names);
    socket.destroy();
  }
  for (const servername of ["bare.example", "unknown.example", "a.b.wild.example", "wild.example", "constructor"]) expect(await refusal({ servername })).toBe("ERR_SSL_TLSV1_UNRECOGNIZED_NAME");
  expect(await refusal({ servername: "", checkServerIdentity: () => undefined })).toBe("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE");
});

test("TLS 1.2 and 1.3, with sound ciphers; nothing older or weaker", async () => {
  const speak = async (options: ConnectionOptions): Promise<string> => {
    const socket = await dial({ servername: "shop.example", ...options });
    const text = `${socket.getProtocol()} ${socket.getCipher().name}`;
    socket.destroy();
    return text;
  };
  expect(await speak({})).toMatch(/^TLSv1\.3 TLS_AES_/);
  expect(await speak({ maxVersion: "TLSv1.2" })).toMatch(/^TLSv1\.2 ECDHE-ECDSA-AES\d+-GCM/);
  expect(await refusal({ servername: "shop.example", minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" })).toMatch(/^ERR_SSL_(TLSV1_ALERT_PROTOCOL_VERSION|SSL\/TLS_ALERT|UNSUPPORTED_PROTOCOL)/);
  for (const ciphers of ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"]) expect(await refusal({ servername: "shop.example", maxVersion: "TLSv1.2", ciphers })).toBe("ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE");
});

test("ALPN: HTTP/2 is agreed on where the client knows it, and served; who speaks neither is told so", async () => {
  for (const [offered, agreed] of [[["h2", "http/1.1"], "h2"], [["http/1.1"], "http/1.1"]] as const) {
    const socket = await dial({ servername: "shop.example", ALPNProtocols: [...offered] });
    expect(socket.alpnProtocol).toBe(agreed);
    socket.destroy();
  }
  expect(await refusal({ servername: "shop.example", ALPNProtocols: ["h3"] })).toMatch(/NO_APPLICATION_PROTOCOL/);
  const session = connectHttp2("https://shop.example", { createConnection: () => connectTls({ host: "127.0.0.1", port: worker.httpsPort, servername: "shop.example", ALPNProtocols: ["h2"], rejectUnauthorized: false }) });
  const ask = async (authority: string): Promise<IncomingHttpHeaders & IncomingHttpStatusHeader> => {
    const stream = session.request({ ":authority": authority, ":path": "/h2" });
    const [headers] = (await once(stream, "response")) as [IncomingHttpHeaders & IncomingHttpStatusHeader];
    stream.resume();
    return headers;
  };
  expect(await ask("shop.example")).toMatchObject({ ":status": 200, "strict-transport-security": "max-age=600" });
  expect(await ask("bare.example")).toMatchObject({ ":status": 421 });
  expect(seen.length).toBe(1);
  session.destroy();
});

test("connections count from their first byte, and go again: refused handshakes, silent ones, served ones", async () => {
  await until(() => worker.state.connections === 0);
  const silent = connect(worker.httpsPort, "127.0.0.1");
  await until(() => worker.state.connections === 1);
  const served = await dial({ servername: "shop.example" });
  expect(worker.state.connections).toBe(2);
  await refusal({ servername: "unknown.example" });
  served.destroy();
  silent.destroy();
  await until(() => worker.state.connections === 0);
  worker.state.connections = limits.connections;
  await expect(dial({ servername: "shop.example" })).rejects.toThrow();
  worker.state.connections = 0;
  expect(await refusal({ servername: "shop.example" })).toBe("taken");
});

test("who goes away before its handshake is done is gone at once, not at the handshake's deadline", async () => {
  const whys: (string | undefined)[] = [];
  const listener = createTlsListener({ contexts: worker.state.tls, log: { debug: ({ err }: { err: NodeJS.ErrnoException }) => void whys.push(err.code) } as never, accept: () => true, fromBalancer: () => false, session: () => undefined });
  const port = await listen(listener.server as never, 0, "127.0.0.1");
  // nothing at all, and the beginning of a ClientHello
  for (const bytes of ["", "\x16\x03\x01\x00\x32\x01"]) connect(port, "127.0.0.1").on("error", () => undefined).end(bytes, "latin1");
  await until(() => whys.length === 2);
  listener.server.close();
  expect(whys).toEqual(["ECONNRESET", "ECONNRESET"]);
});

test("a certificate that changes is used for the next handshake; one that is gone is refused", async () => {
  const fresh = await ca.issue(["shop.example"], { untilH: 12 });
  const validTo = async (): Promise<string> => {
    const socket = await dial({ servername: "shop.example" });
    const { valid_to } = socket.getPeerCertificate();
    socket.destroy();
    return valid_to;
  };
  const before = await validTo();
  control.push({ type: "certificates", certificates: { s2: fresh, s: null }, names: { "shop.example": "s2" } });
  for (let i = 0; i < 200 && (await validTo()) === before; i += 1);
  expect(Date.parse(await validTo()) - Date.now()).toBeLessThan(13 * 3_600_000);
  control.push({ type: "certificates", certificates: { s2: null }, names: { "shop.example": null } });
  await until(() => !worker.state.tls.has("shop.example"));
  expect(await refusal({ servername: "shop.example" })).toBe("ERR_SSL_TLSV1_UNRECOGNIZED_NAME");
  control.push({ type: "certificates", certificates: { s: certificates.shop }, names: { "shop.example": "s" } });
  await until(() => worker.state.tls.has("shop.example"));
});

test("who has sent its request and closes its half is still answered", async () => {
  const socket = await dial(Object.assign({ servername: "shop.example" }, { allowHalfOpen: true }));
  let back = "";
  socket.on("data", (data: Buffer) => {
    back += data.toString("latin1");
  });
  socket.end("GET /big HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n");
  await new Promise((resolve) => socket.once("end", resolve));
  expect(back.length).toBeGreaterThan(3 * 1024 * 1024);
});

test("a cut answer is seen as cut over HTTPS too", async () => {
  const cut = createHttpServer((_request, response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("half", () => response.socket?.destroy());
  });
  const port = await new Promise<number>((resolve) => cut.listen(0, "127.0.0.1", () => resolve((cut.address() as { port: number }).port)));
  control.push({ type: "routes", table: { ...base, apachePort: port } });
  await until(() => worker.state.routes.table?.apachePort === port);
  await expect(ask("/")).rejects.toThrow();
  control.push({ type: "routes", table: base });
  await until(() => worker.state.routes.table?.apachePort === base.apachePort);
  expect((await ask("/")).status).toBe(200);
  await new Promise((resolve) => cut.close(resolve));
});
