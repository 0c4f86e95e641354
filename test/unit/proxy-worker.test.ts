import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer, request as httpRequest, type IncomingMessage, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { WebSocket, WebSocketServer } from "ws";
import { machineMs as monotonicMs } from "../../daemon/lib/clock.js";
import { limits } from "../../daemon/proxy/limits.js";
import { type RunningWorker, startWorker } from "../../daemon/proxy/worker.js";
import { edgePki } from "../support/edge-pki.js";
import { closeServer, type Answer, type Asked, listen, ProxyPair, until } from "../support/proxy-pair.js";

// Two real workers (edge n1, home n2) over mutual TLS, node:http in Apache's place, a control socket of the test's own.
let apache: Server;
let pair: ProxyPair;
let edge: RunningWorker;
let home: RunningWorker;
/** Answers that "/slow" waits for. */
const slow: (() => void)[] = [];
let seen: { method: string; url: string; headers: IncomingMessage["headers"] }[] = [];
/** Connections that are closed at their next request, as Apache closes idle ones at a reload. */
const lastOn = new WeakSet<object>();
const ask = (options: Asked): Promise<Answer> => pair.ask(options);
const raw = (text: string): Promise<string> => pair.raw(text);
const route: ProxyPair["route"] = (unit, others) => pair.route(unit, others);
const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");

beforeAll(async () => {
  apache = createHttpServer((request, response) => {
    if (lastOn.has(request.socket)) return void request.socket.destroy();
    if (request.url === "/last") lastOn.add(request.socket);
    seen.push({ method: request.method ?? "", url: request.url ?? "", headers: request.headers });
    if (request.url === "/slow") return void slow.push(() => response.end("late"));
    if (request.url === "/cut") {
      response.writeHead(200, { "content-length": "100" });
      response.write("half");
      setTimeout(() => response.socket?.destroy(), 20);
      return;
    }
    if (request.url?.startsWith("/big")) return void response.end(Buffer.alloc(8 * 1024 * 1024, "x"));
    const hash = createHash("sha256");
    let bytes = 0;
    request.on("data", (data: Buffer) => {
      hash.update(data);
      bytes += data.length;
    });
    request.on("end", () => {
      response.setHeader("x-bytes", bytes);
      if (request.url === "/chunked") {
        response.write("one ");
        response.end("two");
      } else response.end(hash.digest("hex"));
    });
  });
  new WebSocketServer({ server: apache }).on("connection", (socket) => socket.on("message", (data) => socket.send(`echo ${data}`)));
  pair = await ProxyPair.start(await listen(apache as never, 0, "127.0.0.1"));
  ({ edge, home } = pair.worker);
});
afterAll(async () => {
  await pair.stop();
  await closeServer(apache);
});
beforeEach(() => {
  seen = [];
});

test("any node answers: over the edge and at home", async () => {
  for (const port of [edge.httpPort, home.httpPort]) {
    const answer = await ask({ port, path: "/x?y" });
    expect(answer.status).toBe(200);
  }
  expect(seen.map((item) => item.url)).toEqual(["/x?y", "/x?y"]);
});
test("forwarding fields are the proxy's own, a client's are dropped", async () => {
  await ask({ headers: { "x-forwarded-for": "6.6.6.6", forwarded: "for=6.6.6.6", "x-hc-unit": "site-other", proxy: "evil", connection: "close, x-secret", "x-secret": "1" } });
  const { headers } = seen[0] as (typeof seen)[number];
  expect(headers["x-forwarded-for"]).toBe("127.0.0.1");
  expect(headers["x-forwarded-host"]).toBe("wiki.localhost");
  expect(headers["forwarded"]).toBe("for=127.0.0.1;host=wiki.localhost;proto=http");
  for (const gone of ["x-hc-unit", "proxy", "x-secret"]) expect(headers[gone]).toBeUndefined();
});
test("an unknown host gets a page of the proxy's own that names nothing of the cluster", async () => {
  const answer = await ask({ host: "nobody.example" });
  expect(answer.status).toBe(404);
  expect(answer.body.toString()).toContain("No site of this cluster has this name");
  expect(answer.body.toString()).not.toMatch(/n1|n2|apache/i);
  expect((await ask({ host: "a.b.wild.example" })).status).toBe(200);
});
test.each(["constructor", "__proto__", "toString", "x.constructor"])("%s is an unknown host as any other", async (host) => {
  expect((await ask({ host })).status).toBe(404);
  expect(Object.keys(edge.state.report())).toEqual(["site-wiki"]);
});
test("8 MiB up (length and chunked) and down keep their digest, also for a slow reader", async () => {
  const body = randomBytes(8 * 1024 * 1024);
  expect((await ask({ method: "POST", body })).body.toString()).toBe(digest(body));
  expect((await ask({ method: "POST", body, headers: { "transfer-encoding": "chunked" } })).body.toString()).toBe(digest(body));
  const slow = await new Promise<number>((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port: edge.httpPort, path: "/big", headers: { host: "wiki.localhost" }, agent: false }, (response) => {
      let bytes = 0;
      response.on("data", (data: Buffer) => {
        bytes += data.length;
        response.pause();
        setImmediate(() => response.resume());
      });
      response.on("end", () => resolve(bytes));
      response.on("error", reject);
    });
    request.on("error", reject);
    request.end();
  });
  expect(slow).toBe(8 * 1024 * 1024);
});
test("keep-alive: several requests on one connection, pipelined", async () => {
  const back = await raw("GET /1 HTTP/1.1\r\nHost: wiki.localhost\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: wiki.localhost\r\n\r\nGET /3 HTTP/1.1\r\nHost: wiki.localhost\r\nConnection: close\r\n\r\n");
  expect(back.match(/HTTP\/1\.1 200/g)).toHaveLength(3);
  expect(seen.map((item) => item.url)).toEqual(["/1", "/2", "/3"]);
});
test.each<[string, Buffer | undefined]>([["GET", undefined], ["POST", undefined], ["POST", Buffer.from("x=1")], ["PUT", Buffer.from("x=1")]])("%s with body %j: no request fails when Apache closes the connection that was to be used again", async (method, body) => {
  expect((await ask({ path: "/last", port: home.httpPort })).status).toBe(200);
  expect((await ask({ method, path: "/next", port: home.httpPort, ...(body === undefined ? {} : { body }) })).status).toBe(200);
  expect(seen.map(({ url }) => url)).toEqual(["/last", "/next"]);
});
test("an HTTP/1.0 client gets a chunked answer without chunks", async () => {
  const back = await raw("GET /chunked HTTP/1.0\r\nHost: wiki.localhost\r\n\r\n");
  expect(back).not.toMatch(/transfer-encoding/i);
  expect(back.split("\r\n\r\n")[1]).toBe("one two");
});
test("Expect: 100-continue", async () => {
  const body = Buffer.from("hello");
  const answer = await new Promise<string>((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port: edge.httpPort, method: "POST", headers: { host: "wiki.localhost", expect: "100-continue", "content-length": "5" }, agent: false }, (response) => {
      response.setEncoding("utf8");
      response.on("data", resolve);
    });
    request.on("continue", () => request.end(body));
    request.on("error", reject);
    request.flushHeaders();
  });
  expect(answer).toBe(digest(body));
});
test("WebSocket through the edge", async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${edge.httpPort}/ws`, { headers: { host: "wiki.localhost" } });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const back = new Promise<string>((resolve) => socket.once("message", (data) => resolve(String(data))));
  socket.send("hi");
  expect(await back).toBe("echo hi");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.close();
  await closed;
});
test("an answer that is cut short ends in a reset, never a clean end", async () => {
  await expect(ask({ path: "/cut" })).rejects.toThrow();
});
test("malformed requests are refused and closed", async () => {
  for (const text of ["GET / HTTP/1.1\nHost: a\n\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "\x16\x03\x01\r\n\r\n"]) expect(await raw(text)).toMatch(/^HTTP\/1\.1 400 /);
  expect(seen).toHaveLength(0);
});
test("a closed gate holds the request at the edge until the picture changes; it then runs once at the new home", async () => {
  await route({ open: false });
  const waiting = ask({ method: "POST", body: Buffer.from("a"), path: "/held" });
  await until(() => edge.state.held.size === 1);
  expect(seen).toHaveLength(0);
  await route({ home: "n1", epoch: 2 });
  expect((await waiting).status).toBe(200);
  expect(seen.map((item) => item.url)).toEqual(["/held"]);
  expect(edge.state.held.size).toBe(0);
  await route({});
});
test.each(["edge", "home"] as const)("what ran when the gate closed is answered, over the %s", async (at) => {
  const waiting = ask({ method: "POST", path: "/slow", port: { edge, home }[at].httpPort });
  await until(() => slow.length === 1);
  await route({ open: false });
  for (const go of slow.splice(0)) go();
  expect([(await waiting).status, seen.length]).toEqual([200, 1]);
  await route({});
});
test.each(["edge", "home"] as const)("a hold over the %s: what runs ends, the worker says so, nothing new begins, and all run once it is released", async (at) => {
  const port = { edge, home }[at].httpPort;
  const heard = (): unknown[] => pair.held("home");
  const before = heard().length;
  const running = ask({ method: "POST", path: "/slow", port });
  await until(() => slow.length === 1);
  pair.hold("home", ["site-wiki"]);
  await until(() => heard().length === before + 1);
  const waiting = ["/a", "/b"].map((path) => ask({ method: "POST", path, port, body: Buffer.from("x") }));
  await until(() => ({ edge, home })[at].state.held.size === 2);
  for (const go of slow.splice(0)) go();
  expect((await running).status).toBe(200);
  await until(() => heard().length === before + 2);
  expect(heard().slice(before)).toEqual([{ "site-wiki": 1 }, { "site-wiki": 0 }]);
  expect(seen.map(({ url }) => url)).toEqual(["/slow"]);
  pair.hold("home", []);
  expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200]);
  expect(seen.map(({ url }) => url).sort()).toEqual(["/a", "/b", "/slow"]);
});
test("a hold of a control process that died ends by itself", async () => {
  pair.hold("home", ["site-wiki"], 300);
  await until(() => home.state.routes.isHeld("site-wiki"));
  const began = monotonicMs();
  expect((await ask({ path: "/held" })).status).toBe(200);
  expect(monotonicMs() - began).toBeLessThan(5_000);
  pair.hold("home", []);
});
test("a control process that has just started leaves held what the one before held, until it has adopted it", async () => {
  pair.hold("home", ["site-wiki"]);
  await until(() => home.state.routes.isHeld("site-wiki"));
  const held = ask({ path: "/held" });
  await until(() => edge.state.held.size === 1);
  pair.control.home.push({ type: "deadline", ms: monotonicMs() + 600_000, keepHolds: true });
  await route({}); // what was told before it has arrived
  expect([home.state.routes.isHeld("site-wiki"), seen]).toEqual([true, []]);
  pair.control.home.push({ type: "deadline", ms: monotonicMs() + 600_000 });
  expect((await held).status).toBe(200);
});
test("a request at a home that is one no more is let go of at once: what may run twice goes to the new home, the rest fails", async () => {
  const asked = (method: string): Promise<Answer> => ask({ method, path: "/slow" });
  const [get, post] = [asked("GET"), asked("POST")];
  await until(() => slow.length === 2);
  await route({ home: "n1", epoch: 2 });
  await until(() => slow.length === 3); // at the new home; the old one never answers
  expect((await post).status).toBe(502);
  (slow[2] as () => void)();
  expect((await get).status).toBe(200);
  expect(seen.map(({ method }) => method).sort()).toEqual(["GET", "GET", "POST"]);
  for (const go of slow.splice(0)) go();
  await route({});
});
test("a home runs nothing of a request with a body before the body comes: a lost verdict does not make it run", async () => {
  const keys = pair.pki.of("n1");
  const say = (text: string): Promise<{ verdict: string; send(more: string): void; end(): Promise<unknown>; answer(): Promise<string> }> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({ host: "127.0.0.1", port: home.peerPort, rejectUnauthorized: false, cert: readFileSync(keys.cert), key: readFileSync(keys.key) }, () => socket.write(text));
      socket.on("error", reject);
      socket.once("data", (data) => {
        const answer = new Promise<string>((done) => socket.once("data", (more) => done(more.toString())));
        resolve({ verdict: data.toString(), send: (more) => void socket.write(more), end: () => new Promise((ended) => socket.once("close", ended).destroy()), answer: () => answer });
      });
    });
  const prelude = `HC1 site-wiki ${pair.tables.home.units["site-wiki"]?.epoch} 127.0.0.1 http\r\n`;
  const head = (path: string): string => `POST ${path} HTTP/1.1\r\nHost: wiki.localhost\r\nContent-Length: 3\r\n\r\n`;
  const lost = await say(`${prelude}${head("/lost")}`);
  expect(lost.verdict).toBe("HC1 accepted\r\n");
  await lost.end();
  const kept = await say(`${prelude}${head("/kept")}`);
  kept.send("abc");
  expect(await kept.answer()).toMatch(/^HTTP\/1\.1 200 /);
  await until(() => home.state.inFlight("site-wiki") === 0);
  expect(seen.map(({ url }) => url)).toEqual(["/kept"]);
});
test("after a planned move the answers of the home before are still good", async () => {
  const waiting = ask({ method: "POST", path: "/slow" });
  await until(() => slow.length === 1);
  // the edge hears of the new home before the answer comes; the home itself, whose gate is the authority, does not yet
  const { revision } = pair.tables.edge;
  pair.control.edge.push({ type: "routes", table: { ...pair.tables.edge, revision: `${revision}0`, units: { "site-wiki": { home: "n1", epoch: 2, since: 1, open: true } } } });
  await until(() => edge.state.routes.table?.revision === `${revision}0`);
  for (const go of slow.splice(0)) go();
  expect((await waiting).status).toBe(200);
  await route({});
});
test("a home that gives no verdict: what it cannot have run waits at the edge and runs once at the new home", async () => {
  // it takes connections and requests, and says nothing, as a stopped process does
  const keys = pair.pki.of("n2");
  const taken: string[] = [];
  const hung = createTlsServer({ ca: readFileSync(keys.ca), cert: readFileSync(keys.cert), key: readFileSync(keys.key), requestCert: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (data) => taken.push(...(data.toString("latin1").match(/(GET|POST|PUT) \S+/g) ?? [])));
  });
  const port = await listen(hung as never, 0, "127.0.0.1");
  await route({ home: "n2" }, { n2: { addresses: ["127.0.0.1"], port } });
  const [get, post, bare] = [ask({ path: "/get" }), ask({ method: "POST", path: "/body", body: Buffer.from("x") }), ask({ method: "POST", path: "/bare" })];
  await until(() => taken.length === 3);
  await route({ home: "n1", epoch: 2 });
  expect([(await get).status, (await post).status, (await bare).status]).toEqual([200, 200, 502]);
  expect(seen.map(({ url }) => url).sort()).toEqual(["/body", "/get"]);
  hung.close();
  await route({});
});
test.each(["edge", "home"] as const)("a unit with its share of Apache's workers taken waits at the %s and runs when one is free", async (at) => {
  const port = { edge, home }[at].httpPort;
  const others = Array.from({ length: limits.inFlightPerUnit }, () => ({ absorb: () => undefined }));
  for (const other of others) home.state.begin("site-wiki", other);
  const waiting = ask({ port, path: "/full" });
  await until(() => ({ edge, home })[at].state.held.size === 1);
  expect(seen).toHaveLength(0);
  for (const other of others) home.state.end("site-wiki", other);
  expect((await waiting).status).toBe(200);
  expect(home.state.inFlight("site-wiki")).toBe(0);
});
test("a full public port leaves the way between the nodes open", async () => {
  home.state.connections += limits.connections;
  try {
    await expect(ask({ port: home.httpPort })).rejects.toThrow();
    expect((await ask({ path: "/over-the-edge" })).status).toBe(200);
  } finally {
    home.state.connections -= limits.connections;
  }
});
test("strangers who connect to the peer port and say nothing take a bounded number of places, and keep no node out", async () => {
  const mostUnproven = 5;
  jest.replaceProperty(limits, "peerHandshakes", mostUnproven as never);
  jest.replaceProperty(limits, "handshakeMs", 600_000 as never);
  const own = await startWorker({ httpPort: 0, peerPort: 0, channel: `${pair.pki.folder}/none`, pki: pair.pki.of("n2"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" } });
  own.state.routes.setTable(pair.tables.home); // both nodes have 127.0.0.1
  const sockets: Socket[] = [];
  const silent = (): Socket => {
    const socket = connect({ host: "127.0.0.1", port: own.peerPort, localAddress: "127.0.0.2" });
    sockets.push(socket.on("error", () => undefined));
    return socket;
  };
  const keys = pair.pki.of("n1");
  const proven = (localAddress: string): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connectTls({ socket: connect({ host: "127.0.0.1", port: own.peerPort, localAddress }).on("error", () => undefined), rejectUnauthorized: false, cert: readFileSync(keys.cert), key: readFileSync(keys.key) }, () => socket.write("HC1 site-wiki 1 127.0.0.1 http\r\nGET / HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n"));
      sockets.push(socket.on("data", () => resolve(true)).on("error", () => undefined).on("close", () => resolve(false)));
    });
  try {
    // who has shown a certificate takes no place of those
    for (let count = 1; count <= 2 * mostUnproven; count += 1) expect(await proven("127.0.0.2")).toBe(true);
    const waiting = Array.from({ length: mostUnproven }, silent);
    await until(() => own.state.peerConnections === 3 * mostUnproven);
    const refused = Array.from({ length: 20 }, silent);
    await until(() => refused.every(({ destroyed }) => destroyed));
    expect([own.state.peerConnections, waiting.filter(({ destroyed }) => destroyed)]).toEqual([3 * mostUnproven, []]);
    expect([await proven("127.0.0.2"), await proven("127.0.0.1")]).toEqual([false, true]);
    for (const socket of waiting) socket.destroy();
    await until(() => own.state.peerConnections === 2 * mostUnproven + 1);
    expect(await proven("127.0.0.2")).toBe(true);
    // and all together no more than the port has
    own.state.peerConnections += limits.peerConnections;
    expect(await proven("127.0.0.1")).toBe(false);
    own.state.peerConnections -= limits.peerConnections;
    silent();
    await until(() => own.state.peerConnections === 2 * mostUnproven + 3);
  } finally {
    // the silent one too: it ends with the worker, which waits for all
    await own.stop();
    await until(() => own.state.peerConnections === 0);
    for (const socket of sockets) socket.destroy();
    jest.restoreAllMocks();
  }
});
test("past the deadline the home serves nobody, and does again when it is renewed (OWNERSHIP 5)", async () => {
  const own = await startWorker({ httpPort: 0, peerPort: 0, channel: pair.control.home.path + ".none", pki: pair.pki.of("n2"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" } });
  own.state.routes.setTable(pair.tables.home);
  own.state.routes.setDeadline(monotonicMs() - 1);
  const waiting = ask({ port: own.httpPort, path: "/fenced" });
  await until(() => own.state.held.size === 1);
  expect(seen).toHaveLength(0);
  own.state.routes.setDeadline(monotonicMs() + 60_000);
  expect((await waiting).status).toBe(200);
  await own.stop();
});
test("the peer port takes only proxies of the edge CA, and only under their own name", async () => {
  const other = await edgePki(["n1"]);
  const attempt = (keys: object): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTls({ host: "127.0.0.1", port: home.peerPort, rejectUnauthorized: false, ...keys });
      socket.on("secureConnect", () => socket.write("HC1 site-wiki 1 127.0.0.1 http\r\nGET / HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n"));
      socket.on("data", (data) => resolve(data.toString()));
      socket.on("error", () => resolve("refused"));
      socket.on("close", () => resolve("refused"));
    });
  const pem = (keys: { cert: string; key: string }): object => ({ cert: readFileSync(keys.cert), key: readFileSync(keys.key) });
  expect(await attempt({})).toBe("refused");
  expect(await attempt(pem(other.of("n1")))).toBe("refused");
  expect(await attempt(pem(pair.pki.of("n1")))).toMatch(/^HC1 accepted/);
  // the edge, for its part, refuses a home that shows another node's certificate
  const impostor = await startWorker({ httpPort: 0, peerPort: 0, channel: `${pair.pki.folder}/none`, pki: pair.pki.of("stranger"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" } });
  const table = { ...pair.tables.edge, nodes: { ...pair.tables.edge.nodes, n2: { addresses: ["127.0.0.1"], port: impostor.peerPort } } };
  expect(await new Promise((resolve) => edge.state.upstreams.peer(table, "n2", (link, error) => resolve(link ?? error)))).toMatch(/the certificate is stranger's, not n2's/);
  await impostor.stop();
});
