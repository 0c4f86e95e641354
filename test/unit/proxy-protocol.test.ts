import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { machineMs } from "../../daemon/lib/clock.js";
import { networkFailures, parseNetwork } from "../../daemon/lib/networks.js";
import { limits } from "../../daemon/proxy/limits.js";
import { Link } from "../../daemon/proxy/link.js";
import { ProxyHeaderReader } from "../../daemon/proxy/proxy-header-reader.js";
import { bytesThatFollow, clientOf, fixedBytes, mostBytes } from "../../daemon/proxy/proxy-protocol.js";
import type { RouteTable } from "../../daemon/proxy/routes.js";
import { Ticker } from "../../daemon/proxy/ticker.js";
import { TlsContexts } from "../../daemon/proxy/tls-contexts.js";
import { createTlsListener } from "../../daemon/proxy/tls-listener.js";
import { type RunningWorker, startWorker } from "../../daemon/proxy/worker.js";
import { TestCa, type TestCertificate } from "../support/certificates.js";
import { edgePki } from "../support/edge-pki.js";
import { closeServer, listen, until } from "../support/proxy-pair.js";
import { type WorkerControl, workerControl } from "../support/worker-control.js";

const signature = "0d0a0d0a000d0a515549540a";
/** A header as its fields say; `tlvs` behind the addresses. */
function header(kind: number, addresses: string, { command = 0x21, tlvs = Buffer.alloc(0), length = -1 }: { command?: number; tlvs?: Buffer; length?: number } = {}): Buffer {
  const body = Buffer.concat([Buffer.from(addresses.replaceAll(" ", ""), "hex"), tlvs]);
  const start = Buffer.from(`${signature}00000000`, "hex");
  start[12] = command;
  start[13] = kind;
  start.writeUInt16BE(length === -1 ? body.length : length, 14);
  return Buffer.concat([start, body]);
}
const tlv = (type: number, bytes: number): Buffer => Buffer.concat([Buffer.from([type, bytes >> 8, bytes & 0xff]), Buffer.alloc(bytes, "t")]);
const v4 = "cb007107 c0000201 c001 0050";
const v6 = "20010db8000000000000000000000007 20010db8000000000000000000000001 c001 01bb";
const unix = "61".repeat(216);
const read = (bytes: Buffer): string | undefined => {
  const start = bytes.subarray(0, fixedBytes);
  const follow = bytesThatFollow(start);
  return clientOf(start, bytes.subarray(fixedBytes, fixedBytes + follow));
};

describe("the header (doc/proxy-protocol.txt §2.2)", () => {
  test.each<[string, Buffer, string | undefined]>([
    ["TCP over IPv4", header(0x11, v4), "203.0.113.7"],
    ["TCP over IPv6", header(0x21, v6), "2001:db8::7"],
    ["an IPv4 address in IPv6's clothes", header(0x21, `00000000000000000000ffffcb007107 ${"00".repeat(16)} 0001 0002`), "203.0.113.7"],
    ["the loopback of IPv6", header(0x21, `${"00".repeat(15)}01 ${"00".repeat(15)}01 0001 0002`), "::1"],
    ["with TLVs, which are passed over", header(0x11, v4, { tlvs: Buffer.concat([tlv(1, 2), tlv(2, 200), tlv(3, 4), tlv(0xea, 60)]) }), "203.0.113.7"],
    ["with as much as there may be", header(0x11, v4, { tlvs: tlv(4, mostBytes - 12 - 3) }), "203.0.113.7"],
    ["LOCAL: the balancer's own", header(0x00, "", { command: 0x20 }), undefined],
    ["LOCAL, whatever follows", header(0xff, v4, { command: 0x20 }), undefined],
    ["UNSPEC", header(0x00, ""), undefined],
    ["UNSPEC with something", header(0x00, v4), undefined],
    ["a Unix socket", header(0x31, unix), undefined],
    ["UDP", header(0x12, v4), undefined],
  ])("%s", (_name, bytes, client) => expect(read(bytes)).toBe(client));

  test.each<[string, Buffer, RegExp]>([
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), /no PROXY header of version 2/],
    ["version 1 of the protocol", Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), /no PROXY header of version 2/],
    ["a signature with one bit turned", Buffer.from(header(0x11, v4).map((byte, at) => (at === 11 ? byte ^ 1 : byte))), /no PROXY header/],
    ["another version", header(0x11, v4, { command: 0x11 }), /version or command/],
    ["an unknown command", header(0x11, v4, { command: 0x22 }), /version or command/],
    ["an unknown family", header(0x41, v4), /family or protocol/],
    ["an unknown protocol", header(0x13, v4), /family or protocol/],
    ["too short for IPv4", header(0x11, v4.slice(0, -2)), /addresses are missing/],
    ["too short for IPv6", header(0x21, v4), /addresses are missing/],
    ["too long", header(0x11, v4, { tlvs: tlv(4, mostBytes) }), /more than 1040 bytes/],
    ["as long as the protocol allows", header(0x11, v4, { length: 65_535 }), /more than 1040 bytes/],
  ])("refused: %s", (_name, bytes, why) => expect(() => read(bytes)).toThrow(why));

  test("no single byte of a header, turned to anything, makes another kind of error", () => {
    const good = header(0x21, v6, { tlvs: tlv(3, 4) });
    for (let at = 0; at < good.length; at += 1) {
      for (let value = 0; value < 256; value += 1) {
        const bytes = Buffer.from(good);
        bytes[at] = value;
        try {
          expect(read(bytes) ?? "::").toMatch(/^[0-9a-f:.]+$/);
        } catch (error) {
          expect((error as Error).constructor.name).toBe("ProxyHeaderError");
        }
      }
    }
  });
});

describe("addresses and networks of load balancers", () => {
  test.each(["192.0.2.10", "10.1.0.0/24", "2001:db8::1", "2001:db8::/64", "127.0.0.1/32"])("%s", (text) => expect(parseNetwork(text)).toBeDefined());
  test.each(["", "lb.example", "10.1.0", "10.1.0.0/33", "10.1.0.0/0", "::/0", "10.1.0.0/08", "10.01.0.0", "2001:db8::/129", "::ffff:10.0.0.1", "fe80::1%eth0", "10.0.0.1/", "10.0.0.1 "])("refused: %j", (text) => {
    expect(networkFailures({ from: ["192.0.2.1", text] })).toEqual([{ property: "proxyProtocol.from.1", reason: expect.stringContaining("is no address or network") }]);
  });
});

/** Writes pieces, each when the one before has arrived at the other side. */
async function inPieces(client: Socket, server: () => Socket | undefined, pieces: readonly Buffer[]): Promise<void> {
  let sent = 0;
  for (const piece of pieces) {
    client.write(piece);
    sent += piece.length;
    await until(() => (server()?.bytesRead ?? 0) >= sent);
  }
}
const cutAt = (bytes: Buffer, offset: number): Buffer[] => [bytes.subarray(0, offset), bytes.subarray(offset)].filter((piece) => piece.length > 0);

describe("a reader at a real socket", () => {
  let server: Server;
  let port: number;
  let accepted: Socket | undefined;
  let ticker: Ticker;
  let told: string[];
  /** What the next reader, a Link as sessions have it, gets. */
  let got: Buffer;
  let ended: boolean;
  let reader: ProxyHeaderReader | undefined;
  beforeEach(async () => {
    [told, got, ended, accepted] = [[], Buffer.alloc(0), false, undefined];
    ticker = new Ticker();
    server = createServer({ allowHalfOpen: true }, (socket) => {
      accepted = socket;
      reader = new ProxyHeaderReader(socket, ticker, (client) => {
        told.push(`client ${client}`);
        const link: Link = new Link(socket, ticker, { onBytes: (bytes) => { got = Buffer.concat([got, bytes]); }, onEnd: () => { ended = true; link.destroy(); }, onGone: () => undefined, onDrain: () => undefined, onOverdue: () => undefined });
      }, (why) => told.push(why));
    });
    port = await listen(server as never, 0, "127.0.0.1");
  });
  afterEach(async () => {
    ticker.destroyAll();
    ticker.stop();
    await new Promise((resolve) => server.close(resolve));
  });
  const dial = async (): Promise<Socket> => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  };
  const payload = Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

  test("cut at each offset, nothing that follows is lost, and nothing of the header gets through", async () => {
    for (const start of [header(0x11, v4, { tlvs: tlv(4, 5) }), header(0x21, v6), header(0x00, "", { command: 0x20 })]) {
      const bytes = Buffer.concat([start, payload]);
      for (let offset = 0; offset < bytes.length; offset += 1) {
        [told, got, ended, accepted] = [[], Buffer.alloc(0), false, undefined];
        const socket = await dial();
        await inPieces(socket, () => accepted, cutAt(bytes, offset));
        socket.end();
        await until(() => ended);
        expect([offset, got.toString(), told.length]).toEqual([offset, payload.toString(), 1]);
        socket.destroy();
      }
    }
  });
  test("byte by byte", async () => {
    const bytes = Buffer.concat([header(0x21, v6, { tlvs: tlv(4, 20) }), payload]);
    const socket = await dial();
    await inPieces(socket, () => accepted, Array.from(bytes, (byte) => Buffer.from([byte])));
    socket.end();
    await until(() => ended);
    expect([got.toString(), told]).toEqual([payload.toString(), ["client 2001:db8::7"]]);
  });
  test("a large body that comes with it comes whole", async () => {
    const body = Buffer.alloc(3 * 1024 * 1024, "0123456789");
    const socket = await dial();
    socket.end(Buffer.concat([header(0x11, v4), body]));
    await until(() => ended);
    expect(got.equals(body)).toBe(true);
  });
  test("one that ends within its header is refused, one that says nothing is not told of", async () => {
    const bytes = header(0x11, v4);
    for (const offset of [1, 15, 16, 17, bytes.length - 1]) {
      told = [];
      const socket = await dial();
      socket.end(bytes.subarray(0, offset));
      await once(socket.resume(), "close");
      expect([offset, told]).toEqual([offset, ["ended within its header"]]);
    }
    told = [];
    const silent = await dial();
    silent.end();
    await once(silent.resume(), "close");
    await until(() => ticker.size === 0);
    expect(told).toEqual([]);
  });
  test("it has the time of a head, however it is dealt out", async () => {
    const socket = await dial();
    await inPieces(socket, () => accepted, Array.from(header(0x11, v4).subarray(0, 20), (byte) => Buffer.from([byte])));
    reader?.look(ticker.ticks(limits.headMs));
    expect(accepted?.destroyed).toBe(false);
    reader?.look(ticker.ticks(limits.headMs) + 1_000);
    await once(socket.resume(), "close");
    expect([told, ticker.size]).toEqual([["not whole in time"], 0]);
  });
});

let ca: TestCa;
let certificate: TestCertificate;
beforeAll(async () => {
  ca = await TestCa.create();
  certificate = await ca.issue(["shop.example"]);
});

describe("before a TLS handshake", () => {
  /** A load balancer: its client's first bytes go on behind `start`, cut at `offset`. */
  async function balancer(target: number, start: Buffer, offset: (bytes: Buffer) => number, arrived: () => Socket | undefined): Promise<{ port: number; close(): Promise<void> }> {
    const sockets = new Set<Socket>();
    const server = createServer((client) => {
      const up = connect({ port: target, host: "127.0.0.1", noDelay: true });
      for (const socket of [client, up]) sockets.add(socket.on("error", () => undefined));
      client.once("data", (first: Buffer) => {
        client.pause();
        const bytes = Buffer.concat([start, first]);
        void inPieces(up, arrived, cutAt(bytes, offset(bytes))).then(() => client.pipe(up));
      });
      up.pipe(client);
    });
    const port = await listen(server as never, 0, "127.0.0.1");
    return { port, close: () => new Promise((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    }) };
  }

  test("cut at each offset: the handshake is done, and its client is known", async () => {
    const contexts = new TlsContexts({ warn: () => undefined });
    contexts.update({ certificates: { s: certificate }, names: { "shop.example": "s" } });
    const ticker = new Ticker();
    let accepted: Socket | undefined;
    const { server } = createTlsListener({
      contexts, log: { debug: () => undefined } as never,
      accept: (socket) => {
        accepted = socket;
        return true;
      },
      fromBalancer: (socket, begin) => {
        new ProxyHeaderReader(socket, ticker, (client) => begin(client ?? "none"), () => undefined);
        return true;
      },
      session: (socket, client) => void socket.once("data", (data: Buffer) => socket.end(`${client} ${data.toString()}`)),
    });
    const target = await listen(server as never, 0, "127.0.0.1");
    const start = header(0x21, v6, { tlvs: tlv(2, 12) });
    let at = 0;
    const between = await balancer(target, start, () => at, () => accepted);
    for (at = 0; at <= start.length + 12; at += 1) {
      accepted = undefined;
      const socket: TLSSocket = connectTls({ port: between.port, host: "127.0.0.1", servername: "shop.example", ca: ca.root }, () => socket.write("hello"));
      const [answer] = (await once(socket, "data")) as [Buffer];
      expect([at, answer.toString()]).toEqual([at, "2001:db8::7 hello"]);
      socket.destroy();
    }
    await between.close();
    ticker.destroyAll();
    ticker.stop();
    await new Promise((resolve) => server.close(resolve));
  });

  describe("at a worker", () => {
    let pki: Awaited<ReturnType<typeof edgePki>>;
    let apache: HttpServer;
    let control: WorkerControl;
    let worker: RunningWorker;
    let base: RouteTable;
    let seen: IncomingMessage["headers"][];
    beforeAll(async () => {
      pki = await edgePki(["n1"]);
      apache = createHttpServer((request, response) => {
        seen.push(request.headers);
        request.resume().on("end", () => response.end("served"));
      });
      const apachePort = await listen(apache as never, 0, "127.0.0.1");
      control = await workerControl(join(pki.folder, "n1.sock"));
      worker = await startWorker({ httpPort: 0, httpsPort: 0, peerPort: 0, channel: control.path, pki: pki.of("n1"), hosts: { http: "127.0.0.1", peer: "127.0.0.1" }, spool: pki.folder, accessLog: pki.folder });
      // the test's other connections come from 127.0.0.2
      base = { version: 1, revision: "1", node: "n1", nodes: {}, apachePort, httpsPort: worker.httpsPort, hosts: { "shop.example": "site-shop" }, units: { "site-shop": { home: "n1", epoch: 1, open: true } }, proxyFrom: ["127.0.0.1", "2001:db8::/32"] };
      control.push({ type: "deadline", ms: machineMs() + 600_000 });
      control.push({ type: "certificates", reset: true, complete: true, certificates: { s: certificate }, names: { "shop.example": "s" } });
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
    const plain = (bytes: Buffer, localAddress = "127.0.0.1"): Promise<string> => new Promise((resolve) => {
      let back = "";
      const socket = connect({ port: worker.httpPort, host: "127.0.0.1", localAddress }, () => socket.write(bytes));
      socket.on("data", (data) => {
        back += data.toString("latin1");
      });
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(back));
    });
    const get = Buffer.from("GET /x HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n");

    test("HTTP: the site and the log know the visitor; requests of one connection are all his", async () => {
      const two = Buffer.concat([Buffer.from("GET /w HTTP/1.1\r\nHost: shop.example\r\n\r\n"), get]);
      expect((await plain(Buffer.concat([header(0x11, v4), two]))).match(/served/g)).toHaveLength(2);
      expect(seen.map((headers) => [headers["x-forwarded-for"], headers["forwarded"]])).toEqual(Array.from({ length: 2 }, () => ["203.0.113.7", "for=203.0.113.7;host=shop.example;proto=http"]));
      await plain(Buffer.concat([header(0x21, v6), get]));
      expect(seen[2]?.["forwarded"]).toBe('for="[2001:db8::7]";host=shop.example;proto=http');
      await worker.state.accessLog?.stop();
      expect(readFileSync(join(pki.folder, "site-shop.log"), "utf8").split("\n").map((line) => line.split(" ")[0])).toEqual(["203.0.113.7", "203.0.113.7", "2001:db8::7", ""]);
    });
    test("a health check (LOCAL) and a header without addresses: the balancer's own", async () => {
      for (const start of [header(0x00, "", { command: 0x20 }), header(0x00, "")]) expect(await plain(Buffer.concat([start, get]))).toMatch(/served$/);
      expect(seen.map((headers) => headers["x-forwarded-for"])).toEqual(["127.0.0.1", "127.0.0.1"]);
    });
    test("from a load balancer the header is required, from all others it is no HTTP", async () => {
      const before = worker.state.refusedHeaders;
      for (const bytes of [get, Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), header(0x41, v4)]) expect(await plain(bytes)).toBe("");
      expect(worker.state.refusedHeaders - before).toBe(3);
      expect(await plain(Buffer.concat([header(0x11, v4), get]), "127.0.0.2")).toMatch(/^HTTP\/1\.1 400 /);
      expect(seen).toEqual([]);
      expect(await plain(get, "127.0.0.2")).toMatch(/served$/);
      expect(seen[0]?.["x-forwarded-for"]).toBe("127.0.0.2");
      await until(() => worker.state.connections === 0);
    });
    test("the list may change while the worker runs; without one nobody's header is taken", async () => {
      for (const [revision, proxyFrom] of [["2", undefined], ["3", ["127.0.0.2"]], ["4", base.proxyFrom]] as const) {
        const { proxyFrom: _, ...rest } = base;
        control.push({ type: "routes", table: { ...rest, revision, ...(proxyFrom === undefined ? {} : { proxyFrom: [...proxyFrom] }) } });
        await until(() => worker.state.routes.table?.revision === revision);
        expect(await plain(Buffer.concat([header(0x11, v4), get]))).toMatch(revision === "4" ? /served$/ : /^HTTP\/1\.1 400 /);
      }
    });
    test("HTTPS, HTTP/1.1 and HTTP/2: the visitor's address, in one piece or cut", async () => {
      for (const offset of [0, 5, 16, 27, 28, 29, 300]) {
        const between = await balancer(worker.httpsPort, header(0x11, v4), (bytes) => Math.min(offset, bytes.length), () => ({ bytesRead: Number.POSITIVE_INFINITY }) as Socket);
        const socket: TLSSocket = connectTls({ port: between.port, host: "127.0.0.1", servername: "shop.example", ca: ca.root }, () => socket.write(get));
        let back = "";
        socket.on("data", (data: Buffer) => {
          back += data.toString();
        });
        await once(socket, "end");
        expect(back).toMatch(/served$/);
        const session = connectHttp2("https://shop.example", { createConnection: () => connectTls({ host: "127.0.0.1", port: between.port, servername: "shop.example", ALPNProtocols: ["h2"], ca: ca.root }) });
        const stream = session.request({ ":path": "/h2" });
        stream.resume();
        await once(stream, "end");
        session.destroy();
        socket.destroy();
        await between.close();
      }
      expect(seen.map((headers) => [headers["x-forwarded-for"], headers["x-forwarded-proto"]])).toEqual(Array.from({ length: 14 }, () => ["203.0.113.7", "https"]));
      // without a header there is no handshake
      await expect(once(connectTls({ port: worker.httpsPort, host: "127.0.0.1", servername: "shop.example", ca: ca.root }), "secureConnect")).rejects.toThrow();
      const other = connectTls({ port: worker.httpsPort, host: "127.0.0.1", localAddress: "127.0.0.2", servername: "shop.example", ca: ca.root } as never);
      await once(other, "secureConnect");
      other.destroy();
    });
  });
});
