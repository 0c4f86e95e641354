import type { NodeContext } from "../../daemon/context.js";
import type { UnitRecord } from "../../daemon/lib/records.js";
import { LagBook } from "../../daemon/replication/lag.js";
import { Counters } from "../../daemon/replication/metrics.js";
import { restAfter, Snapshotter } from "../../daemon/replication/snapshotter.js";
import { SimClock } from "../support/sim-clock.js";

test("a node on which nothing is written is looked at every third second; a write, a new home and a failure bring it back to each", async () => {
  const clock = new SimClock();
  let looks = 0;
  let written = "0";
  let fails = false;
  let dead = false;
  const zfs = {
    written: async () => {
      looks += 1;
      if (fails) throw new Error("pool is suspended");
      return new Map([["hpool/hc/site-a", written]]);
    },
    snapshot: async () => undefined, snapshots: async () => [],
  };
  const context = { host: { node: "n1" }, cluster: { dataset: "hpool/hc" }, zfs, session: { generation: 1, owns: () => true }, clock, log: { debug: () => undefined } } as unknown as NodeContext;
  const snapshotter = new Snapshotter(context, { lag: new LagBook(() => clock.monotonicMs()), counters: new Counters(), isPaused: () => false, made: () => undefined, failed: () => undefined });
  const home = (unit: string): UnitRecord => ({ unit, homeGeneration: 1, epoch: 1, replicas: ["n2"] }) as UnitRecord;
  let homes = [home("site-a")];
  const seconds = async (count: number): Promise<number> => {
    const before = looks;
    for (let at = 0; at < count; at += 1) {
      await snapshotter.roundIfDue(homes, 1_000, () => !dead).catch(() => undefined);
      await clock.advance(1_000);
    }
    return looks - before;
  };
  expect(await seconds(5)).toBe(5);
  expect(await seconds(30)).toBe(15);
  expect(await seconds(30)).toBe(10);
  written = "4096";
  expect(await seconds(3)).toBe(1); // at most 3 s after it was written
  expect(await seconds(3)).toBe(3);
  written = "0";
  expect(await seconds(65)).toBeLessThan(35);
  homes = [home("site-a"), home("site-b")];
  expect(await seconds(1)).toBe(1);
  await seconds(60);
  fails = true;
  expect(await seconds(3)).toBe(1);
  expect(await seconds(3)).toBe(3);
  fails = false;
  written = "4096";
  // whoever holds the copies is dead: every half minute, whatever is written and whoever else is taken over; it is back: at once
  dead = true;
  await seconds(1);
  homes = [...homes, home("site-c")];
  expect(await seconds(90)).toBe(3);
  dead = false;
  expect(await seconds(3)).toBe(3);
  expect([0, 4, 5, 19, 20, 1e6].map(restAfter)).toEqual([1, 1, 2, 2, 3, 3]);
});
