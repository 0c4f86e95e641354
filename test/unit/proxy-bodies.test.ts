import { createCipheriv, createHash } from "node:crypto";
import { once } from "node:events";
import { Agent as HttpAgent, createServer as createHttpServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect as connectHttp2, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from "node:http2";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Readable, Writable } from "node:stream";
import { limits } from "../../daemon/proxy/limits.js";
import { TestCa } from "../support/certificates.js";
import { closeServer, type At, listen, ProxyPair, until } from "../support/proxy-pair.js";

// Large bodies both ways, slow readers and slow writers, over HTTP, HTTPS and HTTP/2, at the home and through another node, with a hold in their middle that ends where it was or at another home:
// nothing is lost, doubled or swapped. Real workers and sockets; node:http in the place of each node's Apache.
const host = "wiki.localhost";
const unit = "site-wiki";
/** More than what lies in the buffers of all sockets on the way. */
const downBytes = 24 * 1024 * 1024;
/** More than what stays in memory. */
const upBytes = 3_000_000 + 7;
const stopAt = 1_000_000;

/** The same bytes for the same name, no two pieces of them alike: AES-128 in counter mode (NIST SP 800-38A §6.5). */
function bytesOf(name: string, length: number): Buffer {
  return createCipheriv("aes-128-ctr", createHash("md5").update(name).digest(), Buffer.alloc(16)).update(Buffer.alloc(length));
}
const digest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
/** In pieces of odd sizes, as fast as they are taken; `slow`: others have a turn after each. */
async function write(to: Writable, body: Buffer, slow: boolean): Promise<void> {
  let size = 1;
  for (let at = 0; at < body.length; at += size, size = (size * 7 + 13) % 40_009) {
    if (!to.write(body.subarray(at, at + size))) await once(to, "drain");
    if (slow) await turn();
  }
}
interface Got { bytes: number; digest: string }
/** Takes a body slowly; `atMark` is called, and waited for, once `mark` bytes are there. */
async function read(body: Readable, mark = Number.POSITIVE_INFINITY, atMark: () => Promise<void> = turn): Promise<Got> {
  const hash = createHash("sha256");
  let [bytes, marked] = [0, false];
  for await (const part of body as AsyncIterable<Buffer>) {
    hash.update(part);
    bytes += part.length;
    await turn();
    if (marked || bytes < mark) continue;
    marked = true;
    await atMark();
  }
  return { bytes, digest: hash.digest("hex") };
}
function latch(): { opened: Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

interface Asked { up: Writable; answer: Promise<{ status: number; body: Readable }> }
/** One connection of a client, used for one request after the other (HTTP/2: for all of them at once). `bytes`: of a body, told to the server. */
interface Line { ask(method: "GET" | "POST", path: string, bytes?: number): Asked; close(): void }
const wires = ["HTTP", "HTTPS", "HTTP/2"] as const;
type Wire = (typeof wires)[number];

let ca: TestCa;
let pair: ProxyPair;
let apaches: Record<At, Server>;
/** What ran: at which node, which request, with which body. */
let ran: { at: At; path: string; body: string }[] = [];
let answered: string[] = [];

function http1Line(at: At, secure: boolean): Line {
  const options = { keepAlive: true, maxSockets: 1 };
  const agent = secure ? new HttpsAgent(options) : new HttpAgent(options);
  return {
    ask: (method, path, bytes) => {
      const { httpPort, httpsPort } = pair.worker[at];
      const common = { host: "127.0.0.1", agent, method, path, headers: { host, ...(bytes === undefined ? {} : { "content-length": bytes }) } };
      const up = secure ? httpsRequest({ ...common, port: httpsPort, servername: host, ca: ca.root }) : httpRequest({ ...common, port: httpPort });
      const answer = new Promise<{ status: number; body: Readable }>((resolve, reject) => void up.once("response", (body: IncomingMessage) => resolve({ status: body.statusCode ?? 0, body })).on("error", reject));
      if (method === "GET") up.end();
      return { up, answer };
    },
    close: () => agent.destroy(),
  };
}
function http2Line(at: At): Line {
  const session = connectHttp2(`https://127.0.0.1:${pair.worker[at].httpsPort}`, { servername: host, ca: ca.root });
  return {
    ask: (method, path, bytes) => {
      const up = session.request({ ":method": method, ":path": path, ":authority": host, ...(bytes === undefined ? {} : { "content-length": bytes }) }, { endStream: method === "GET" });
      const answer = new Promise<{ status: number; body: Readable }>((resolve, reject) => void up.once("response", (fields: IncomingHttpHeaders & IncomingHttpStatusHeader) => resolve({ status: fields[":status"] ?? 0, body: up })).on("error", reject));
      return { up, answer };
    },
    close: () => session.destroy(),
  };
}
/** As many lines as a client needs for so many requests at once. */
function linesTo(wire: Wire, at: At, count: number): Line[] {
  if (wire !== "HTTP/2") return Array.from({ length: count }, () => http1Line(at, wire === "HTTPS"));
  const line = http2Line(at);
  return Array.from({ length: count }, () => line);
}

/** POST: its body comes back as it comes. GET: the bytes of its path, with a length or in chunks. */
async function serve(at: At, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? "";
  const seen = { at, path, body: "" };
  ran.push(seen);
  response.on("finish", () => answered.push(path));
  const hash = createHash("sha256");
  request.on("data", (part: Buffer) => hash.update(part));
  request.on("end", () => {
    seen.body = hash.digest("hex");
  });
  if (request.method === "POST") return void request.pipe(response);
  const body = bytesOf(path, path.includes("small") ? 1000 : downBytes);
  if (!path.includes("chunked")) return void response.end(body);
  await write(response, body, false);
  response.end();
}

beforeAll(async () => {
  ca = await TestCa.create();
  const apache = (at: At): Server => createHttpServer((request, response) => void serve(at, request, response).catch(() => response.destroy()));
  apaches = { edge: apache("edge"), home: apache("home") };
  pair = await ProxyPair.start({ edge: await listen(apaches.edge as never, 0, "127.0.0.1"), home: await listen(apaches.home as never, 0, "127.0.0.1") });
  await pair.certify(host, await ca.issue([host]));
});
afterAll(async () => {
  await pair.stop();
  for (const apache of Object.values(apaches)) {
    await closeServer(apache);
  }
});

let epoch = 1;
const heard = (units: Record<string, number>[], count: number): boolean => units.some((one) => one[unit] === count);
/** Closes the unit's gate at its home; settles when its worker has said so. What is returned waits until it says that nothing of the unit runs. */
async function hold(): Promise<() => Promise<void>> {
  const before = pair.held("home").length;
  pair.hold("home", [unit]);
  await until(() => pair.held("home").length > before);
  return () => until(() => heard(pair.held("home").slice(before), 0));
}
type End = "it goes on" | "it goes to another home";
/** Opens the gate again. Returns where the unit is at home then. */
async function release(end: End): Promise<At> {
  if (end === "it goes to another home") {
    epoch += 1;
    await pair.route({ home: "n1", epoch, since: 1 });
  }
  pair.hold("home", []);
  return end === "it goes on" ? "home" : "edge";
}
/** No worker keeps anything of what went through it. */
const nothingLeft = (): Promise<void> => until(() => Object.values(pair.worker).every(({ state }) => state.spoolRoom.memory === 0 && state.spoolRoom.disk === 0 && state.held.size === 0 && Object.keys(state.allInFlight()).length === 0));

beforeEach(async () => {
  [ran, answered] = [[], []];
  epoch += 1;
  await pair.route({ epoch, since: 1 });
});
afterEach(() => pair.hold("home", []));

const cases = wires.flatMap((wire) => (["home", "edge"] as const).flatMap((at) => (["it goes on", "it goes to another home"] as const).map((end): [Wire, At, End] => [wire, at, end])));

test.each(cases)("%s at the %s, a hold after which %s: slow readers and slow writers get all of it, once", async (wire, at, end) => {
  const [lineStopped, lineSlow, lineLength, lineChunked] = linesTo(wire, at, 4) as [Line, Line, Line, Line];
  const lines = [lineStopped, lineSlow, lineLength, lineChunked];
  const name = `${wire}-${at}-${end}`.replace(/\W/g, "");
  const paths = { stopped: `/${name}/stopped-length`, slow: `/${name}/slow-chunked`, length: `/${name}/up-length`, chunked: `/${name}/up-chunked` };
  const bodies = { length: bytesOf(paths.length, upBytes), chunked: bytesOf(paths.chunked, upBytes) };
  try {
    // a reader that stops until the hold is over, and one that goes on slowly as soon as it is there
    const [marks, isHeld, isOver] = [[latch(), latch()], latch(), latch()];
    const [stopped, slow] = [lineStopped.ask("GET", paths.stopped), lineSlow.ask("GET", paths.slow)].map(async ({ answer }, place) => {
      const { status, body } = await answer;
      const got = await read(body, stopAt, () => {
        marks[place]?.open();
        return (place === 0 ? isOver : isHeld).opened;
      });
      return { status, ...got };
    });
    const ups = [lineLength.ask("POST", paths.length, upBytes), lineChunked.ask("POST", paths.chunked)] as const;
    const half = upBytes >> 1;
    await Promise.all([write(ups[0].up, bodies.length.subarray(0, half), true), write(ups[1].up, bodies.chunked.subarray(0, half), true), ...marks.map(({ opened }) => opened)]);

    const drained = await hold();
    isHeld.open();
    await drained();
    // both Apaches' parts are done, though one reader has not gone on; what had not come whole has not run
    await until(() => answered.length === 2);
    expect([...answered].sort()).toEqual([paths.slow, paths.stopped].sort());
    expect(pair.worker.home.state.spoolRoom.disk).toBeGreaterThan(0);
    await Promise.all([write(ups[0].up, bodies.length.subarray(half), true), write(ups[1].up, bodies.chunked.subarray(half), true)]);
    for (const { up } of ups) up.end();
    await until(() => pair.worker[at].state.held.size === 2);
    expect(ran.length).toBe(2);

    const now = await release(end);
    isOver.open();
    const echoes = ups.map(async ({ answer }) => {
      const { status, body } = await answer;
      return { status, ...(await read(body)) };
    });
    expect(await Promise.all([stopped, slow, ...echoes])).toEqual([
      ...[paths.stopped, paths.slow].map((path) => ({ status: 200, bytes: downBytes, digest: digest(bytesOf(path, downBytes)) })),
      ...[bodies.length, bodies.chunked].map((body) => ({ status: 200, bytes: upBytes, digest: digest(body) })),
    ]);
    // the same connections are where they should be: at the next request
    const after = await Promise.all(lines.map(async (line, place) => {
      const path = `/${name}/small-${place}`;
      const { status, body } = await line.ask("GET", path).answer;
      return [path, status, (await read(body)).digest];
    }));
    expect(after).toEqual(lines.map((_, place) => [`/${name}/small-${place}`, 200, digest(bytesOf(`/${name}/small-${place}`, 1000))]));
    const empty = digest(Buffer.alloc(0));
    expect([...ran].sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
      { at: "home", path: paths.slow, body: empty }, { at: "home", path: paths.stopped, body: empty }, { at: now, path: paths.chunked, body: digest(bodies.chunked) }, { at: now, path: paths.length, body: digest(bodies.length) },
      ...lines.map((_, place) => ({ at: now, path: `/${name}/small-${place}`, body: empty })),
    ].sort((a, b) => (a.path < b.path ? -1 : 1)));
    await nothingLeft();
  } finally {
    for (const line of lines) line.close();
  }
});

// HTTP/2 has none of these: a body for which there is no room is refused there
test.each(cases.filter(([wire]) => wire !== "HTTP/2"))("%s at the %s, a hold after which %s: a body that is too large for the disk is in flight until its slow writer has done, and its answer is whole", async (wire, at, end) => {
  const { spoolRoom } = pair.worker[at].state;
  const [line] = linesTo(wire, at, 1) as [Line];
  const path = `/${wire}-${at}-${end}/through`.replace(/[^\w/]/g, "");
  const body = bytesOf(path, upBytes);
  spoolRoom.diskPerRequest = 500_000;
  try {
    const { up, answer } = line.ask("POST", path, upBytes);
    await write(up, body.subarray(0, stopAt), true);
    await until(() => ran.length === 1);
    const drained = await hold();
    expect(pair.held("home").at(-1)).toEqual({ [unit]: 1 });
    await Promise.all([write(up, body.subarray(stopAt), true).then(() => up.end()), drained()]);
    await release(end);
    const { status, body: echo } = await answer;
    expect({ status, ...(await read(echo)) }).toEqual({ status: 200, bytes: upBytes, digest: digest(body) });
    expect(ran).toEqual([{ at: "home", path, body: digest(body) }]);
    await nothingLeft();
  } finally {
    spoolRoom.diskPerRequest = limits.spoolDiskPerRequest;
    line.close();
  }
});

test.each(wires)("%s: while room is scarce a body that trickles makes place and runs nothing; one that comes on is taken, and with room enough both are", async (wire) => {
  const { spoolRoom } = pair.worker.edge.state;
  jest.replaceProperty(limits, "paceMs", 200 as never);
  const keptBytes = 100_000;
  const [trickling, steady] = linesTo(wire, "edge", 2) as [Line, Line];
  const name = wire.replace(/\W/g, "");
  const paths = { trickles: `/${name}/trickles`, steady: `/${name}/steady` };
  const body = bytesOf(paths.steady, 2 * keptBytes);
  const lastAt = body.length - 1000;
  let others = 0;
  try {
    const [slow, fast] = [trickling.ask("POST", paths.trickles, 2 * keptBytes), steady.ask("POST", paths.steady, body.length)];
    slow.up.on("error", () => undefined); // it goes on for a moment after its answer
    slow.up.write(bytesOf(paths.trickles, keptBytes));
    fast.up.write(body.subarray(0, keptBytes));
    await until(() => spoolRoom.memory === 2 * keptBytes);
    let status: number | undefined;
    void slow.answer.then((answered) => {
      status = answered.status;
      answered.body.resume();
    }, () => undefined);
    // too few for `spoolTurnMs`, more than enough for it
    const began = performance.now();
    for (let at = keptBytes; at < lastAt || (status === undefined && at < 10 * body.length); at += 1000) {
      if (status === undefined) slow.up.write("x");
      if (at < lastAt) fast.up.write(body.subarray(at, at + 1000));
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (at !== keptBytes + 50_000) continue;
      // several turns are over, and there was room
      expect([performance.now() - began > 3 * limits.paceMs, status]).toEqual([true, undefined]);
      others = limits.spoolFullShare * limits.spoolMemory;
      spoolRoom.memory += others;
    }
    expect(status).toBe(503);
    await until(() => spoolRoom.memory - others === lastAt); // its room is there again
    fast.up.end(body.subarray(lastAt));
    const { status: good, body: echo } = await fast.answer;
    expect({ status: good, ...(await read(echo)) }).toEqual({ status: 200, bytes: body.length, digest: digest(body) });
    expect(ran.map(({ path }) => path)).toEqual([paths.steady]);
    spoolRoom.memory -= others;
    others = 0;
    await nothingLeft();
  } finally {
    spoolRoom.memory -= others;
    jest.restoreAllMocks();
    for (const line of [trickling, steady]) line.close();
  }
});
