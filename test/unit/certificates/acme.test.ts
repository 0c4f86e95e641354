import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import { Acme } from "../../../daemon/certificates/acme.js";
import { makeCa, type MakeCa, retryAfterMs } from "../../../daemon/certificates/acme-ca.js";
import { attemptMs } from "../../../daemon/certificates/plan-acme.js";
import type { ClusterSpec } from "../../../daemon/lib/documents.js";
import { delay } from "../../../daemon/lib/abort.js";
import { machineMs } from "../../../daemon/lib/clock.js";
import { type CertificateRecord, keys } from "../../../daemon/lib/records.js";
import { createSealer } from "../../../daemon/lib/sealed.js";
import { CertificateFeed } from "../../../daemon/proxy/certificate-feed.js";
import { buildRoutes } from "../../../daemon/proxy/routes.js";
import { startWorker } from "../../../daemon/proxy/worker.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";
import { AcmeServer } from "../../support/acme-server.js";
import { TestCa } from "../../support/certificates.js";
import { edgePki } from "../../support/edge-pki.js";
import { StateBuilder } from "../placement/fixture.js";

// A CA of our own over real HTTPS, two real workers, etcd in memory; the wall clock can be moved.
const log = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined } as never;
const sealer = createSealer(Buffer.alloc(32, 5).toString("base64"));
const dayMs = 86_400_000;
let ca: TestCa;
let server: AcmeServer;
let pki: Awaited<ReturnType<typeof edgePki>>;
let nodes: { name: string; control: Server; sockets: Set<Socket>; worker: Awaited<ReturnType<typeof startWorker>>; feed: CertificateFeed }[];
let state: MemoryState;
let store: MemoryStore;
let view: WatchedView;
let end: AbortController;
let aheadMs = 0;
let events: string[] = [];
/** Where a name's challenges are looked for. */
let points: Record<string, string> = {};
const wallMs = (): number => Date.now() + aheadMs;
const clock = { monotonicMs: () => performance.now(), wallMs, sleep: delay };

beforeAll(async () => {
  ca = await TestCa.create();
  pki = await edgePki(["n1", "n2"]);
});
beforeEach(async () => {
  aheadMs = 0;
  events = [];
  points = { "shop.example": "n1", "www.shop.example": "n2", "early.example": "n1" };
  server = await new AcmeServer({ ca, nowMs: wallMs, resolve: (name) => {
    const port = nodes.find((node) => node.name === points[name])?.worker.httpPort;
    return port === undefined ? undefined : { host: "127.0.0.1", port };
  } }).start();
  state = new MemoryState();
  store = new MemoryStore(state);
  end = new AbortController();
  const built = new StateBuilder().node("n1").node("n2").cluster(["n1", "n2"]).unit("shop", "n1", ["n2"]).unit("early", "n1", [], { state: "creating" })
    .site("shop", { hostnames: ["shop.example", "www.shop.example"], tls: { certificate: "acme", redirect: true } }).build();
  const put = (key: string, value: object): void => void state.txn([], [{ put: key, value: JSON.stringify(value) }]);
  for (const [name, { value }] of built.nodes) put(keys.node(name), value);
  for (const [unit, { value }] of built.units) put(keys.unit(unit), value);
  for (const { value } of built.desired.values()) put(keys.desired(value.kind, value.name), value.kind === "cluster" ? { ...value, spec: { ...(value.spec as ClusterSpec), acme: { directory: server.directory, email: "it@host.example", termsOfServiceAgreed: true, ca: ca.root } } } : value);
  elect("n1");
  view = new WatchedView(store, log);
  await view.start(end.signal);
  nodes = await Promise.all(["n1", "n2"].map(async (name) => {
    const sockets = new Set<Socket>();
    const feed = new CertificateFeed({ view, sealer, log }, (socket, message) => void socket.write(`${JSON.stringify(message)}\n`));
    const path = join(pki.folder, `${name}-${performance.now()}.sock`);
    const tell = (socket: Socket): void => void socket.write(`${JSON.stringify({ type: "routes", table: buildRoutes(view.current(), name, 1, 1, 443) })}\n`);
    const control = createServer((socket) => {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("data", () => undefined);
      feed.joined(socket);
      tell(socket);
      socket.write(`${JSON.stringify({ type: "deadline", ms: machineMs() + 600_000 })}\n`);
    });
    await new Promise<void>((resolve) => control.listen(path, resolve));
    feed.refresh([]);
    view.onChange(() => feed.refresh([...sockets]));
    const worker = await startWorker({ httpPort: 0, httpsPort: 0, peerPort: 0, channel: path, pki: pki.of(name), hosts: { http: "127.0.0.1", peer: "127.0.0.1" } });
    while (worker.state.routes.table === undefined) await new Promise(setImmediate);
    return { name, control, sockets, worker, feed };
  }));
});
afterEach(async () => {
  end.abort();
  await server.stop();
  for (const { worker, control, sockets } of nodes) {
    await worker.stop();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => control.close(resolve));
  }
});

const elect = (node: string): void => void state.txn([], [{ put: keys.leader, value: JSON.stringify({ version: 1, node, generation: 1, term: 1 }) }]);
const record = (name: string): CertificateRecord | undefined => JSON.parse(state.get(keys.certificate(name))?.value ?? "null") as CertificateRecord ?? undefined;
const seen = async (): Promise<void> => {
  while (view.current().revision !== state.list("/hc/").revision) await new Promise(setImmediate);
};
interface Leading { acme: Acme; /** A round, and what it began, to the end. */ round(): Promise<void>; depose(): void }
function leader(make?: MakeCa): Leading {
  const won = state.get(keys.leader)?.modRevision as string;
  let leads = true;
  const peers = { call: async (node: string, _method: string, path: string) => {
    const { feed } = nodes.find(({ name }) => name === node) as (typeof nodes)[number];
    return { known: feed.answers(path.split("/").at(-1) ?? "") };
  } };
  const acme = new Acme({
    context: { store, view, clock, log, sealer, signal: end.signal, peers: peers as never, event: (_unit, event, detail) => void events.push(`${event} ${detail}`) },
    leader: { guard: () => (leads ? { key: keys.leader, modRevision: won } : undefined) }, liveness: { alive: () => new Set(["n1", "n2"]) }, random: () => 0, ...(make === undefined ? {} : { make }),
  });
  return {
    acme,
    round: async () => {
      await seen();
      await acme.step();
      await acme.settled();
      await seen();
    },
    depose: () => {
      leads = false;
    },
  };
}
const served = (at: number, servername: string): Promise<string> => new Promise((resolve) => {
  const socket = connect({ host: "127.0.0.1", port: nodes[at]?.worker.httpsPort ?? 0, servername, ca: ca.root }, () => {
    resolve(socket.getPeerCertificate().subjectaltname ?? "");
    socket.destroy();
  });
  socket.on("error", (error: NodeJS.ErrnoException) => resolve(String(error.code)));
});
const everywhere = async (name: string): Promise<void> => {
  for (const { worker } of nodes) while (!worker.state.tls.has(name)) await new Promise(setImmediate);
};

test("names get certificates: any node answers the CA, all nodes serve them, keys lie sealed; then nothing more is asked", async () => {
  server.badNonces = 1;
  server.processing = 1;
  const { round } = leader();
  await round();
  await Promise.all(["shop.example", "www.shop.example"].map(everywhere));
  expect(await Promise.all([served(0, "shop.example"), served(1, "shop.example"), served(0, "www.shop.example"), served(1, "www.shop.example")])).toEqual(["DNS:shop.example", "DNS:shop.example", "DNS:www.shop.example", "DNS:www.shop.example"]);
  expect(record("shop.example")).toMatchObject({ name: "shop.example", directory: server.directory, notAfterMs: expect.any(Number) });
  expect([record("shop.example")?.attempt, record("shop.example")?.order]).toEqual([undefined, undefined]);
  const all = JSON.stringify(state.list("/hc/").items);
  expect([all.includes("PRIVATE KEY"), all.includes("acme-challenge"), state.list("/hc/acme-account/").items.length, server.accounts.size]).toEqual([false, false, 1, 1]);
  expect(events.map((event) => event.split(":")[0]).sort()).toEqual(["certificate-issued shop.example", "certificate-issued www.shop.example"]);
  const before = server.asked.length;
  await round();
  expect([server.asked.length, server.orders.length]).toEqual([before, 2]);
});

test("renewed at a third of its life, by another leader, with the same account; the old one serves until then", async () => {
  await leader().round();
  const before = record("shop.example");
  aheadMs = 59 * dayMs;
  const next = leader();
  await next.round();
  expect(record("shop.example")).toEqual(before);
  aheadMs = 64 * dayMs;
  await next.round();
  expect([server.orders.length, server.accounts.size]).toEqual([4, 1]);
  expect((record("shop.example")?.notAfterMs ?? 0) - (before?.notAfterMs ?? 0)).toBeGreaterThan(63 * dayMs);
});

test("a name that does not point here: the CA's words are kept, tries become rare, other names are not harmed", async () => {
  points = { "www.shop.example": "n2" };
  const { round, acme } = leader();
  await round();
  expect(record("shop.example")).toMatchObject({ chain: "", attempt: { count: 1, reason: expect.stringMatching(/^Invalid response from http:\/\/shop\.example\/\.well-known\/acme-challenge\/.*: no address$/) } });
  expect(record("shop.example")?.order).toBeUndefined();
  await everywhere("www.shop.example");
  const tries = (): number => server.orders.filter(({ names }) => names[0] === "shop.example").length;
  const tried: number[] = [];
  // at 0, 1, 6 and 21 minutes, then after 1, 4 and 12 hours more
  for (const minute of [0, 1, 2, 6, 10, 21, 40, 60, 82, 200, 322, 600, 1045, 1440]) {
    aheadMs = minute * 60_000 + 30_000;
    await round();
    if (minute === 60 || minute === 1440) tried.push(tries());
  }
  expect([tried, acme.failures]).toEqual([[4, 7], tries()]);
  points = { "shop.example": "n1" };
  aheadMs += 2 * dayMs;
  await round();
  expect(record("shop.example")?.chain).toContain("BEGIN CERTIFICATE");
});

test("a CA that limits is left alone as long as it says, for all names", async () => {
  server.limited = { times: 4, retryAfterS: 7_200 };
  const { round } = leader();
  await round();
  const { attempt } = record("shop.example") as CertificateRecord;
  expect([attempt?.reason, Math.round(((attempt?.nextMs ?? 0) - wallMs()) / 60_000)]).toEqual(["the CA answered 429: too many new orders recently", 120]);
  const before = server.asked.length;
  state.txn([], [{ delete: keys.certificate("www.shop.example") }]);
  await round();
  expect(server.asked.length).toBe(before);
});

test("a CA that is away, or is none, is told and tried again", async () => {
  const { round } = leader();
  await server.stop();
  await round();
  expect(record("shop.example")?.attempt).toMatchObject({ count: 1, reason: expect.stringMatching(/^the CA could not be asked: .*ECONNREFUSED/) });
  await server.start();
});

test("the leader dies between the order and its storage: the next one goes on with it, and orders nothing new", async () => {
  state.txn([], [{ put: keys.desired("site", "shop"), value: JSON.stringify({ version: 1, kind: "site", name: "shop", origin: "git", spec: { ...(view.current().desired.get("site/shop")?.value.spec as object), hostnames: ["shop.example"] } }) }]);
  // it falls silent after the CA was asked to sign
  const dying: Leading = leader(async (...args) => {
    const real = await makeCa(...args);
    return { ...real, finalize: async (...what) => {
      await real.finalize(...what);
      dying.depose();
    } };
  });
  await dying.round();
  expect(record("shop.example")).toMatchObject({ chain: "", order: { url: `${server.url}/order/0` }, attempt: { count: 1, reason: "" } });
  elect("n2");
  const next = leader();
  await next.round();
  expect(record("shop.example")?.chain).toBe(""); // the one before may still be at it
  aheadMs = attemptMs + 1;
  await next.round();
  expect([record("shop.example")?.chain, server.orders.length]).toEqual([server.orders[0]?.chain, 1]);
  await everywhere("shop.example");
  expect(await served(1, "shop.example")).toBe("DNS:shop.example");
});

test("two leaders for a moment: one of them issues", async () => {
  const old = leader();
  elect("n2");
  const next = leader();
  await seen();
  await Promise.all([old.acme.step(), next.acme.step()]);
  await Promise.all([old.acme.settled(), next.acme.settled()]);
  expect([server.orders.length, old.acme.issued, old.acme.failures, next.acme.issued, server.accounts.size]).toEqual([2, 0, 0, 2, 1]);
  expect(events.filter((event) => event.startsWith("certificate-failed"))).toEqual([]);
});

test("an order that the CA has lost, and a certificate from the future: told, and begun anew; the old one stays", async () => {
  const { round } = leader();
  await round();
  const before = record("shop.example");
  aheadMs = 64 * dayMs;
  server.beginsInMs = 3 * dayMs;
  await round();
  expect(record("shop.example")).toMatchObject({ chain: before?.chain, attempt: { count: 1, reason: expect.stringMatching(/cannot be used \(chain: .*is not valid before .*is this node's clock right\?$/) } });
  server.beginsInMs = -60_000;
  const { key, modRevision } = state.get(keys.certificate("shop.example")) as { key: string; modRevision: string };
  const lost = { ...record("shop.example"), order: { url: `${server.url}/order/99`, key: "sealed:1:AAAA", directory: server.directory }, attempt: undefined };
  expect(state.txn([{ key, modRevision }], [{ put: key, value: JSON.stringify(lost) }]).succeeded).toBe(true);
  await round();
  expect(record("shop.example")?.chain).not.toBe(before?.chain);
  expect(record("shop.example")?.order).toBeUndefined();
});

test("nothing is asked without the agreement, and what nobody wants goes when it is over", async () => {
  const cluster = view.current().desired.get("cluster/eu")?.value as { spec: ClusterSpec };
  const { round } = leader();
  await round();
  const asked = server.asked.length;
  state.txn([], [{ put: keys.desired("cluster", "eu"), value: JSON.stringify({ ...cluster, spec: { ...cluster.spec, acme: { ...cluster.spec.acme, termsOfServiceAgreed: false } } }) }, { delete: keys.desired("site", "shop") }]);
  aheadMs = 64 * dayMs;
  await round();
  expect([server.asked.length, record("shop.example") === undefined]).toEqual([asked, false]);
  aheadMs = 91 * dayMs;
  await round();
  expect(state.list("/hc/certificate/").items).toEqual([]);
});

test("Retry-After in both its forms", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  expect([retryAfterMs("120", now), retryAfterMs("Thu, 01 Jan 2026 00:10:00 GMT", now), retryAfterMs("Wed, 31 Dec 2025 00:00:00 GMT", now), retryAfterMs("soon", now), retryAfterMs(undefined, now)]).toEqual([120_000, 600_000, 0, 0, 0]);
});

test("a name whose record cannot be read takes no other's turn: its own cannot be written, and costs no order", async () => {
  state.txn([], [{ put: keys.certificate("shop.example"), value: "{" }]);
  const { acme, round } = leader();
  // more rounds than orders may be begun at once
  for (let rounds = 0; rounds < 60; rounds += 1) await round();
  expect([acme.issued, record("www.shop.example")?.chain === "", state.get(keys.certificate("shop.example"))?.value]).toEqual([1, false, "{"]);
  state.txn([], [{ delete: keys.certificate("www.shop.example") }]);
  await round();
  expect(acme.issued).toBe(2);
}, 60_000);
