import fc from "fast-check";
import type { NodeContext } from "../../daemon/context.js";
import type { UnitRecord } from "../../daemon/lib/records.js";
import { LagBook } from "../../daemon/replication/lag.js";
import { Counters } from "../../daemon/replication/metrics.js";
import { restAfter, Snapshotter } from "../../daemon/replication/snapshotter.js";
import { SimClock } from "../support/sim-clock.js";

const home = (unit: string): UnitRecord => ({ unit, home: "n1", homeGeneration: 1, epoch: 1, replicas: ["n2"] }) as UnitRecord;
function snapshotterOn(clock: SimClock, lag: LagBook, zfs: Partial<NodeContext["zfs"]>, isPaused = false, find: (unit: string) => UnitRecord = home): Snapshotter {
  const context = { host: { node: "n1" }, cluster: { dataset: "hpool/hc" }, zfs, session: { generation: 1, owns: () => true }, clock, log: { debug: () => undefined } } as unknown as NodeContext;
  return new Snapshotter(context, { lag, counters: new Counters(), isPaused: () => isPaused, rpo: () => () => 10, record: find, made: () => undefined, failed: () => undefined });
}

test("a node on which nothing is written is looked at every fourth second; a write, a new home and a failure bring it back to each", async () => {
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
  const snapshotter = snapshotterOn(clock, new LagBook(() => clock.monotonicMs()), zfs);
  let homes = [home("site-a")];
  const seconds = async (count: number): Promise<number> => {
    const before = looks;
    for (let at = 0; at < count; at += 1) {
      await snapshotter.roundIfDue(homes, 1_000, () => !dead).catch(() => undefined);
      await clock.advance(1_000);
    }
    return looks - before;
  };
  expect(await seconds(3)).toBe(3);
  expect(await seconds(10)).toBe(5);
  expect(await seconds(18)).toBe(6);
  written = "4096";
  expect(await seconds(3)).toBe(1); // at most 3 s after it was written
  expect(await seconds(3)).toBe(3);
  written = "0";
  expect(await seconds(65)).toBeLessThan(35);
  homes = [home("site-a"), home("site-b")];
  expect(await seconds(1)).toBe(1);
  await seconds(60);
  fails = true;
  expect(await seconds(4)).toBe(1);
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
  expect([0, 2, 3, 7, 8, 14, 15, 1e6].map(restAfter)).toEqual([1, 1, 2, 2, 3, 3, 4, 4]);
});

test("a node that meets many written units for the first time asks for their newest snapshots at once, and each has its own age", async () => {
  const clock = new SimClock();
  const lag = new LagBook(() => clock.monotonicMs());
  let asking = 0;
  let most = 0;
  const units = ["site-a", "site-b", "site-c"];
  const zfs: Partial<NodeContext["zfs"]> = {
    written: async () => new Map(units.map((unit) => [`hpool/hc/${unit}`, "4096"])),
    snapshot: async () => undefined,
    snapshots: async (dataset) => {
      asking += 1;
      most = Math.max(most, asking);
      await clock.sleep(1_000);
      asking -= 1;
      return [{ name: "1-20260101T000000Z-n1", guid: "1", createtxg: "1", userrefs: 0, atMs: clock.wallMs() - 10_000 * units.findIndex((unit) => dataset.endsWith(unit)) }] as never;
    },
  };
  for (const unit of units) lag.confirmed(unit, "n2", { guid: "1", snapshot: "1-20260101T000000Z-n1" }, clock.wallMs());
  const snapshotter = snapshotterOn(clock, lag, zfs, true); // paused: no snapshot takes the age over
  const round = snapshotter.round(units.map(home));
  await clock.advance(5_000);
  expect(await round).toBe(true);
  expect(most).toBe(3);
  const since = units.map((unit) => lag.dirtySinceMs(unit) ?? -1);
  expect(since.map((ms) => (since[0] as number) - ms)).toEqual([0, 10_000, 20_000]);
});

test("a unit that has gone to another home while the node asked its disk gets no snapshot here", async () => {
  const clock = new SimClock();
  const present = home("site-a");
  const made: string[] = [];
  const zfs: Partial<NodeContext["zfs"]> = {
    written: async () => {
      Object.assign(present, { home: "n2", epoch: 2, homeGeneration: 0 });
      return new Map(["site-a", "site-b"].map((unit) => [`hpool/hc/${unit}`, "4096"]));
    },
    snapshots: async () => [], snapshot: async (names) => void made.push(...names),
  };
  const snapshotter = snapshotterOn(clock, new LagBook(() => clock.monotonicMs()), zfs, false, (unit) => (unit === "site-a" ? present : home(unit)));
  await snapshotter.round([{ ...present }, home("site-b")]);
  expect(made).toEqual([expect.stringMatching(/^hpool\/hc\/site-b@/)]);
});

test("as of when a copy is clean is true, however long a look takes and however far apart two are", async () => {
  const visibleWithinMs = 5_000; // the time-out of a transaction group; possible-loss.ts allows more
  await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 40_000 }), fc.integer({ min: 0, max: visibleWithinMs }), fc.array(fc.record({ tookMs: fc.integer({ min: 0, max: 12_000 }), restMs: fc.integer({ min: 0, max: 4_000 }) }), { minLength: 3, maxLength: 12 }), async (writtenMs, visibleMs, looks) => {
    const clock = new SimClock();
    const [began, wall] = [clock.monotonicMs(), clock.wallMs()];
    const sinceMs = (): number => clock.monotonicMs() - began;
    const lag = new LagBook(() => clock.monotonicMs());
    let look = looks[0] as (typeof looks)[number];
    const zfs = {
      written: async () => {
        const seen = sinceMs() >= writtenMs + visibleMs ? "4096" : "0";
        await clock.sleep(look.tookMs);
        return new Map([["hpool/hc/site-a", seen]]);
      },
      snapshots: async () => [],
    };
    const snapshotter = snapshotterOn(clock, lag, zfs, true);
    lag.confirmed("site-a", "n2", { guid: "1", snapshot: "1-20261127T000000.000Z-n1" }, clock.wallMs());
    let over = false;
    const loop = (async () => {
      for (look of looks) {
        await snapshotter.round([home("site-a")]);
        await clock.sleep(look.restMs);
      }
      over = true;
    })();
    for (let steps = 0; !over && steps < 2_000; steps += 1) {
      const toldMs = snapshotter.lookedAtWallMs - wall - (lag.report().get("site-a")?.["n2"]?.lagS ?? 0) * 1_000;
      if (sinceMs() >= writtenMs) expect(toldMs - visibleWithinMs).toBeLessThanOrEqual(writtenMs);
      await clock.advance(250);
    }
    await loop;
  }), { numRuns: 60, seed: 4 });
});

test("a look that began before a restore was ordered makes no snapshot after it", async () => {
  const clock = new SimClock();
  const made: string[] = [];
  let answer = (): void => undefined;
  const asked = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const zfs = {
    written: async () => {
      await asked;
      return new Map(["a", "b"].map((site) => [`hpool/hc/site-${site}`, "4096"]));
    },
    snapshot: async (names: readonly string[]) => void made.push(...names), snapshots: async () => [],
  };
  let restored = "";
  const restore = { id: "r", epoch: 1, snapshot: "s", before: "", reason: "" };
  const snapshotter = snapshotterOn(clock, new LagBook(() => clock.monotonicMs()), zfs, false, (unit) => (unit === restored ? { ...home(unit), restore } : home(unit)));
  const round = snapshotter.round([home("site-a"), home("site-b")]);
  restored = "site-a";
  answer();
  await round;
  expect(made).toEqual([expect.stringMatching(/^hpool\/hc\/site-b@/)]);
});
