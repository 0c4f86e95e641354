import { EventWriter, eventLimit, eventsPerUnit, planTrim, readEvents } from "../../../daemon/api/events.js";
import { createLogger } from "../../../daemon/lib/log.js";
import { keys } from "../../../daemon/lib/records.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import type { Op } from "../../../daemon/state/store.js";
import { SimClock } from "../../support/sim-clock.js";

const log = createLogger("test", { write: () => undefined });
const item = (at: number, unit: string): { key: string; value: string } => ({ key: keys.event(`${String(at).padStart(13, "0")}-n1-${at}`), value: JSON.stringify({ unit }) });

test("history is bounded in all and for each unit: one that flaps does not push out the others'", () => {
  const flapping = Array.from({ length: 5_000 }, (_, at) => item(at + 10, "site-bad"));
  const quiet = [item(1, "site-good"), item(2, "")];
  const gone = new Set(planTrim([...quiet, ...flapping]));
  expect(gone.size).toBe(5_000 - eventsPerUnit);
  expect(quiet.some(({ key }) => gone.has(key))).toBe(false);
  expect(gone.has(flapping.at(-eventsPerUnit)!.key)).toBe(false);
  const many = Array.from({ length: eventLimit + 7 }, (_, at) => item(at, `site-${at}`));
  expect(planTrim(many)).toEqual(many.slice(0, 7).map(({ key }) => key).reverse());
});

test("what is asked for: a unit's, the newest, not older than a moment; each with a name of its own", async () => {
  const store = new MemoryStore(new MemoryState());
  const clock = new SimClock(1_000_000);
  const writer = new EventWriter(store, "n1", clock, log);
  for (let at = 0; at < 6; at += 1) {
    writer.add(at % 2 === 0 ? "site-a" : "site-b", `e${at}`, "");
    await clock.advance(1_000);
  }
  expect(writer.waiting).toBe(6);
  await writer.flush();
  expect(writer.waiting).toBe(0);
  const names = async (options: Parameters<typeof readEvents>[1]): Promise<string[]> => (await readEvents(store, options)).map(({ event }) => event);
  expect(await names({ unit: null, limit: 4 })).toEqual(["e2", "e3", "e4", "e5"]);
  expect(await names({ unit: "site-b", limit: 9 })).toEqual(["e1", "e3", "e5"]);
  expect(await names({ unit: null, limit: 9, sinceMs: 1_004_000 })).toEqual(["e4", "e5"]);
  const ids = (await readEvents(store, { unit: null, limit: 9 })).map(({ id }) => id);
  expect(new Set(ids).size).toBe(6);
  expect([...ids].sort()).toEqual(ids);
});

test("a node that dies leaves an event of each of its units: they are written in few transactions, in order, none twice", async () => {
  const store = new MemoryStore(new MemoryState());
  const sizes: number[] = [];
  const counted = { get: store.get.bind(store), list: store.list.bind(store), watch: store.watch.bind(store), txn: async (...args: Parameters<MemoryStore["txn"]>) => {
    sizes.push((args[1] as readonly Op[]).length);
    return store.txn(...args);
  } };
  const writer = new EventWriter(counted, "n1", new SimClock(), log);
  for (let number = 0; number < 120; number += 1) writer.add(`site-${number}`, "failover", `to n2 ${number}`);
  await writer.flush();
  await writer.flush();
  expect(sizes).toEqual([50, 50, 20]);
  const units = (await readEvents(store, { unit: null, limit: 1000 })).map(({ unit }) => unit);
  expect(units.length).toBe(120);
  expect(new Set(units).size).toBe(120);
});

test("without quorum two hundred wait, then the oldest are dropped and counted", async () => {
  const store = new MemoryStore(new MemoryState());
  store.cut();
  const writer = new EventWriter(store, "n1", new SimClock(), log);
  for (let at = 0; at < 250; at += 1) writer.add("", `e${at}`, "");
  await writer.flush();
  expect([writer.waiting, writer.dropped]).toEqual([200, 50]);
  store.heal();
  await writer.flush();
  expect((await readEvents(store, { unit: null, limit: 1 }))[0]?.event).toBe("e249");
});

test("the loop writes what is added within a tick, tries again what etcd has not taken, asks nobody while there is nothing, and ends with the last written", async () => {
  const store = new MemoryStore(new MemoryState());
  const clock = new SimClock();
  const writer = new EventWriter(store, "n1", clock, log);
  const end = new AbortController();
  const running = writer.run(end.signal);
  const newest = async (): Promise<string | undefined> => (await readEvents(store, { unit: null, limit: 1 }))[0]?.event;
  await clock.advance(10_000);
  expect(clock.waiting()).toBe(0);
  writer.add("", "one", "");
  await clock.advance(400);
  expect(await newest()).toBe("one");
  store.cut();
  writer.add("", "two", "");
  await clock.advance(2_000);
  expect(writer.waiting).toBe(1);
  store.heal();
  await clock.advance(400);
  expect(await newest()).toBe("two");
  await clock.advance(1_000);
  writer.add("", "three", "");
  end.abort();
  await running;
  expect(await newest()).toBe("three");
});
