import pino from "pino";
import type { NodeContext } from "../../../daemon/context.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { keys, type UnitRecord } from "../../../daemon/lib/records.js";
import type { Replication } from "../../../daemon/replication/replication.js";
import { MemoryStore } from "../../../daemon/state/memory-store.js";
import { changeAll, forgetGroup, makeGroup, prepareGroup, recordsOf, takeGroup } from "../../../daemon/vault/group-snapshot.js";

const record = (unit: string, home: string): UnitRecord => ({ version: 1, unit, kind: "site", name: unit, home, homeGeneration: 1, epoch: 2, epochStartGuid: "g", replicas: [], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "php", version: "1", guid: "t" } });
const order = { units: ["site-a", "site-b", "site-c"], name: "night", forMs: 1_000, reason: "test" };

/** Homes of three units: a and b on n1, c on n2; their records in one store, read by each node anew. */
async function world() {
  const store = new MemoryStore();
  const made: string[] = [];
  const events: string[] = [];
  let refuse = "";
  let nowMs = 0;
  const units = new Map<string, { value: UnitRecord; revision: string }>();
  const look = async (): Promise<void> => {
    for (const { key, value, modRevision } of (await store.list("/hc/unit/")).items) units.set(key.slice(9), { value: JSON.parse(value) as UnitRecord, revision: modRevision });
  };
  for (const one of [record("site-a", "n1"), record("site-b", "n1"), record("site-c", "n2")]) await store.txn([], [{ put: keys.unit(one.unit), value: JSON.stringify(one) }]);
  await look();
  const context = (node: string): NodeContext =>
    ({
      store, cluster: { node }, log: pino({ level: "silent" }), signal: new AbortController().signal, session: { generation: 1, isLive: () => true, owns: () => true },
      view: { current: () => ({ units }), onChange: () => () => undefined }, clock: { wallMs: () => 5_000, monotonicMs: () => (nowMs += 20) }, event: (unit: string, event: string) => void events.push(`${unit} ${event}`),
      peers: {
        async call(to: string, _method: string, path: string, body: { id: string; units: string[] }) {
          await look();
          if (path.endsWith("/prepare")) return { names: prepareGroup(context(to), replication(to), body.units) };
          if (refuse === to) throw new HcError("LIMIT_EXCEEDED", `${to} has no room`);
          await takeGroup(context(to), replication(to), body.id, body.units);
          return {};
        },
      },
    }) as unknown as NodeContext;
  const replication = (node: string): Replication => ({ snapshotName: (unit: string) => `2-${node}-${unit}`, async snapshotTogether(wanted: { unit: string; name: string }[]) { made.push(wanted.map(({ unit, name }) => `${unit}@${name}`).join(" ")); } }) as unknown as Replication;
  const groups = async (): Promise<unknown[]> => (await store.list("/hc/unit/")).items.map(({ value }) => (JSON.parse(value) as UnitRecord).groups);
  return { store, units, look, made, events, context: context("n3"), groups, refuse: (node: string) => { refuse = node; } };
}

test("one command for each home, after all records name the snapshots; how far apart homes were is told", async () => {
  const w = await world();
  const group = await makeGroup(w.context, order);
  expect(group).toMatchObject({ name: "night", of: 3, atMs: 5_000, expiresAtMs: 6_000, withinMs: 20, units: [{ unit: "site-a", home: "n1", snapshot: "2-n1-site-a" }, { unit: "site-b", home: "n1" }, { unit: "site-c", home: "n2" }] });
  expect(w.made).toEqual(["site-a@2-n1-site-a site-b@2-n1-site-b", "site-c@2-n2-site-c"]);
  expect(await w.groups()).toEqual(["n1-site-a", "n1-site-b", "n2-site-c"].map((name) => [{ id: group.id, name: "night", snapshot: `2-${name}`, atMs: 5_000, expiresAtMs: 6_000, of: 3 }]));
  expect(w.events).toHaveLength(3);
  await w.look();
  await expect(makeGroup(w.context, order)).rejects.toMatchObject({ code: "ALREADY_EXISTS" });
  expect((await makeGroup(w.context, { ...order, name: "other", units: ["site-a", "site-b"] })).withinMs).toBe(0);
  await forgetGroup(w.context, group.id, order.units);
  await forgetGroup(w.context, group.id, [...order.units, "site-gone"]);
  expect((await w.groups()).map((list) => (list as { name: string }[] | undefined)?.map(({ name }) => name))).toEqual([["other"], ["other"], undefined]);
});
test("a home that does not make its snapshots leaves no group", async () => {
  const w = await world();
  w.refuse("n2");
  await expect(makeGroup(w.context, order)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED", message: expect.stringContaining("n2 has no room") });
  expect(await w.groups()).toEqual([undefined, undefined, undefined]);
  expect(w.events).toEqual([]);
});
test("a unit that is not there, or that somebody changes meanwhile: nothing is done", async () => {
  const w = await world();
  await expect(makeGroup(w.context, { ...order, units: ["site-a", "site-none"] })).rejects.toMatchObject({ code: "NOT_FOUND" });
  const { records } = recordsOf(w.context, order.units);
  await w.store.txn([], [{ put: keys.unit("site-c"), value: JSON.stringify({ ...record("site-c", "n2"), epoch: 3 }) }]);
  await expect(changeAll(w.context, records, (one) => ({ ...one, epochStartGuid: "changed" }))).rejects.toMatchObject({ code: "CONFLICT" });
  await w.look();
  expect([...w.units.values()].map(({ value }) => value.epochStartGuid)).toEqual(["g", "g", "g"]);
});
