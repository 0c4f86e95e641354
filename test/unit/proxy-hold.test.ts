import { createHash, randomBytes } from "node:crypto";
import { createServer as createHttpServer, request as httpRequest, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import { machineMs } from "../../daemon/lib/clock.js";
import { limits } from "../../daemon/proxy/limits.js";
import type { RouteTable, UnitRoute } from "../../daemon/proxy/routes.js";
import { startWorker } from "../../daemon/proxy/worker.js";
import { closeServer, type Answer, type At, listen, ProxyPair, until } from "../support/proxy-pair.js";
import { workerControl } from "../support/worker-control.js";

// What a hold does to requests that are slow on either side, to WebSockets, and to many at once. Real workers, node:http in Apache's place.
let apache: Server;
let pair: ProxyPair;
let seen: string[] = [];
/** Bodies of the requests that came, by path. */
const bodies = new Map<string, string>();
const answers = new Map<string, Buffer>();
let apacheDone: string[] = [];
/** Answers "/gated". */
let open: () => void = () => undefined;
/** Open the WebSockets that wait at "/late-ws". */
const late: (() => void)[] = [];
const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");

beforeAll(async () => {
  apache = createHttpServer((request, response) => {
    const url = request.url ?? "";
    seen.push(url);
    const hash = createHash("sha256");
    request.on("data", (data: Buffer) => hash.update(data));
    request.on("end", () => {
      bodies.set(url, hash.digest("hex"));
      if (url === "/gated") open = () => response.end("gated");
      else response.end(answers.get(url) ?? url);
    });
    response.on("finish", () => apacheDone.push(url));
  });
  new WebSocketServer({ server: apache, verifyClient: ({ req }, done) => void (req.url === "/late-ws" ? late.push(() => done(true)) : done(true)) }).on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  pair = await ProxyPair.start(await listen(apache as never, 0, "127.0.0.1"));
});
afterAll(async () => {
  await pair.stop();
  await closeServer(apache);
});
beforeEach(() => {
  seen = [];
  apacheDone = [];
});
afterEach(() => {
  jest.restoreAllMocks();
  pair.hold("home", []);
});

/** Closes the site's gate; settles when its worker says that nothing runs. */
async function drained(): Promise<void> {
  const before = pair.held("home").length;
  pair.hold("home", ["site-wiki"]);
  await until(() => pair.held("home").slice(before).some((units) => units?.["site-wiki"] === 0));
}
/** A POST whose body is sent in two halves; the second one when `finish` is called. */
function halfSent(at: At, path: string, body: Buffer, headers: Record<string, string> = {}): { answer: Promise<Answer>; finish(): void } {
  const half = body.length >> 1;
  let finish: () => void = () => undefined;
  const answer = new Promise<Answer>((resolve, reject) => {
    const request = httpRequest({ host: "127.0.0.1", port: pair.port(at), method: "POST", path, headers: { host: "wiki.localhost", "content-length": String(body.length), ...headers }, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }));
    });
    request.on("error", reject);
    request.write(body.subarray(0, half));
    finish = () => request.end(body.subarray(half));
  });
  return { answer, finish: () => finish() };
}
/** A client that has asked and does not read. */
function lazy(at: At, path: string): Promise<{ socket: Socket; read(): Promise<Buffer> }> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: pair.port(at), host: "127.0.0.1" }, () => {
      socket.pause();
      socket.write(`GET ${path} HTTP/1.1\r\nHost: wiki.localhost\r\nConnection: close\r\n\r\n`);
      resolve({
        socket,
        read: () =>
          new Promise((done, failed) => {
            const parts: Buffer[] = [];
            socket.on("data", (part: Buffer) => parts.push(part));
            socket.on("end", () => done(Buffer.concat(parts)));
            socket.on("error", failed);
            socket.resume();
          }),
      });
    });
    socket.once("error", reject);
  });
}
const bodyOf = (whole: Buffer): Buffer => whole.subarray(whole.indexOf("\r\n\r\n") + 4);

test.each<[At, number]>([["edge", 1000], ["home", 1000], ["edge", 3_000_000], ["home", 3_000_000]])("a slow sender at the %s (%d bytes) holds up no drain, and its request runs once, with its body", async (at, bytes) => {
  const body = randomBytes(bytes);
  const path = `/slow-sender-${at}-${bytes}`;
  const { answer, finish } = halfSent(at, path, body);
  await drained();
  finish();
  await until(() => pair.worker[at].state.held.size === 1);
  expect(seen).toEqual([]);
  pair.hold("home", []);
  expect((await answer).status).toBe(200);
  expect([seen, bodies.get(path)]).toEqual([[path], digest(body)]);
  expect(pair.worker[at].state.spoolRoom).toMatchObject({ memory: 0, disk: 0 });
});

test.each<At>(["edge", "home"])("a slow reader at the %s holds up no drain, and gets all of its answer after it", async (at) => {
  const path = `/slow-reader-${at}`;
  answers.set(path, randomBytes(24 * 1024 * 1024));
  const client = await lazy(at, path);
  await until(() => seen.length === 1);
  expect(apacheDone).toEqual([]);
  await drained();
  // Apache has done its part, though nobody has read
  await until(() => apacheDone.length === 1);
  expect(pair.worker.home.state.spoolRoom.disk).toBeGreaterThan(0);
  expect(digest(bodyOf(await client.read()))).toBe(digest(answers.get(path) as Buffer));
  await until(() => pair.worker.home.state.spoolRoom.disk === 0 && pair.worker.home.state.spoolRoom.memory === 0);
});

test("a reader who goes away while his answer waits for him ends no other request, though that has his connection to Apache now", async () => {
  answers.set("/gone", randomBytes(24 * 1024 * 1024));
  const client = await lazy("home", "/gone");
  await until(() => seen.length === 1);
  await drained();
  await until(() => apacheDone.length === 1);
  const other = pair.ask({ port: pair.port("home"), host: "other.localhost", path: "/gated" });
  await until(() => seen.length === 2);
  client.socket.resetAndDestroy();
  await until(() => pair.worker.home.state.spoolRoom.disk === 0);
  open();
  expect((await other).body.toString()).toBe("gated");
});

test("where there is no room for an answer its backend waits for its reader as always", async () => {
  answers.set("/no-room", randomBytes(24 * 1024 * 1024));
  const { spoolRoom } = pair.worker.home.state;
  spoolRoom.diskPerRequest = 1024 * 1024;
  try {
    const client = await lazy("home", "/no-room");
    await until(() => seen.length === 1);
    const before = pair.held("home").length;
    pair.hold("home", ["site-wiki"]);
    await until(() => pair.held("home").length > before);
    expect(pair.held("home").at(-1)).toEqual({ "site-wiki": 1 });
    expect(digest(bodyOf(await client.read()))).toBe(digest(answers.get("/no-room") as Buffer));
    await until(() => pair.held("home").at(-1)?.["site-wiki"] === 0);
    expect(spoolRoom).toMatchObject({ memory: 0, disk: 0 });
  } finally {
    spoolRoom.diskPerRequest = limits.spoolDiskPerRequest;
  }
});

test("a body that is too large for the disk goes through as it comes; one of unknown length that grows too large is refused", async () => {
  const body = randomBytes(2_000_000);
  const { spoolRoom } = pair.worker.edge.state;
  spoolRoom.diskPerRequest = 500_000;
  try {
    const { answer, finish } = halfSent("edge", "/streamed", body);
    await until(() => seen.length === 1);
    finish();
    expect([(await answer).status, bodies.get("/streamed")]).toEqual([200, digest(body)]);
    expect((await pair.ask({ method: "POST", path: "/grown", body, headers: { "transfer-encoding": "chunked" } })).status).toBe(413);
    expect(seen).toEqual(["/streamed"]);
    expect(spoolRoom).toMatchObject({ memory: 0, disk: 0 });
  } finally {
    spoolRoom.diskPerRequest = limits.spoolDiskPerRequest;
  }
});

test("no disk for a body: 503, nothing runs", async () => {
  const { spoolRoom } = pair.worker.edge.state;
  const { folder } = spoolRoom;
  spoolRoom.folder = `${folder}/none`;
  try {
    expect((await pair.ask({ method: "POST", path: "/no-disk", body: randomBytes(2_000_000) })).status).toBe(503);
    expect(seen).toEqual([]);
    expect(spoolRoom).toMatchObject({ memory: 0, disk: 0 });
  } finally {
    spoolRoom.folder = folder;
  }
});

test.each<At>(["edge", "home"])("a WebSocket at the %s is told to come again (1012), and holds up no drain", async (at) => {
  const socket = new WebSocket(`ws://127.0.0.1:${pair.port(at)}/ws`, { headers: { host: "wiki.localhost" } });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const echoed: Buffer[] = [];
  socket.on("message", (data: Buffer) => echoed.push(data));
  const sent = Array.from({ length: 20 }, (_, at) => randomBytes(1 + at * 4_000));
  for (const message of sent) socket.send(message);
  await until(() => echoed.length >= 5);
  const closed = new Promise<number>((resolve) => socket.once("close", resolve));
  await drained();
  expect(await closed).toBe(1012);
  // whole messages, in their order
  expect(echoed.map(digest)).toEqual(sent.slice(0, echoed.length).map(digest));
});

test.each<At>(["edge", "home"])("a WebSocket at the %s whose backend opens it after the hold is told so too", async (at) => {
  const socket = new WebSocket(`ws://127.0.0.1:${pair.port(at)}/late-ws`, { headers: { host: "wiki.localhost" } });
  const closed = new Promise<number>((resolve, reject) => socket.once("close", resolve).once("error", reject));
  await until(() => late.length === 1);
  const before = pair.held("home").length;
  const heard = (): Record<string, number>[] => pair.held("home").slice(before);
  pair.hold("home", ["site-wiki"]);
  await until(() => heard().length > 0);
  expect(heard()).toEqual([{ "site-wiki": 1 }]);
  late.pop()?.();
  await until(() => heard().length > 1);
  expect([heard(), await closed]).toEqual([[{ "site-wiki": 1 }, { "site-wiki": 0 }], 1012]);
});

/** Nobody listens in the place of the home's Apache until `back` is called. `tried`: how often a request did not reach it, and what becomes of that is decided. */
async function apacheAway(): Promise<{ tried(): number; back(): Promise<void> }> {
  const { home } = pair.worker;
  const { table } = home.state.routes;
  if (table === undefined) throw new Error("no table");
  const place = createHttpServer((request, response) => apache.emit("request", request, response)).on("upgrade", (...args) => apache.emit("upgrade", ...args));
  const port = await listen(place as never, 0, "127.0.0.1");
  await closeServer(place);
  const { upstreams } = home.state;
  const local = upstreams.local.bind(upstreams);
  let tried = 0;
  jest.spyOn(upstreams, "local").mockImplementation((to, reached) => local(to, (...result) => {
    reached(...result);
    if (result[0] === undefined) tried += 1;
  }));
  home.state.routes.setTable({ ...table, apachePort: port });
  return {
    tried: () => tried,
    back: async () => {
      await listen(place as never, port, "127.0.0.1");
      places.push(place);
    },
  };
}
const places: Server[] = [];
afterEach(async () => {
  for (const place of places.splice(0)) {
    await closeServer(place);
    await pair.route({});
  }
});

test("what another node brought while Apache cannot be had is in flight all the time that it is tried again: a hold waits for it, and it runs within", async () => {
  const away = await apacheAway();
  const answer = pair.ask({ path: "/tried-again", method: "POST", body: Buffer.from("x") });
  await until(() => away.tried() === 1);
  const before = pair.held("home").length;
  const heard = (): Record<string, number>[] => pair.held("home").slice(before);
  pair.hold("home", ["site-wiki"]);
  await until(() => heard().length > 0 && away.tried() > 3);
  expect(heard()).toEqual([{ "site-wiki": 1 }]);
  await away.back();
  expect((await answer).status).toBe(200);
  await until(() => heard().length > 1);
  expect([heard(), seen]).toEqual([[{ "site-wiki": 1 }, { "site-wiki": 0 }], ["/tried-again"]]);
});
test("a hold that came while it paused is told to it when it runs: a WebSocket gets its goodbye", async () => {
  const away = await apacheAway();
  const socket = new WebSocket(`ws://127.0.0.1:${pair.port("edge")}/ws`, { headers: { host: "wiki.localhost" } });
  const closed = new Promise<number>((resolve, reject) => socket.once("close", resolve).once("error", reject));
  await until(() => away.tried() === 1);
  const before = pair.held("home").length;
  pair.hold("home", ["site-wiki"]);
  await until(() => pair.held("home").length > before && away.tried() > 2);
  await away.back();
  expect(await closed).toBe(1012);
  await until(() => pair.held("home").at(-1)?.["site-wiki"] === 0);
});
test("one whose gate is closed while it pauses does not run when Apache is back, and is not in flight", async () => {
  const away = await apacheAway();
  const answer = pair.ask({ path: "/left", method: "POST", body: Buffer.from("x") });
  await until(() => away.tried() === 1);
  const { state } = pair.worker.home;
  expect(state.inFlight("site-wiki")).toBe(1);
  const table = state.routes.table as RouteTable;
  // by a stop: its home and epoch are what they were
  state.routes.setTable({ ...table, units: { ...table.units, "site-wiki": { ...(table.units["site-wiki"] as UnitRoute), open: false } } });
  await away.back();
  expect([(await answer).status, state.inFlight("site-wiki"), seen]).toEqual([502, 0, []]);
});
test("while Apache cannot be had those that wait for it ask with pauses, not at each failure", async () => {
  const away = await apacheAway();
  const began = performance.now();
  const answer = pair.ask({ path: "/waits", port: pair.port("home") });
  await until(() => away.tried() > 10);
  expect(performance.now() - began).toBeGreaterThan(9 * limits.retryHeldMs);
  await away.back();
  expect((await answer).status).toBe(200);
});

test("an order that renews the deadline and holds a unit lets nothing of it go between the two", async () => {
  const line = await workerControl(`${pair.pki.folder}/own.sock`);
  const own = await startWorker({ httpPort: 0, peerPort: 0, channel: line.path, pki: pair.pki.of("n2"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" } });
  try {
    line.push({ type: "routes", table: pair.tables.home });
    await until(() => own.state.routes.table !== undefined);
    const answer = pair.ask({ port: own.httpPort, path: "/between" });
    await until(() => own.state.held.size === 1);
    line.push({ type: "deadline", ms: machineMs() + 600_000, holds: { "site-wiki": machineMs() + 60_000 } });
    const heard = (): unknown[] => line.heard.flatMap((message) => (message.type === "holding" ? [message.inFlight] : []));
    await until(() => heard().length > 0);
    expect([heard(), own.state.held.size, seen]).toEqual([[{ "site-wiki": 0 }], 1, []]);
    line.push({ type: "deadline", ms: machineMs() + 600_000 });
    expect((await answer).status).toBe(200);
  } finally {
    await own.stop();
    await line.close();
  }
});

test.each<At>(["edge", "home"])("held requests at the %s run once each; one whose client has gone does not", async (at) => {
  await drained();
  const clients = [];
  const { held } = pair.worker[at].state;
  for (let count = 1; count <= 5; count += 1) {
    clients.push(await lazy(at, `/kept-${count}`));
    await until(() => held.size === count);
  }
  clients[1]?.socket.resetAndDestroy();
  await until(() => held.size === 4);
  expect(seen).toEqual([]);
  pair.hold("home", []);
  await Promise.all(clients.filter((_, place) => place !== 1).map((client) => client.read()));
  expect([...seen].sort()).toEqual(["/kept-1", "/kept-3", "/kept-4", "/kept-5"]);
  expect(held.size).toBe(0);
});

test("5,000 held requests are all answered when the gate opens; more than that are refused; other sites are served meanwhile", async () => {
  await drained();
  const { held } = pair.worker.home.state;
  let [good, bad] = [0, 0];
  const sockets: Socket[] = [];
  const one = (): void => {
    const socket = connect({ port: pair.port("home"), host: "127.0.0.1" }, () => socket.write("GET /many HTTP/1.1\r\nHost: wiki.localhost\r\nConnection: close\r\n\r\n"));
    let back = "";
    socket.setEncoding("latin1").on("data", (data: string) => {
      back += data;
    });
    socket.on("error", () => {
      bad += 1;
    });
    socket.on("end", () => {
      if (back.startsWith("HTTP/1.1 200 ")) good += 1;
      else bad += 1;
    });
    sockets.push(socket);
  };
  for (let count = 0; count < limits.heldPerUnit; count += 250) {
    for (let at = 0; at < 250; at += 1) one();
    await until(() => held.size === count + 250);
  }
  expect((await pair.ask({ port: pair.port("home") })).status).toBe(503);
  expect((await pair.ask({ port: pair.port("home"), host: "other.localhost" })).status).toBe(200);
  expect(seen).toEqual(["/"]);
  pair.hold("home", []);
  await until(() => good + bad === limits.heldPerUnit);
  expect([good, bad, held.size]).toEqual([limits.heldPerUnit, 0, 0]);
  for (const socket of sockets) socket.destroy();
});

test("a worker that leaves takes nothing new, answers what runs, and closes connections after their next answer", async () => {
  await pair.route({ home: "n1", epoch: 2 });
  const port = pair.port("edge");
  const socket = connect({ port, host: "127.0.0.1" });
  let back = "";
  socket.setEncoding("latin1").on("data", (data: string) => {
    back += data;
  });
  const ended = new Promise((resolve) => socket.once("end", resolve));
  const get = (path: string): void => void socket.write(`GET ${path} HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n`);
  get("/before");
  await until(() => back.includes("/before"));
  const left = pair.worker.edge.leave();
  await expect(pair.ask({ port })).rejects.toThrow();
  get("/after");
  await ended;
  expect(back).toMatch(/\r\nConnection: close\r\n\r\n\/after$/);
  await left;
});
