import { once } from "node:events";
import { join } from "node:path";
import { connect, type SecureVersion } from "node:tls";
import { openTickets, TicketKeys, ticketLifeMs } from "../../../daemon/certificates/ticket-keys.js";
import { keys, type TicketRecord } from "../../../daemon/lib/records.js";
import { createSealer } from "../../../daemon/lib/sealed.js";
import { startWorker } from "../../../daemon/proxy/worker.js";
import { WatchedView } from "../../../daemon/state/view.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { TestCa } from "../../support/certificates.js";
import { edgePki } from "../../support/edge-pki.js";
import { workerControl } from "../../support/worker-control.js";

const log = { info: () => undefined, warn: () => undefined, error: () => undefined } as never;

test("one set by the leader, sealed, new after its time; never by two, never one that nobody can open", async () => {
  const state = new MemoryState();
  const store = new MemoryStore(state);
  const sealer = createSealer(Buffer.alloc(32, 3).toString("base64"));
  state.txn([], [{ put: keys.leader, value: JSON.stringify({ version: 1, node: "n1", generation: 1, term: 1 }) }]);
  let leads = true;
  let atMs = 1_000_000_000;
  const end = new AbortController();
  const view = new WatchedView(store, log);
  await view.start(end.signal);
  const guard = () => (leads ? { key: keys.leader, modRevision: state.get(keys.leader)?.modRevision as string } : undefined);
  const tickets = new TicketKeys({ context: { store, view, clock: { wallMs: () => atMs } as never, log, sealer }, leader: { guard } });
  const kept = (): TicketRecord | undefined => JSON.parse(state.get(keys.tickets)?.value ?? "null") as TicketRecord ?? undefined;
  const seen = async (): Promise<void> => {
    while (view.current().revision !== state.list("/hc/").revision) await new Promise(setImmediate);
  };
  const step = async (): Promise<string | undefined> => {
    await seen();
    await tickets.step();
    return openTickets(kept(), sealer);
  };
  leads = false;
  expect(await step()).toBeUndefined();
  leads = true;
  const first = await step();
  expect([Buffer.from(first ?? "", "base64").length, kept()?.key.includes(first ?? "?"), kept()?.key.startsWith("sealed:1:")]).toEqual([48, false, true]);
  atMs += ticketLifeMs - 1;
  expect(await step()).toBe(first);
  atMs += 1;
  const second = await step();
  expect([second === first, second === undefined]).toEqual([false, false]);
  atMs -= 3 * ticketLifeMs; // the clock of the leader before was wrong
  expect(await step()).not.toBe(second);
  expect(openTickets(kept(), createSealer(Buffer.alloc(32, 4).toString("base64")))).toBeUndefined();
  state.txn([], [{ put: keys.tickets, value: JSON.stringify({ ...kept(), key: "sealed:1:AAAA" }) }]);
  expect(openTickets(kept(), sealer)).toBeUndefined();
  expect(await step()).toBeDefined();
  end.abort();
});

test("a session made at one node is resumed at another, in TLS 1.2 and 1.3; with a new set it is not, and goes on with a full handshake", async () => {
  const pki = await edgePki(["n1", "n2"]);
  const ca = await TestCa.create();
  const shop = await ca.issue(["shop.example"]);
  const set = (byte: number) => ({ type: "tickets" as const, key: Buffer.alloc(48, byte).toString("base64") });
  const nodes = await Promise.all(["n1", "n2"].map(async (name) => {
    const control = await workerControl(join(pki.folder, `${name}.sock`));
    const worker = await startWorker({ httpPort: 0, httpsPort: 0, peerPort: 0, channel: control.path, pki: pki.of(name), hosts: { http: "127.0.0.1", peer: "127.0.0.1" } });
    const tell = async (key: number, certificate: string): Promise<void> => {
      control.push(set(key));
      control.push({ type: "certificates", certificates: { [certificate]: shop }, names: { "shop.example": certificate, [`${certificate}.example`]: certificate } });
      while (!worker.state.tls.has(`${certificate}.example`)) await new Promise(setImmediate);
    };
    return { control, worker, tell };
  }));
  const [one, two] = nodes as [(typeof nodes)[number], (typeof nodes)[number]];
  const dial = async (port: number, maxVersion: SecureVersion, session?: Buffer): Promise<{ reused: boolean; session: Buffer }> => {
    const socket = connect({ host: "127.0.0.1", port, servername: "shop.example", ca: ca.root, maxVersion, ...(session === undefined ? {} : { session }) });
    let last: Buffer | undefined;
    socket.on("session", (next: Buffer) => {
      last = next;
    });
    await once(socket, "secureConnect");
    const reused = socket.isSessionReused();
    if (session === undefined) while (last === undefined) await new Promise(setImmediate);
    socket.destroy();
    return { reused, session: last ?? Buffer.alloc(0) };
  };
  await Promise.all([one.tell(1, "a"), two.tell(1, "a")]);
  for (const version of ["TLSv1.3", "TLSv1.2"] as const) {
    const { reused, session } = await dial(one.worker.httpsPort, version);
    expect([reused, (await dial(two.worker.httpsPort, version, session)).reused, (await dial(one.worker.httpsPort, version, session)).reused]).toEqual([false, true, true]);
    await two.tell(2, version === "TLSv1.3" ? "b" : "c");
    expect((await dial(two.worker.httpsPort, version, session)).reused).toBe(false);
    await two.tell(1, version === "TLSv1.3" ? "d" : "e");
  }
  await Promise.all(nodes.map(async ({ worker, control }) => {
    await worker.stop();
    await control.close();
  }));
});
