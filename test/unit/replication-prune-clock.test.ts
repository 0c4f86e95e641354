import { defaultRetention, planPrune, type PrunableSnapshot } from "../../daemon/replication/plan-prune.js";
import { believe, type Believed, pruneNow } from "../../daemon/replication/prune-clock.js";
import { makeSnapshotName } from "../../daemon/zfs/snapshot-name.js";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
/** Between two snapshots, and between two rounds. */
const [writeMs, roundMs] = [5 * minute, 30 * minute];
const start = Date.UTC(2030, 5, 3);
const none: ReadonlySet<string> = new Set();
let count = 0;
function made(atMs: number): PrunableSnapshot {
  count += 1;
  return { name: makeSnapshotName(1, atMs, "n1"), guid: String(count), createtxg: String(count), atMs, userrefs: 0 };
}

/** A node that thins out its copy, with a clock that may be wrong. */
class Holder {
  public snapshots: PrunableSnapshot[];
  public wrongMs = 0;
  private believed: Believed | undefined;
  private seen: { guid: string; monotonicMs: number } | undefined;
  public constructor(history: readonly PrunableSnapshot[]) {
    this.snapshots = [...history];
  }
  public restart(trueMs: number): void {
    this.believed = believe(undefined, trueMs + this.wrongMs, trueMs);
    this.seen = undefined;
  }
  /** The true time is as good a monotonic clock as any. */
  public round(trueMs: number): void {
    this.believed = believe(this.believed, trueMs + this.wrongMs, trueMs);
    const newest = this.snapshots.at(-1) as PrunableSnapshot;
    if (this.seen?.guid !== newest.guid) this.seen = { guid: newest.guid, monotonicMs: trueMs };
    const gone = new Set(planPrune(this.snapshots, pruneNow(newest.atMs, trueMs - this.seen.monotonicMs, this.believed), none));
    this.snapshots = this.snapshots.filter(({ name }) => !gone.has(name));
  }
}
/** What the grid keeps of a month before the start. */
function month(): PrunableSnapshot[] {
  const all = Array.from({ length: 30 * 24 }, (_, i) => made(start - 30 * day + i * hour));
  const gone = new Set(planPrune(all, start, none));
  return all.filter(({ name }) => !gone.has(name));
}

type Who = "home" | "replica";
/** At this hour: clocks are wrong by so much from now on, hcd starts anew, the site is not written to any more. */
interface Change { at: number; home?: number; replica?: number; restart?: Who; idle?: boolean }
/** `lost`: of what a right clock would have kept, 0 = nothing. `left`: at most so many snapshots at the end. */
const table: [string, Change[], { hours: number; lost: Record<Who, number | "most">; left?: number }][] = [
  ["all clocks are right", [], { hours: 26, lost: { home: 0, replica: 0 }, left: 100 }],
  ["the home's clock jumps ahead by a day", [{ at: 1, home: day }], { hours: 4, lost: { home: 0, replica: 0 }, left: 100 }],
  ["by a year, and is set right again", [{ at: 1, home: 365 * day }, { at: 2, home: 0 }], { hours: 26, lost: { home: 0, replica: 0 }, left: 100 }],
  ["for a moment, and that snapshot stays the newest", [{ at: 1, home: 365 * day }, { at: 1.5, home: 0, idle: true }], { hours: 60, lost: { home: 0, replica: 0 }, left: 100 }],
  ["the replica's hcd starts while the snapshot of the future is the newest", [{ at: 1, home: 365 * day }, { at: 1.5, home: 0, idle: true }, { at: 2, restart: "replica" }], { hours: 60, lost: { home: 0, replica: 0 }, left: 100 }],
  ["the home's hcd starts then, with its clock set right", [{ at: 1, home: 365 * day }, { at: 1.5, home: 0, idle: true }, { at: 2, restart: "home" }], { hours: 60, lost: { home: 0, replica: 0 }, left: 100 }],
  ["the home's hcd starts with its clock ahead: nobody there can tell, and the copy elsewhere keeps all", [{ at: 1, home: 365 * day }, { at: 2, restart: "home" }], { hours: 4, lost: { home: "most", replica: 0 } }],
  ["the home's clock jumps back by a day: later snapshots seem older, nothing goes for that, and the last hour stays bounded", [{ at: 1, home: -day }], { hours: 26, lost: { home: 0, replica: 0 }, left: 100 }],
  ["the replica's clock jumps back by a year: it goes on thinning out", [{ at: 1, replica: -365 * day }], { hours: 26, lost: { home: 0, replica: 0 }, left: 100 }],
  ["both began with clocks a year behind, which were set right later: they are believed in the end", [{ at: 0, home: -365 * day, replica: -365 * day }, { at: 0, restart: "home" }, { at: 0, restart: "replica" }, { at: 1, home: 0, replica: 0 }], { hours: 80, lost: { home: 0, replica: 0 }, left: 100 }],
  ["steps of a minute are followed", [{ at: 1, home: minute, replica: -minute }, { at: 2, home: -minute, replica: minute }], { hours: 26, lost: { home: 0, replica: 0 }, left: 100 }],
];
test.each(table)("%s", (_what, changes, { hours, lost, left }) => {
  const history = month();
  const holders: Record<Who, Holder> = { home: new Holder(history), replica: new Holder(history) };
  for (const holder of Object.values(holders)) holder.restart(start);
  let idle = false;
  const due = [...changes];
  for (let trueMs = start; trueMs <= start + hours * hour; trueMs += writeMs) {
    while (due[0] !== undefined && start + due[0].at * hour <= trueMs) {
      const change = due.shift() as Change;
      holders.home.wrongMs = change.home ?? holders.home.wrongMs;
      holders.replica.wrongMs = change.replica ?? holders.replica.wrongMs;
      idle = change.idle ?? idle;
      if (change.restart !== undefined) holders[change.restart].restart(trueMs);
    }
    if (!idle) {
      const snapshot = made(trueMs + holders.home.wrongMs);
      for (const holder of Object.values(holders)) holder.snapshots.push(snapshot);
    }
    if ((trueMs - start) % roundMs === 0) for (const holder of Object.values(holders)) holder.round(trueMs);
  }
  // of the history before: what is neither an hour's within the last day nor a day's goes by and by, whatever the clocks
  const endMs = start + hours * hour;
  const wanted = history.filter(({ atMs }) => atMs % day === 0 ? endMs - atMs < defaultRetention.dailyMs : endMs - atMs < defaultRetention.hourlyMs);
  expect(wanted.length).toBeGreaterThan(25);
  for (const who of ["home", "replica"] as const) {
    const there = new Set(holders[who].snapshots.map(({ name }) => name));
    const missing = wanted.filter(({ name }) => !there.has(name)).length;
    if (lost[who] === "most") expect(missing).toBeGreaterThan(20);
    else expect([who, missing]).toEqual([who, lost[who]]);
    if (left !== undefined) expect(there.size).toBeLessThan(left);
  }
});
