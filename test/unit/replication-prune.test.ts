import fc from "fast-check";
import { defaultRetention, planPrune, type PrunableSnapshot } from "../../daemon/replication/plan-prune.js";
import { makeSnapshotName, parseSnapshotName } from "../../daemon/zfs/snapshot-name.js";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const start = Date.UTC(2030, 5, 3); // a Monday, 00:00
const none: ReadonlySet<string> = new Set();
const at = (atMs: number, index = 0, userrefs = 0): PrunableSnapshot => ({ name: makeSnapshotName(1, atMs, "n1"), guid: String(atMs + index), createtxg: String(atMs), atMs, userrefs });
const survivors = (snapshots: PrunableSnapshot[], nowMs: number, keep = none): PrunableSnapshot[] => {
  const gone = new Set(planPrune(snapshots, nowMs, keep));
  return snapshots.filter((snapshot) => !gone.has(snapshot.name));
};
/** As the pruner does: a snapshot each `everyMs`, a round now and then. */
function live(everyMs: number, forMs: number, roundMs: number): PrunableSnapshot[] {
  let all: PrunableSnapshot[] = [];
  let nextRound = roundMs;
  for (let t = 0; t <= forMs; t += everyMs) {
    all.push(at(start + t));
    if (t >= nextRound) {
      all = survivors(all, start + t);
      nextRound += roundMs;
    }
  }
  return survivors(all, start + forMs);
}

test("everything of the last hour stays", () => {
  const all = Array.from({ length: 60 }, (_, i) => at(start + i * minute));
  expect(planPrune(all, start + 59 * minute, none)).toEqual([]);
});
test("a year of a snapshot a quarter of an hour leaves 12 weeks, 30 days, 24 hours and the last hour", () => {
  const left = live(15 * minute, 365 * day, 6 * hour);
  const ages = left.map((item) => start + 365 * day - item.atMs);
  const within = (from: number, to: number): number => ages.filter((age) => age > from && age <= to).length;
  expect(within(0, hour)).toBeGreaterThanOrEqual(4);
  expect(within(hour, day)).toBe(23);
  expect(within(day, 30 * day)).toBe(29);
  expect(within(30 * day, 84 * day)).toBeGreaterThanOrEqual(7);
  expect(within(30 * day, 84 * day)).toBeLessThanOrEqual(8);
  expect(within(84 * day, 400 * day)).toBe(0);
});
test("written to each second, with a replica away for a day: bounded all the same, and the common one is there", () => {
  const common = at(start, 0, 1);
  let all = [common];
  for (let t = 1_000; t <= 6 * hour; t += 1_000) {
    all.push(at(start + t));
    if (t % minute === 0) all = survivors(all, start + t);
  }
  expect(all.length).toBeLessThan(defaultRetention.maxRecent + 60 + 30);
  expect(all[0]).toBe(common);
  const minutes = new Set(all.filter((item) => start + 6 * hour - item.atMs < hour).map((item) => Math.floor(item.atMs / minute)));
  expect(minutes.size).toBeGreaterThanOrEqual(60);
});
test("kept whatever their age: the newest, held ones, named ones, names of other makers", () => {
  const old = [at(start), { ...at(start + 1), name: "before-upgrade" }, at(start + 2, 0, 1), at(start + 3), at(start + 4)];
  const now = start + 1_000 * day;
  expect(planPrune(old, now, new Set([old[0]?.name ?? ""]))).toEqual([old[3]?.name]);
});
test("a clock behind the snapshots prunes nothing", () => {
  expect(planPrune([at(start), at(start + 1), at(start + 2)], start - 1_000 * day, none)).toEqual([]);
});

const snapshots = fc.array(fc.record({ ageMs: fc.integer({ min: 0, max: 200 * day }), userrefs: fc.constantFrom(0, 0, 0, 1), keep: fc.constantFrom(false, false, true) }), { maxLength: 80 }).map((items) => {
  const sorted = [...new Map(items.map((item) => [item.ageMs, item])).values()].sort((a, b) => b.ageMs - a.ageMs);
  return sorted.map((item) => ({ ...at(start + 200 * day - item.ageMs, 0, item.userrefs), keep: item.keep }));
});
test("property: never the newest, a held or a named one; pruning again changes nothing; nothing young goes", () => {
  fc.assert(
    fc.property(snapshots, (all) => {
      const now = start + 200 * day;
      const keep = new Set(all.filter((item) => item.keep).map((item) => item.name));
      const gone = new Set(planPrune(all, now, keep));
      for (const item of all)
        if (gone.has(item.name)) {
          expect(item === all.at(-1) || item.userrefs > 0 || item.keep).toBe(false);
          expect(now - item.atMs).toBeGreaterThan(hour);
        }
      const left = all.filter((item) => !gone.has(item.name));
      expect(planPrune(left, now, keep)).toEqual([]);
      const week = (item: { atMs: number }): number => Math.floor(item.atMs / (7 * day));
      for (const item of all) if (now - item.atMs < 77 * day) expect(left.some((other) => week(other) === week(item))).toBe(true);
    }),
  );
});

test("snapshot names: read back what was made; others are not ours", () => {
  expect(makeSnapshotName(3, Date.UTC(2026, 0, 2, 3, 4, 5, 678), "n1")).toBe("3-20260102T030405.678Z-n1");
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e9 }), fc.integer({ min: 0, max: Date.UTC(2200, 0, 1) }), fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/), (epoch, atMs, node) => {
      expect(parseSnapshotName(makeSnapshotName(epoch, atMs, node))).toEqual({ epoch, atMs, node });
    }),
  );
  for (const name of ["1.0", "before-upgrade", "1-20260102T030405Z-n1", "1-20261302T030405.678Z-n1", "x1-20260102T030405.678Z-n1"]) expect(parseSnapshotName(name)).toBeUndefined();
});
