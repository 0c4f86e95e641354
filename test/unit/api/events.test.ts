import pino from "pino";
import { EventWriter, readEvents } from "../../../daemon/api/events.js";
import { systemClock } from "../../../daemon/lib/clock.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import type { Op } from "../../../daemon/state/store.js";

const log = pino({ level: "silent" });

test("a node that dies leaves an event of each of its units: they are written in few transactions, in order, none twice", async () => {
  const store = new MemoryStore(new MemoryState());
  const sizes: number[] = [];
  const counted = { get: store.get.bind(store), list: store.list.bind(store), watch: store.watch.bind(store), txn: async (...args: Parameters<MemoryStore["txn"]>) => {
    sizes.push((args[1] as readonly Op[]).length);
    return store.txn(...args);
  } };
  const writer = new EventWriter(counted, "n1", systemClock, log);
  for (let number = 0; number < 120; number += 1) writer.add(`site-${number}`, "failover", `to n2 ${number}`);
  await writer.flush();
  await writer.flush();
  expect(sizes).toEqual([50, 50, 20]);
  const units = (await readEvents(store, { unit: null, limit: 1000 })).map(({ unit }) => unit);
  expect(units.length).toBe(120);
  expect(new Set(units).size).toBe(120);
});

test("without quorum they wait, and the oldest are dropped and counted", async () => {
  const store = new MemoryStore(new MemoryState());
  const writer = new EventWriter(store, "n1", systemClock, log);
  store.cut();
  for (let number = 0; number < 205; number += 1) writer.add(`site-${number}`, "failover", "");
  await writer.flush();
  expect(writer.dropped).toBe(5);
  store.heal();
  await writer.flush();
  const units = (await readEvents(store, { unit: null, limit: 1000 })).map(({ unit }) => unit);
  expect(units).toHaveLength(200);
  expect(units).not.toContain("site-4");
  expect(units).toContain("site-5");
});
