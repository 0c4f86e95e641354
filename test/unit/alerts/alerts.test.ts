import type { NodeContext } from "../../../daemon/context.js";
import { Alerts } from "../../../daemon/alerts/alerts.js";
import { sealAlerts } from "../../../daemon/alerts/receivers.js";
import type { AlertMessage } from "../../../daemon/alerts/alert-text.js";
import { alertDefaults } from "../../../daemon/lib/alerts-spec.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { createLogger } from "../../../daemon/lib/log.js";
import { type AlertRecord, keys } from "../../../daemon/lib/records.js";
import { createSealer } from "../../../daemon/lib/sealed.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";
import { SimClock } from "../../support/sim-clock.js";

const sealer = createSealer(Buffer.alloc(32, 7).toString("base64"));
const said: string[] = [];
const log = createLogger("test", { write: (line: string) => void said.push(line) });
const spec = { webhooks: [{ name: "chat", url: "https://chat.example/T0KEN", headers: {} }], heartbeat: { url: "https://beat.example/T0KEN", everyS: 30 }, ca: "", thresholds: { ...alertDefaults, poolS: 5, clearS: 5 } };

/** Leaders of one cluster, one after the other, over one etcd; receivers that take or refuse. */
async function setup() {
  const state = new MemoryState();
  const clock = new SimClock();
  const put = (key: string, value: object): string => state.txn([], [{ put: key, value: JSON.stringify(value) }]).revision;
  put(keys.node("n1"), { version: 1, node: "n1", role: "node" });
  put(keys.session("n1"), { version: 1, node: "n1", generation: 1, counter: 1 });
  put(keys.desired("alerts", "ops"), { version: 1, kind: "alerts", name: "ops", origin: "git", spec: sealAlerts(sealer, "ops", spec) });
  const pool = (health: string): void => void put(keys.observedNode("n1"), { version: 1, node: "n1", pool: { name: "hpool", health, sizeBytes: "100", freeBytes: "90" }, etcd: { role: "voter", healthy: true } });
  pool("ONLINE");
  const world = { refuses: false, told: [] as string[], beats: 0, stores: [] as MemoryStore[] };
  const lead = async (): Promise<{ alerts: Alerts; lose: () => void; store: MemoryStore }> => {
    const store = new MemoryStore(state);
    const view = new WatchedView(store, log);
    await view.start(new AbortController().signal);
    let guard: { key: string; modRevision: string } | undefined = { key: keys.leader, modRevision: put(keys.leader, { version: 1, node: "n1", generation: 1, term: 1 }) };
    const context = { store, view, clock, log, event: () => undefined, signal: new AbortController().signal, cluster: { cluster: "eu", voters: ["n1"] }, host: { node: "n1" } } as unknown as NodeContext;
    const take = async (): Promise<void> => {
      if (world.refuses) throw new HcError("NOT_DELIVERED", "connection to https://chat.example/T0KEN refused");
    };
    const alerts = new Alerts({
      context, leader: { guard: () => guard }, liveness: { alive: () => new Set(["n1"]) }, sealer, waits: () => new Map(),
      senders: {
        tell: (_receiver, message: AlertMessage) => take().then(() => void world.told.push(`${message.state} ${message.title}`)),
        beat: async () => {
          await take();
          world.beats += 1;
        },
      },
    });
    return { alerts, lose: () => (guard = undefined), store };
  };
  const pass = async (alerts: Alerts, seconds: number): Promise<void> => {
    for (let second = 0; second < seconds; second += 1) {
      await alerts.step().catch(() => undefined); // as `run` does: the next round looks again
      await alerts.settled();
      await clock.advance(1_000);
    }
  };
  const records = (): AlertRecord[] => state.list("/hc/alert/").items.map(({ value }) => JSON.parse(value) as AlertRecord);
  return { state, put, pool, world, lead, pass, records, clock };
}

test("fires once, resolves once, and says both in the record", async () => {
  const { pool, world, lead, pass, records } = await setup();
  const { alerts } = await lead();
  pool("DEGRADED");
  await pass(alerts, 60);
  expect(world.told).toEqual(["firing n1: pool hpool is DEGRADED"]);
  expect(records()).toMatchObject([{ resolvedAtMs: 0, told: { "ops/chat": { state: "firing" } } }]);
  pool("ONLINE");
  await pass(alerts, 60);
  expect(world.told).toEqual(["firing n1: pool hpool is DEGRADED", "resolved resolved: n1: pool hpool is DEGRADED"]);
  expect(records()).toMatchObject([{ told: { "ops/chat": { state: "resolved" } } }]);
  expect(alerts.report()).toMatchObject({ alerts: [{ kind: "pool" }], receivers: [{ receiver: "ops/chat", where: "chat.example", waiting: 0, error: "", sent: 2 }] });
});

test("who does not lead writes and sends nothing; the next leader goes on where the last one was", async () => {
  const { pool, world, lead, pass, records } = await setup();
  const first = await lead();
  pool("DEGRADED");
  await pass(first.alerts, 20);
  first.lose();
  const second = await lead();
  await pass(first.alerts, 20);
  await pass(second.alerts, 20);
  expect(world.told).toHaveLength(1);
  pool("ONLINE");
  await pass(first.alerts, 20);
  expect(records()).toMatchObject([{ resolvedAtMs: 0 }]);
  await pass(second.alerts, 20);
  expect(world.told).toHaveLength(2);
});

test("a leader that was overtaken and does not know it writes nothing", async () => {
  const { pool, world, lead, pass, records } = await setup();
  const first = await lead();
  await lead();
  pool("DEGRADED");
  await pass(first.alerts, 30);
  expect([records(), world.told]).toEqual([[], []]);
});

test("a receiver that refuses is tried again with growing pauses, then told; the heartbeat stops meanwhile, and no secret is in log or report", async () => {
  const { pool, world, lead, pass, clock } = await setup();
  const { alerts } = await lead();
  await pass(alerts, 5);
  expect(world.beats).toBe(1);
  pool("DEGRADED");
  world.refuses = true;
  await pass(alerts, 600);
  const report = alerts.report();
  const [line] = report.receivers;
  expect(line).toMatchObject({ waiting: 1, sent: 0, error: "connection to *** refused" });
  expect(line!.failures).toBeGreaterThan(4);
  expect(line!.failures).toBeLessThan(20);
  expect(report.heartbeats).toMatchObject([{ withheld: expect.stringContaining("could not be told"), where: "beat.example" }]);
  const beats = report.heartbeats[0]!.failures;
  await pass(alerts, 120);
  expect(alerts.report().heartbeats[0]!.failures).toBe(beats);
  expect(alerts.metrics()).toEqual(expect.arrayContaining([{ name: "hc_alerts_waiting", labels: { receiver: "ops/chat" }, value: 1 }, { name: "hc_alerts_firing", labels: { kind: "pool" }, value: 1 }]));
  world.refuses = false;
  await pass(alerts, 400);
  expect(world.told).toEqual(["firing n1: pool hpool is DEGRADED"]);
  expect(world.beats).toBeGreaterThan(1);
  expect(clock.monotonicMs()).toBeGreaterThan(1_000_000);
  expect(`${said.join("")}${JSON.stringify(alerts.report())}`).not.toContain("T0KEN");
});

test("the answer to its note is lost: nothing is sent again", async () => {
  const { pool, world, lead, pass, records } = await setup();
  const { alerts, store } = await lead();
  pool("DEGRADED");
  // of whatever is written: the alert's record, the note that it was told
  for (let second = 0; second < 20; second += 1) {
    store.loseAnswers(second % 2);
    await pass(alerts, 1);
  }
  store.loseAnswers(0);
  await pass(alerts, 10);
  expect(world.told).toHaveLength(1);
  expect(records()).toMatchObject([{ told: { "ops/chat": { state: "firing" } } }]);
});

test("the counting goes on with another leader: conditions that are old enough are written down", async () => {
  const { put, world, lead, pass, state } = await setup();
  put(keys.desired("alerts", "ops"), { version: 1, kind: "alerts", name: "ops", origin: "git", spec: sealAlerts(sealer, "ops", { ...spec, thresholds: { ...alertDefaults, poolS: 100 } }) });
  put(keys.observedNode("n1"), { version: 1, node: "n1", pool: null, etcd: { role: "voter", healthy: true } });
  const first = await lead();
  await pass(first.alerts, 70);
  expect(state.get(keys.alertPending)?.value).toContain('"pool/n1"');
  first.lose();
  const second = await lead();
  await pass(second.alerts, 25);
  expect(world.told).toEqual([]);
  await pass(second.alerts, 10);
  expect(world.told).toEqual(["firing n1: has no pool"]);
});

test("a test goes to everybody, and says who did not take it", async () => {
  const { world, lead } = await setup();
  const { alerts } = await lead();
  expect(await alerts.test()).toMatchObject([{ receiver: "ops/chat", ok: true, error: "" }, { receiver: "ops/heartbeat", ok: true }]);
  expect(world.told).toEqual(["test test of alerts"]);
  world.refuses = true;
  expect(await alerts.test()).toMatchObject([{ receiver: "ops/chat", ok: false, error: "connection to *** refused" }, { ok: false }]);
});
