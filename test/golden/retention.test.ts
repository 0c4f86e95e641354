import { type DesiredDocument, type SiteSpec, siteDefaults } from "../../daemon/lib/documents.js";
import type { UnitRecord } from "../../daemon/lib/records.js";
import { defaultRetention, planPrune, type PrunableSnapshot } from "../../daemon/replication/plan-prune.js";
import { gridOf, retentionOf } from "../../daemon/replication/retention.js";
import type { ClusterState } from "../../daemon/state/cluster-state.js";
import { emptyPicture } from "../../daemon/state/apply.js";
import { makeSnapshotName } from "../../daemon/zfs/snapshot-name.js";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const now = Date.UTC(2030, 5, 3, 12);
type Wish = Required<SiteSpec>["retention"];
/** A snapshot each ten minutes for 100 days; what the grid leaves, by age. */
function left(wish: Wish | undefined): Record<string, number> {
  const all: PrunableSnapshot[] = [];
  for (let atMs = now - 100 * day; atMs <= now; atMs += 10 * minute) all.push({ name: makeSnapshotName(1, atMs, "n1"), guid: String(atMs), createtxg: String(atMs), atMs, userrefs: 0 });
  const gone = new Set(planPrune(all, now, new Set(), gridOf(wish)));
  const ages = all.filter(({ name }) => !gone.has(name)).map(({ atMs }) => now - atMs);
  const within = (from: number, to: number): number => ages.filter((age) => age >= from && age < to).length;
  return { hour: within(0, hour), day: within(hour, day), week: within(day, 7 * day), month: within(7 * day, 30 * day), rest: within(30 * day, 101 * day) };
}
const state = (spec: Partial<SiteSpec> | undefined): ClusterState => ({
  ...emptyPicture.state,
  units: new Map([["site-a", { revision: "1", value: { unit: "site-a", name: "a" } as UnitRecord }]]),
  desired: new Map(spec === undefined ? [] : [["site/a", { revision: "1", value: { version: 1, kind: "site", name: "a", origin: "git", spec } as DesiredDocument }]]),
});

test("without a wish the grid is the default's", () => {
  expect(gridOf(undefined)).toEqual(defaultRetention);
  expect(gridOf(siteDefaults.retention)).toEqual(defaultRetention);
});
test.each<[string, Wish | undefined, ReturnType<typeof left>]>([
  ["the default", undefined, { hour: 6, day: 23, week: 7, month: 23, rest: 8 }],
  ["all of a day", { minutes: 1440, hours: 24, days: 30, weeks: 12 }, { hour: 6, day: 138, week: 7, month: 23, rest: 8 }],
  ["the least", { minutes: 10, hours: 0, days: 0, weeks: 0 }, { hour: 2, day: 0, week: 0, month: 0, rest: 0 }],
  ["a fortnight of hours", { minutes: 60, hours: 336, days: 0, weeks: 0 }, { hour: 6, day: 23, week: 144, month: 169, rest: 0 }],
  ["a hundred days", { minutes: 60, hours: 0, days: 100, weeks: 0 }, { hour: 6, day: 2, week: 6, month: 23, rest: 71 }],
])("%s", (_what, wish, expected) => expect(left(wish)).toEqual(expected));
test("it is the unit's document that counts, also on a replica; of a version before it is the default", () => {
  expect(retentionOf(state({ retention: { minutes: 30, hours: 1, days: 2, weeks: 3 } }), "site-a")).toEqual({ allMs: 30 * minute, maxRecent: 300, hourlyMs: hour, dailyMs: 2 * day, weeklyMs: 21 * day });
  expect(retentionOf(state({}), "site-a")).toEqual(defaultRetention);
});
test("where the wish is not known nothing is pruned: a deletion must not take what a longer wish has kept", () => {
  expect(retentionOf(state(undefined), "site-a")).toBeUndefined();
  expect(retentionOf(state({}), "site-b")).toBeUndefined();
});
