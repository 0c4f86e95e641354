import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type Server } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { WebSocket, WebSocketServer } from "ws";
import { AccessLog } from "../../daemon/proxy/access-log.js";
import { http2Session } from "../../daemon/proxy/http2-session.js";
import { closeServer, listen, ProxyPair, until } from "../support/proxy-pair.js";

// What two real workers (edge n1, home n2) write down of requests; node:http in Apache's place.
let apache: Server;
let pair: ProxyPair;
let folders: Record<"edge" | "home", string>;
/** Answers that "/slow" waits for. */
let slow: (() => void)[] = [];
let asked: string[] = [];

beforeAll(async () => {
  apache = createHttpServer((request, response) => {
    asked.push(request.url ?? "");
    request.resume();
    request.on("end", () => {
      if (request.url === "/slow") slow.push(() => response.end("late"));
      else if (request.url === "/missing") response.writeHead(404).end("none");
      else if (request.url === "/broken") request.socket.destroy();
      else if (request.url === "/cut") {
        response.writeHead(200, { "content-length": "100" });
        response.write("half", () => setTimeout(() => response.socket?.destroy(), 20));
      } else response.end(request.method === "HEAD" ? undefined : "x".repeat(Number(request.url?.slice(1)) || 0));
    });
  });
  new WebSocketServer({ server: apache }).on("connection", (socket) => socket.on("message", (data) => socket.send(`echo ${data}`)));
  pair = await ProxyPair.start(await listen(apache as never, 0, "127.0.0.1"));
  const base = mkdtempSync(join(tmpdir(), "hc-access-"));
  folders = { edge: mkdtempSync(join(base, "n1-")), home: mkdtempSync(join(base, "n2-")) };
  for (const at of ["edge", "home"] as const) pair.worker[at].state.accessLog = new AccessLog(folders[at], pair.worker[at].state.log);
});
afterAll(async () => {
  await pair.stop();
  await closeServer(apache);
});
beforeEach(async () => {
  for (const at of ["edge", "home"] as const) {
    await pair.worker[at].state.accessLog?.stop();
    for (const name of readdirSync(folders[at])) rmSync(join(folders[at], name));
  }
  [slow, asked] = [[], []];
});
afterEach(() => pair.hold("home", []));

const lines = async (unit = "site-wiki", at: "edge" | "home" = "edge"): Promise<string[]> => {
  await pair.worker[at].state.accessLog?.stop();
  return readdirSync(folders[at]).includes(`${unit}.log`) ? readFileSync(join(folders[at], `${unit}.log`), "latin1").split("\n").slice(0, -1) : [];
};
/** The first line that says so: what ends a connection is told a moment later. */
async function line(pattern: RegExp): Promise<string> {
  for (let i = 0; i < 1000; i += 1) {
    const found = (await lines()).find((one) => pattern.test(one));
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`no line ${pattern}: ${(await lines()).join("\n")}`);
}

test("the node that has the client writes a line a request; the home writes none", async () => {
  await pair.ask({ path: "/5", headers: { referer: "http://from.example/", "user-agent": "test \"1\"" } });
  expect((await lines())[0]).toMatch(/^127\.0\.0\.1 - - \[\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET \/5 HTTP\/1\.1" 200 5 "http:\/\/from\.example\/" "test \\"1\\"" ms=\d+ held=0 home=n2 edge=n1 scheme=http host=wiki\.localhost$/);
  expect(await lines("site-wiki", "home")).toEqual([]);
  await pair.ask({ path: "/6", port: pair.port("home") });
  expect((await lines("site-wiki", "home"))[0]).toMatch(/"GET \/6 HTTP\/1\.1" 200 6 .* home=n2 edge=n2 /);
});
test("requests of one connection, sent at once: each with its own status and bytes (chunk sizes are counted)", async () => {
  await pair.raw("GET /1 HTTP/1.1\r\nHost: wiki.localhost\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: wiki.localhost\r\n\r\nGET /missing HTTP/1.1\r\nHost: x.wild.example\r\n\r\nPOST /3 HTTP/1.1\r\nHost: wiki.localhost\r\nContent-Length: 2\r\n\r\nabGET /4 HTTP/1.0\r\nHost: wiki.localhost\r\n\r\n");
  expect((await lines()).map((one) => /"([^"]*)" (\S+ \S+) .* host=(.*)$/.exec(one)?.slice(1).join(" | "))).toEqual([
    "GET /1 HTTP/1.1 | 200 1 | wiki.localhost", "HEAD /2 HTTP/1.1 | 200 - | wiki.localhost", "GET /missing HTTP/1.1 | 404 14 | x.wild.example", "POST /3 HTTP/1.1 | 200 3 | wiki.localhost", "GET /4 HTTP/1.0 | 200 4 | wiki.localhost",
  ]);
});
test("no client's words make a line of their own", async () => {
  await pair.raw("GET /\"\\x HTTP/1.1\r\nHost: wiki.localhost\r\nUser-Agent: a\" 200 1 \xe9\t\\\r\nConnection: close\r\n\r\n");
  expect((await lines()).map((one) => one.replace(/\[.*?\]/, ""))).toEqual([expect.stringMatching(/^127\.0\.0\.1 - - {2}"GET \/\\"\\\\x HTTP\/1\.1" 200 - "-" "a\\" 200 1 \\xe9\\x09\\\\" ms=/)]);
});
test("answers of the proxy's own are told: 502, 413, a body that was not sent whole, no home", async () => {
  await pair.ask({ path: "/broken", method: "POST" });
  expect(await line(/"POST \/broken /)).toMatch(/" 502 \d+ .* home=n2 /);
  const room = pair.worker.edge.state.spoolRoom as { diskPerRequest: number };
  const before = room.diskPerRequest;
  room.diskPerRequest = 1000;
  await pair.raw(`POST /large HTTP/1.1\r\nHost: wiki.localhost\r\nTransfer-Encoding: chunked\r\n\r\n61a80\r\n${"x".repeat(400_000)}\r\n0\r\n\r\n`);
  room.diskPerRequest = before;
  expect(await line(/"POST \/large /)).toMatch(/" 413 \d+ .* home=- /);
  await new Promise<void>((resolve) => {
    const socket = connect(pair.port("edge"), "127.0.0.1", () => socket.end("POST /short HTTP/1.1\r\nHost: wiki.localhost\r\nContent-Length: 10\r\n\r\nabc"));
    socket.resume().on("close", () => resolve());
  });
  expect(await line(/"POST \/short /)).toMatch(/" 400 \d+ .* home=- /);
  expect(asked).toEqual(["/broken"]);
});
test("a site that nobody has, and what is no request, are in no log", async () => {
  await pair.ask({ host: "nobody.example" });
  await pair.raw("nonsense\r\n\r\n");
  await lines();
  expect(readdirSync(folders.edge)).toEqual([]);
});
test("a client that goes before its answer is a 499, one whose answer was cut has its status and what it got", async () => {
  const socket = connect(pair.port("edge"), "127.0.0.1", () => socket.write("GET /slow HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n"));
  await until(() => slow.length === 1);
  socket.resetAndDestroy(); // one that just closes its half may still want its answer
  expect(await line(/"GET \/slow /)).toMatch(/" 499 - .* home=n2 /);
  await pair.raw("GET /cut HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n").catch(() => undefined);
  expect(await line(/"GET \/cut /)).toMatch(/" 200 4 /);
  expect(await lines()).toHaveLength(2);
});
test("what was held says how long", async () => {
  pair.hold("home", ["site-wiki"]);
  await until(() => pair.worker.home.state.routes.isHeld("site-wiki"));
  const answer = pair.ask({ path: "/7" });
  await until(() => pair.worker.edge.state.held.size === 1);
  const sinceMs = performance.now();
  await until(() => performance.now() - sinceMs > 30);
  pair.hold("home", []);
  expect((await answer).status).toBe(200);
  const [, ms, held] = /ms=(\d+) held=(\d+)/.exec(await line(/"GET \/7 /)) as RegExpExecArray;
  expect(Number(held)).toBeGreaterThanOrEqual(30);
  expect(Number(ms)).toBeGreaterThanOrEqual(Number(held));
});
test("a WebSocket is told at its end", async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${pair.port("edge")}/ws`, { headers: { host: "wiki.localhost" } });
  await new Promise((resolve) => socket.on("open", resolve));
  expect(await lines()).toEqual([]);
  socket.close();
  expect(await line(/"GET \/ws /)).toMatch(/" 101 - /);
});
test("a site whose property says so is not logged; it is from the next request on", async () => {
  await pair.route({ accessLog: false });
  await pair.ask({ path: "/1" });
  expect(await lines()).toEqual([]);
  await pair.route({});
  await pair.ask({ path: "/2" });
  expect(await lines()).toHaveLength(1);
});
test("HTTP/2: streams are requests as any other's", async () => {
  const { state } = pair.worker.edge;
  const keys = pair.pki.of("n1");
  const [chain, key] = [readFileSync(keys.cert, "utf8"), readFileSync(keys.key, "utf8")];
  state.tls.update({ certificates: { own: { chain, key } }, names: { "wiki.localhost": "own" } });
  const front = createTlsServer({ cert: chain, key, ALPNProtocols: ["h2"] }, (socket) => http2Session(state, socket));
  const session = connectHttp2(`https://127.0.0.1:${await listen(front as never, 0, "127.0.0.1")}`, { rejectUnauthorized: false });
  const ask = (headers: Record<string, string>): Promise<void> => new Promise((resolve) => {
    const stream = session.request({ ":authority": "wiki.localhost", ...headers });
    stream.resume().on("close", () => resolve());
  });
  await ask({ ":path": "/8", "user-agent": "h2" });
  await ask({ ":path": "/missing" });
  await ask({ ":path": "/x", ":authority": "x.wild.example" }); // no certificate of its own: 421
  expect(await line(/"GET \/8 /)).toMatch(/"GET \/8 HTTP\/2\.0" 200 8 "-" "h2" ms=\d+ held=0 home=n2 edge=n1 scheme=https host=wiki\.localhost$/);
  expect(await line(/"GET \/missing HTTP\/2\.0" 404 4 /)).toBeDefined();
  expect(await line(/"GET \/x HTTP\/2\.0" 421 /)).toMatch(/ home=- /);
  const gone = session.request({ ":authority": "wiki.localhost", ":path": "/slow" }).on("error", () => undefined);
  await until(() => slow.length === 1);
  gone.close(8);
  expect(await line(/"GET \/slow HTTP\/2\.0"/)).toMatch(/" 499 - /);
  session.destroy();
  front.close();
});
