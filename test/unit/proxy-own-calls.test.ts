import { readFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { machineMs, systemClock } from "../../daemon/lib/clock.js";
import { onLines, type ToControl, type ToWorker } from "../../daemon/proxy/channel.js";
import { Gates, holdLeaseMs } from "../../daemon/proxy/gates.js";
import { http2Session } from "../../daemon/proxy/http2-session.js";
import { PublicSession } from "../../daemon/proxy/public-session.js";
import { createTlsListener } from "../../daemon/proxy/tls-listener.js";
import { startWorker } from "../../daemon/proxy/worker.js";
import { closeServer, listen, ProxyPair, until } from "../support/proxy-pair.js";

// Requests of a site to itself while it is held, at a real worker. This process is the site: its uid is the customer's. node:http in Apache's place; the control process is a fake line, and once the real Gates.
type Question = Extract<ToControl, { type: "own-call" }>;
const me = process.getuid?.() ?? -1;
let apache: Server;
let pair: ProxyPair;
let seen: string[] = [];
/** Ends "/a", which waits. */
let finish: () => void = () => undefined;
/** What "/calls" does before it answers. */
let call: () => Promise<string> = async () => "";
let endCall: () => void = () => undefined;
let round = 0;

beforeAll(async () => {
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    seen.push(request.url ?? "");
    if (request.url === "/big") response.end(Buffer.alloc(24 * 1024 * 1024, "x"));
    else if (request.url === "/a") finish = () => response.end("a");
    else if (request.url === "/calls") void call().then((text) => response.end(text), (error: Error) => response.end(error.message));
    else request.resume().once("end", () => response.end(request.url));
  };
  apache = createHttpServer(answer);
  pair = await ProxyPair.start(await listen(apache as never, 0, "127.0.0.1"));
  await pair.route({ uid: me });
});
afterAll(async () => {
  await pair.stop();
  await closeServer(apache);
});
beforeEach(() => {
  seen = [];
});
afterEach(async () => {
  finish();
  endCall();
  release();
  const { state } = pair.worker.home;
  await until(() => state.held.size === 0 && state.inFlight("site-wiki") === 0);
});

const home = () => pair.worker.home.state;
const tell = (message: ToWorker): void => pair.control.home.push(message);
/** `draining`: of which own calls may be asked. */
function hold(draining: string[] | undefined = ["site-wiki"], units = ["site-wiki"]): void {
  round += 1;
  tell({ type: "deadline", ms: machineMs() + 600_000, holds: Object.fromEntries(units.map((unit) => [unit, machineMs() + 60_000])), round, ...(draining === undefined ? {} : { draining }) });
}
function release(): void {
  tell({ type: "deadline", ms: machineMs() + 600_000 });
}
const heard = (): ToControl[] => pair.control.home.heard;
const questions = (): Question[] => heard().flatMap((message) => (message.type === "own-call" ? [message] : []));
/** The next question that comes. */
async function question(): Promise<Question> {
  const before = asked;
  await until(() => questions().length > before);
  asked = before + 1;
  return questions()[before] as Question;
}
let asked = 0;
function ask(path: string, port = pair.port("home")): Promise<string> {
  const answer = pair.ask({ port, path }).then(({ status, body }) => `${status} ${body}`);
  answer.catch(() => undefined); // whoever awaits it hears of it
  return answer;
}
/** A request runs, and its unit is held. */
async function heldWhileOneRuns(draining?: string[]): Promise<{ running: Promise<string> }> {
  const running = ask("/a");
  await until(() => seen.includes("/a"));
  const before = pair.held("home").length;
  hold(draining);
  await until(() => pair.held("home").slice(before).some((units) => units?.["site-wiki"] === 1));
  return { running };
}
const lastHeld = (): number | undefined => pair.held("home").at(-1)?.["site-wiki"];

test("it is counted before the question, runs after a yes and counts on without a gap; the hold hears of the end of both", async () => {
  const { running } = await heldWhileOneRuns();
  const own = ask("/b");
  const { id, ...rest } = await question();
  expect(rest).toEqual({ type: "own-call", unit: "site-wiki", round, inFlight: 2 });
  expect([seen, home().inFlight("site-wiki")]).toEqual([["/a"], 2]);
  const before = pair.held("home").length;
  tell({ type: "own-call", id, passes: true });
  expect(await own).toBe("200 /b");
  expect(pair.held("home").slice(before).every((units) => units?.["site-wiki"] !== 0)).toBe(true);
  finish();
  expect(await running).toBe("200 a");
  await until(() => lastHeld() === 0);
  expect(home().held.size).toBe(0);
});

test("when the one that called has ended already, its call alone counts, from the question to its end", async () => {
  const { running } = await heldWhileOneRuns();
  const before = pair.held("home").length;
  call = () => new Promise((resolve) => {
    endCall = () => resolve("b");
  });
  const own = ask("/calls");
  const { id } = await question();
  finish();
  await running;
  tell({ type: "own-call", id, passes: true });
  await until(() => seen.includes("/calls"));
  hold(); // makes it say once more what runs
  await until(() => pair.held("home").length > before);
  expect(pair.held("home").slice(before)).toEqual([{ "site-wiki": 1 }]);
  endCall();
  expect(await own).toBe("200 b");
  await until(() => lastHeld() === 0);
});

test("one that reads slowly holds up no drain", async () => {
  await heldWhileOneRuns();
  const reader = connect(pair.port("home"), "127.0.0.1", () => reader.pause().write("GET /big HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n"));
  tell({ type: "own-call", id: (await question()).id, passes: true });
  await until(() => seen.includes("/big"));
  finish();
  await until(() => lastHeld() === 0);
  expect(reader.bytesRead).toBeLessThan(24 * 1024 * 1024);
  reader.destroy();
});

test("one with a body passes too, and runs once", async () => {
  await heldWhileOneRuns();
  const own = pair.ask({ port: pair.port("home"), method: "POST", path: "/body", body: Buffer.alloc(2_000_000, "x") });
  tell({ type: "own-call", id: (await question()).id, passes: true });
  expect((await own).body.toString()).toBe("/body");
  expect(seen).toEqual(["/a", "/body"]);
});

test("after a no it is not counted, and waits until the hold is over, as others do", async () => {
  const { running } = await heldWhileOneRuns();
  const own = ask("/b");
  const { id } = await question();
  tell({ type: "own-call", id, passes: false });
  await until(() => home().inFlight("site-wiki") === 1);
  expect([seen, home().held.size]).toEqual([["/a"], 1]);
  finish();
  await running;
  await until(() => lastHeld() === 0);
  tell({ type: "own-call", id, passes: true }); // said twice: what was answered is answered
  release();
  expect(await own).toBe("200 /b");
  expect(seen).toEqual(["/a", "/b"]);
});

test("a line that is cut answers nothing: it is given up, and over the next line nobody asks about a hold that was there before", async () => {
  await heldWhileOneRuns();
  const own = ask("/b");
  const { id } = await question();
  const hellos = (): number => heard().filter(({ type }) => type === "hello").length;
  const before = hellos();
  pair.control.home.cut();
  await until(() => hellos() > before);
  expect([home().inFlight("site-wiki"), home().held.size, seen]).toEqual([1, 1, ["/a"]]);
  tell({ type: "own-call", id, passes: true }); // of a process that knew a question before
  hold(); // and one that waits for the hold anew
  const another = ask("/c");
  await until(() => home().held.size === 2);
  finish();
  await until(() => lastHeld() === 0);
  expect([seen, questions().length]).toEqual([["/a"], asked]);
  release();
  expect(await Promise.all([own, another])).toEqual(["200 /b", "200 /c"]);
});

test("without an answer in time it is given up, and a late yes lets nothing through", async () => {
  await heldWhileOneRuns();
  const own = ask("/b");
  const { id } = await question();
  await until(() => home().inFlight("site-wiki") === 1);
  tell({ type: "own-call", id, passes: true });
  finish();
  await until(() => lastHeld() === 0);
  expect([seen, home().held.size]).toEqual([["/a"], 1]);
  release();
  expect(await own).toBe("200 /b");
});

test("a yes for one whose client has gone, or that a release has let run meanwhile, runs nothing", async () => {
  await heldWhileOneRuns();
  const gone = connect(pair.port("home"), "127.0.0.1", () => gone.write("GET /gone HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n"));
  const first = await question();
  gone.resetAndDestroy();
  await until(() => home().held.size === 0);
  tell({ type: "own-call", id: first.id, passes: true });
  await until(() => home().inFlight("site-wiki") === 1);
  const own = ask("/b");
  const { id } = await question();
  release();
  expect(await own).toBe("200 /b");
  expect(home().inFlight("site-wiki")).toBe(2); // the question still is
  tell({ type: "own-call", id, passes: true });
  await until(() => home().inFlight("site-wiki") === 1);
  expect(seen).toEqual(["/a", "/b"]);
});

test("a second hold while the question of the first is open hears of it, and it is not asked about again", async () => {
  await heldWhileOneRuns();
  const own = ask("/b");
  const { id } = await question();
  const before = pair.held("home").length;
  hold(); // the release between the two was not heard of
  await until(() => pair.held("home").length > before);
  expect(lastHeld()).toBe(2);
  tell({ type: "own-call", id, passes: false });
  await until(() => home().inFlight("site-wiki") === 1);
  release();
  expect(await own).toBe("200 /b");
});

test("it is asked only about a hold that drains, by the site's own uid, and no WebSocket; the others wait", async () => {
  await heldWhileOneRuns(undefined); // a control process of the version before
  const others = [ask("/old")];
  await until(() => home().held.size === 1);
  hold([]); // it has drained
  others.push(ask("/drained"));
  await until(() => home().held.size === 2);
  release();
  await Promise.all(others.splice(0));
  await pair.route({ uid: me + 1 });
  try {
    hold(["site-wiki", "site-other"], ["site-wiki", "site-other"]);
    others.push(ask("/stranger"));
    await until(() => home().held.size === 1);
    await pair.route({ uid: me });
    const socket = connect(pair.port("home"), "127.0.0.1", () => socket.write("GET /ws HTTP/1.1\r\nHost: wiki.localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"));
    await until(() => home().held.size === 2);
    // whatever was looked up before this one has been looked up by now
    others.push(ask("/own"));
    const { id } = await question();
    expect(questions().length).toBe(asked);
    expect(home().inFlight("site-wiki")).toBe(2);
    tell({ type: "own-call", id, passes: false });
    socket.destroy();
  } finally {
    release();
    await pair.route({ uid: me });
  }
  await Promise.all(others);
  expect(seen.filter((url) => url === "/stranger")).toEqual(["/stranger"]);
});

test.each(["http/1.1", "h2"])("over TLS (%s) it is known as well", async (protocol) => {
  const keys = pair.pki.of("n1");
  home().tls.update({ certificates: { own: { chain: readFileSync(keys.cert, "utf8"), key: readFileSync(keys.key, "utf8") } }, names: { "wiki.localhost": "own" } });
  const front = createTlsListener({ contexts: home().tls, log: home().log, accept: () => true, fromBalancer: () => false, session: (socket) => void (socket.alpnProtocol === "h2" ? http2Session(home(), socket) : new PublicSession(home(), socket, "https")) });
  const port = await listen(front.server as never, 0, "::");
  const trust = { servername: "wiki.localhost", rejectUnauthorized: false };
  try {
    await heldWhileOneRuns();
    let own: Promise<string>;
    if (protocol === "h2") {
      const session = connectHttp2(`https://127.0.0.1:${port}`, trust);
      own = new Promise((resolve, reject) => {
        const stream = session.request({ ":authority": "wiki.localhost", ":path": "/b" });
        let text = "";
        stream.on("data", (part: Buffer) => {
          text += part.toString();
        });
        stream.on("end", () => {
          session.destroy();
          resolve(text);
        }).on("error", reject);
      });
    } else {
      own = new Promise((resolve, reject) => {
        httpsRequest({ host: "127.0.0.1", port, path: "/b", headers: { host: "wiki.localhost" }, agent: false, ...trust }, (response) => response.on("data", (part: Buffer) => resolve(part.toString()))).on("error", reject).end();
      });
    }
    tell({ type: "own-call", id: (await question()).id, passes: true });
    expect(await own).toBe("/b");
    expect(home().held.size).toBe(0);
  } finally {
    await new Promise<void>((resolve) => front.server.close(() => resolve()));
  }
});

test("with the gates themselves: a page that asks its own site ends during the hold, which then has drained; the next call waits", async () => {
  const gates = new Gates(systemClock);
  const { pki } = pair;
  const path = join(pki.folder, "gates.sock");
  const lines = new Set<Socket>();
  const deadline = (): ToWorker => ({ type: "deadline", ms: machineMs() + 600_000, holds: Object.fromEntries(gates.held().map((unit) => [unit, machineMs() + holdLeaseMs])), round: gates.lastRound, draining: gates.draining() });
  const send = (line: Socket, message: ToWorker): void => void line.write(`${JSON.stringify(message)}\n`);
  // as control.ts does
  const control = createServer((line) => {
    lines.add(line);
    gates.joined(line);
    line.on("close", () => gates.left(line));
    onLines(line, (message) => {
      const said = message as ToControl;
      if (said.type === "holding") gates.said(line, said.inFlight, said.round);
      else if (said.type === "own-call") send(line, { type: "own-call", id: said.id, passes: gates.passes(line, said.unit, said.inFlight, said.round) });
    });
    send(line, { type: "routes", table: pair.tables.home });
    send(line, deadline());
  });
  await new Promise<void>((resolve) => control.listen(path, resolve));
  gates.attach(() => {
    for (const line of lines) send(line, deadline());
  }, 1);
  const worker = await startWorker({ httpPort: 0, peerPort: 0, channel: path, pki: pki.of("n2"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" } });
  const get = (target: string): Promise<string> => ask(target, worker.httpPort);
  try {
    await until(() => worker.state.routes.mayServe("site-wiki"));
    call = () => new Promise((resolve) => {
      endCall = () => resolve(get("/inner"));
    });
    const outer = get("/calls");
    await until(() => seen.includes("/calls"));
    const held = gates.hold("site-wiki", 60_000, new AbortController().signal);
    await until(() => worker.state.routes.isHeld("site-wiki"));
    endCall();
    expect([await outer, await held]).toEqual(["200 200 /inner", 0]);
    const late = get("/late");
    await until(() => worker.state.held.size === 1);
    expect(gates.passes([...lines][0] as Socket, "site-wiki", 1, gates.lastRound)).toBe(false);
    expect(seen).toEqual(["/calls", "/inner"]);
    gates.release("site-wiki");
    expect(await late).toBe("200 /late");
  } finally {
    await worker.stop();
    for (const line of lines) line.destroy();
    await new Promise<void>((resolve) => control.close(() => resolve()));
  }
});
