import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingHttpHeaders, type Server } from "node:http";
import { type ClientHttp2Session, connect as connectHttp2, constants, type IncomingHttpStatusHeader, type OutgoingHttpHeaders, type Settings } from "node:http2";
import { connect, createServer, type AddressInfo } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from "node:tls";
import { fieldsOut, headOf, http2Session } from "../../daemon/proxy/http2-session.js";
import { parseResponse } from "../../daemon/proxy/http-head.js";
import { limits } from "../../daemon/proxy/limits.js";
import { closeServer, listen, ProxyPair, until } from "../support/proxy-pair.js";

// HTTP/2 at a real worker, over TLS, with node:http in Apache's place.
let apache: Server;
let pair: ProxyPair;
let front: TlsServer;
let session: ClientHttp2Session;
let seen: { method: string; url: string; headers: IncomingHttpHeaders; digest: string }[] = [];
const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
const big = randomBytes(6 * 1024 * 1024);
/** Answers that "/slow" waits for. */
const slow: (() => void)[] = [];

interface Answer { headers: IncomingHttpHeaders & IncomingHttpStatusHeader; body: Buffer }
function ask(headers: OutgoingHttpHeaders, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":authority": "wiki.localhost", ":path": "/", ...headers }, { endStream: body === undefined });
    const parts: Buffer[] = [];
    let got: Answer["headers"] = {};
    stream.on("response", (fields) => {
      got = fields;
    });
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("end", () => resolve({ headers: got, body: Buffer.concat(parts) }));
    stream.on("error", reject);
    if (body !== undefined) stream.end(body);
  });
}

beforeAll(async () => {
  apache = createHttpServer((request, response) => {
    const hash = createHash("sha256");
    request.on("data", (data: Buffer) => hash.update(data));
    request.on("end", () => {
      const url = request.url ?? "";
      seen.push({ method: request.method ?? "", url, headers: request.headers, digest: hash.digest("hex") });
      if (url === "/slow") slow.push(() => response.end("late"));
      else if (url === "/big") response.end(big);
      else if (url === "/cut") {
        response.writeHead(200, { "content-length": "100" });
        response.write("half", () => response.destroy());
      } else {
        response.setHeader("set-cookie", ["a=1", "b=2"]);
        response.write("one ");
        response.end("two");
      }
    });
  });
  pair = await ProxyPair.start(await listen(apache as never, 0, "127.0.0.1"));
  const keys = pair.pki.of("n1");
  const [chain, key] = [readFileSync(keys.cert, "utf8"), readFileSync(keys.key, "utf8")];
  pair.worker.edge.state.tls.update({ certificates: { own: { chain, key } }, names: { "wiki.localhost": "own", "nobody.example": "own" } });
  front = createTlsServer({ cert: chain, key, ALPNProtocols: ["h2"] }, (socket) => http2Session(pair.worker.edge.state, socket));
  session = connectHttp2(`https://127.0.0.1:${await listen(front as never, 0, "127.0.0.1")}`, { rejectUnauthorized: false });
});
afterAll(async () => {
  session.destroy();
  front.close();
  await pair.stop();
  await closeServer(apache);
});
beforeEach(() => {
  seen = [];
});
afterEach(() => pair.hold("home", []));

test("a request and its answer, with the proxy's own forwarding fields", async () => {
  const answer = await ask({ ":path": "/x?y", cookie: ["c=1", "d=2"], "x-forwarded-for": "6.6.6.6", "accept-encoding": "gzip" });
  expect([answer.headers[":status"], answer.body.toString(), answer.headers["set-cookie"]]).toEqual([200, "one two", ["a=1", "b=2"]]);
  for (const gone of ["transfer-encoding", "connection", "keep-alive"]) expect(answer.headers[gone]).toBeUndefined();
  expect(seen[0]).toMatchObject({ method: "GET", url: "/x?y", headers: { host: "wiki.localhost", cookie: "c=1; d=2", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "accept-encoding": "gzip" } });
});
test("many at once on one connection; a body of any size keeps its digest both ways", async () => {
  const bodies = Array.from({ length: 20 }, (_, at) => randomBytes(1 + at * 40_000));
  const answers = await Promise.all([...bodies.map((body, at) => ask({ ":method": "POST", ":path": `/${at}` }, body)), ask({ ":path": "/big" }), ask({ ":method": "HEAD", ":path": "/head" })]);
  expect(answers.map(({ headers }) => headers[":status"])).toEqual(answers.map(() => 200));
  for (const [at, body] of bodies.entries()) expect(seen.find(({ url }) => url === `/${at}`)).toMatchObject({ digest: digest(body), headers: { "content-length": String(body.length) } });
  expect(digest(answers[20]?.body as Buffer)).toBe(digest(big));
  expect(answers[21]?.body.length).toBe(0);
});
test("it is held, and runs once when the gate opens", async () => {
  pair.hold("home", ["site-wiki"]);
  await until(() => pair.worker.home.state.routes.isHeld("site-wiki"));
  const waiting = ask({ ":method": "POST", ":path": "/held" }, Buffer.from("x"));
  await until(() => pair.worker.edge.state.held.size === 1);
  expect(seen).toEqual([]);
  pair.hold("home", []);
  expect([(await waiting).headers[":status"], seen.map(({ url }) => url)]).toEqual([200, ["/held"]]);
});
test("an answer that is cut short is an error of its stream, and of no other", async () => {
  await expect(ask({ ":path": "/cut" })).rejects.toMatchObject({ code: "ERR_HTTP2_STREAM_ERROR" });
  expect((await ask({})).headers[":status"]).toBe(200);
});
test("a client that gives up a request ends it at its backend", async () => {
  const stream = session.request({ ":authority": "wiki.localhost", ":path": "/slow" });
  stream.on("error", () => undefined);
  await until(() => slow.length === 1);
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => pair.worker.home.state.inFlight("site-wiki") === 0);
  slow.pop()?.();
});
test("a body that its sender breaks off runs nothing, and harms no worker", async () => {
  for (const length of [undefined, "10"]) {
    const stream = session.request({ ":authority": "wiki.localhost", ":method": "POST", ":path": "/broken", ...(length === undefined ? {} : { "content-length": length }) });
    stream.on("error", () => undefined);
    stream.write("12345");
    await until(() => pair.worker.edge.state.spoolRoom.memory > 0);
    stream.close(constants.NGHTTP2_NO_ERROR);
    await until(() => pair.worker.edge.state.spoolRoom.memory === 0);
  }
  expect((await ask({ ":path": "/after" })).headers[":status"]).toBe(200);
  expect(seen.map(({ url }) => url)).toEqual(["/after"]);
});
test("a body for which there is no room is refused once, runs nothing and leaves its room", async () => {
  const { spoolRoom } = pair.worker.edge.state;
  const { folder } = spoolRoom;
  spoolRoom.folder = undefined;
  try {
    expect((await ask({ ":method": "POST", ":path": "/no-room" }, randomBytes(2_000_000))).headers[":status"]).toBe(503);
  } finally {
    spoolRoom.folder = folder;
  }
  expect([seen, spoolRoom.memory]).toEqual([[], 0]);
});
test("unknown hosts and what the parser refuses get the proxy's own page", async () => {
  expect((await ask({ ":authority": "nobody.example" })).headers[":status"]).toBe(404);
  expect((await ask({ ":authority": "a!b" })).headers[":status"]).toBe(400);
  expect((await ask({ expect: "wonders" })).headers[":status"]).toBe(417);
  expect(seen).toEqual([]);
});

/** A session of its own, ended with the test. */
async function apart(settings: Settings, use: (own: ClientHttp2Session) => Promise<void>, port = (front.address() as AddressInfo).port): Promise<void> {
  const own = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false, settings });
  own.on("error", () => undefined);
  try {
    await use(own);
  } finally {
    own.destroy();
    jest.restoreAllMocks();
  }
}
test.each(["an answer", "a page of the proxy's own"])("%s that a shut window keeps out for ever: its body's room is free at once, its stream ends after the idle time, its connection goes on", async (what) => {
  jest.replaceProperty(limits, "bodyIdleMs", 1_000 as never);
  const { state } = pair.worker.edge;
  if (what !== "an answer") {
    jest.replaceProperty(limits, "heldPerUnit", 0 as never);
    pair.hold("home", ["site-wiki"]);
    await until(() => pair.worker.home.state.routes.isHeld("site-wiki"));
  }
  const status = what === "an answer" ? 200 : 503;
  await apart({ initialWindowSize: 0 }, async (own) => {
    const stream = own.request({ ":authority": "wiki.localhost", ":path": "/", ":method": "POST" });
    const response = once(stream, "response");
    const closed = new Promise((resolve) => stream.on("error", () => undefined).once("close", () => resolve(stream.rstCode)));
    stream.write(randomBytes(1000));
    await until(() => state.spoolRoom.memory === 1000);
    stream.end();
    expect((await response)[0]).toMatchObject({ ":status": status });
    await until(() => state.spoolRoom.memory === 0);
    expect(await new Promise((resolve) => own.ping(resolve))).toBeNull(); // a reset of then would have come first
    expect(stream.closed).toBe(false);
    expect(await closed).toBe(constants.NGHTTP2_INTERNAL_ERROR);
    // what has no body needs no window
    expect((await once(own.request({ ":authority": "wiki.localhost", ":path": "/after", ":method": "HEAD" }), "response"))[0]).toMatchObject({ ":status": status });
  });
});
test("an answer that its reader leaves lying is reset after the idle time; the other streams of the connection go on", async () => {
  jest.replaceProperty(limits, "bodyIdleMs", 1_000 as never);
  await apart({}, async (own) => {
    const lying = own.request({ ":authority": "wiki.localhost", ":path": "/big" });
    const reset = new Promise((resolve) => lying.on("error", () => undefined).once("close", () => resolve(lying.rstCode)));
    const running = own.request({ ":authority": "wiki.localhost", ":path": "/slow" });
    let late = "";
    running.setEncoding("latin1").on("data", (part: string) => (late += part));
    await until(() => slow.length === 1);
    expect(await reset).toBe(constants.NGHTTP2_INTERNAL_ERROR);
    const ended = once(running, "end");
    slow.pop()?.();
    await ended;
    expect([late, own.destroyed]).toEqual(["late", false]);
  });
});
test("a client that reads nothing at all loses its connection after the idle time", async () => {
  jest.replaceProperty(limits, "bodyIdleMs", 1_000 as never);
  jest.replaceProperty(limits, "lingerMs", 300 as never);
  // between the two, for Node's own client reads its connection always
  let stopReading = (): void => undefined;
  const relay = createServer((client) => {
    const up = connect((front.address() as AddressInfo).port, "127.0.0.1");
    for (const [from, to] of [[client, up], [up, client]] as const) from.on("error", () => undefined).on("close", () => to.destroy()).pipe(to);
    stopReading = () => void up.unpipe().pause();
  });
  const port = await listen(relay as never, 0, "127.0.0.1");
  await ask({}); // the connection of all tests is there: the next one is this test's
  const taken = once(front, "secureConnection") as Promise<[TLSSocket]>;
  try {
    await apart({ initialWindowSize: 2 ** 30 }, async (own) => {
      const [socket] = await taken;
      await once(own, "remoteSettings");
      own.setLocalWindowSize(2 ** 30);
      stopReading();
      own.request({ ":authority": "wiki.localhost", ":path": "/big" }).on("error", () => undefined);
      await until(() => socket.destroyed);
    }, port);
  } finally {
    relay.close();
  }
});
test("a session that is over ends its connection, though its client never ends its own side", async () => {
  jest.replaceProperty(limits, "lingerMs", 300 as never);
  const { sessions } = pair.worker.edge.state;
  await ask({}); // the connection of all tests is there
  await until(() => sessions.size === 1);
  const known = new Set(sessions);
  const taken = once(front, "secureConnection") as Promise<[TLSSocket]>;
  const client = connectTls({ socket: connect({ port: (front.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true }), rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  try {
    client.on("error", () => undefined).resume();
    client.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])])); // RFC 9113 §3.4, with empty SETTINGS
    const [socket] = await taken;
    await until(() => sessions.size === known.size + 1);
    const ended = once(client, "end");
    for (const session of sessions) if (!known.has(session)) session.close();
    await ended;
    await until(() => socket.destroyed && sessions.size === known.size);
  } finally {
    client.destroy();
    jest.restoreAllMocks();
  }
});

test("heads: nothing can be smuggled into the lines of HTTP/1.1", () => {
  const good = { ":method": "GET", ":path": "/", ":authority": "a.example", ":scheme": "https" };
  expect(headOf({ ...good, te: "trailers", connection: "x" }, false)).toMatchObject({ method: "GET", host: "a.example", framing: { kind: "none" }, fields: [{ lower: "host" }] });
  expect(headOf({ ...good, ":method": "POST" }, true).framing).toEqual({ kind: "chunked" });
  expect(headOf({ ...good, ":method": "POST", "content-length": "5" }, true).framing).toEqual({ kind: "length", bytes: 5 });
  for (const bad of [{ ...good, ":path": "/ HTTP/1.1\r\nX: y" }, { ...good, x: "a\nb" }, { ...good, ":authority": "a\0" }, { ...good, host: "b.example" }, { ...good, ":method": "GET / HTTP/1.1\r\n" }, { ...good, ":path": "" }, { ...good, "x y": "1" }, { ...good, ":method": "CONNECT" }]) expect(() => headOf(bad, false)).toThrow();
  expect(() => headOf({ ...good, "content-length": "5, 6" }, true)).toThrow();
});
test("fields of an answer: one that is said twice stays one field", () => {
  const response = parseResponse(Buffer.from("HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nX-Content-Type-Options: nosniff\r\nVary: a\r\nVary: b\r\n\r\n"), "HEAD");
  expect(fieldsOut(response)).toEqual({ ":status": 200, "x-content-type-options": "nosniff", vary: "a, b" });
});
test("fields of an answer: what HTTP/2 does not know is left out, several of one name stay several", () => {
  const response = parseResponse(Buffer.from("HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nConnection: x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "GET");
  expect(fieldsOut(response)).toEqual({ ":status": 200, "set-cookie": ["a", "b"] });
});
