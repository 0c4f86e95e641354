import pino from "pino";
import { SimClock } from "../support/sim-clock.js";
import { Pruner } from "../../daemon/replication/prune.js";
import { InUse } from "../../daemon/replication/in-use.js";
import { Counters } from "../../daemon/replication/metrics.js";
import { defaultRetention } from "../../daemon/replication/plan-prune.js";
import { noticed, ZfsChanges } from "../../daemon/zfs/changes.js";
import { createFakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { makeSnapshotName } from "../../daemon/zfs/snapshot-name.js";

const root = "hpool/hc";
const signal = new AbortController().signal;

/** Twelve units with a snapshot each. */
async function setUp(allMs = 60_000) {
  const clock = new SimClock();
  const changes = new ZfsChanges();
  const plain = createFakeZfs({ seed: "prune", nowMs: () => clock.wallMs() });
  const asked: string[] = [];
  const datasets: typeof plain.datasets = (of) => {
    asked.push("all");
    return plain.datasets(of);
  };
  const look: typeof plain.look = (of) => {
    asked.push(of.slice(root.length + 1));
    return plain.look(of);
  };
  const lookAt: typeof plain.lookAt = (of, snapshots) => {
    asked.push(of.slice(root.length + 1));
    return plain.lookAt(of, snapshots);
  };
  const zfs = noticed({ ...plain, datasets, look, lookAt }, changes, () => clock.monotonicMs());
  const paused = new Set<string>();
  const told: string[] = [];
  const log = pino({ level: "warn" }, { write: (line: string) => void told.push(line) });
  const made = () => new Pruner({ cluster: { dataset: root } as never, zfs, clock, changes, log }, {
    counters: new Counters(), inUse: new InUse(), retention: () => ({ ...defaultRetention, allMs, hourlyMs: 0, dailyMs: 0, weeklyMs: 0 }), keep: (unit) => (paused.has(unit) ? undefined : new Set()),
  });
  let pruner = made();
  const restart = (): void => {
    pruner = made();
  };
  await zfs.create(root, {});
  const snapshot = (unit: string): Promise<void> => zfs.snapshot([`${root}/${unit}@${makeSnapshotName(1, clock.wallMs(), "n1")}`]);
  for (let number = 1; number <= 12; number += 1) {
    await zfs.create(`${root}/site-${number}`, {});
    await snapshot(`site-${number}`);
  }
  const left = async (unit: string): Promise<number> => (await plain.snapshots(`${root}/${unit}`)).length;
  return { clock, zfs, paused, snapshot, left, told, restart, round: async () => {
    await pruner.round(signal);
    return asked.splice(0).sort();
  } };
}

test("between two rounds at everything, only what changed is looked at", async () => {
  const { clock, snapshot, left, round } = await setUp();
  expect(await round()).toEqual(["all"]);
  expect(await round()).toEqual([]);
  await clock.advance(120_000);
  await snapshot("site-3");
  await snapshot("site-7");
  expect(await round()).toEqual(["site-3", "site-7"]);
  expect([await left("site-3"), await left("site-4"), await left("site-7")]).toEqual([1, 1, 1]);
  // what it destroyed itself is a change too: had there been more to destroy than one round does, the rest would go now
  expect(await round()).toEqual(["site-3", "site-7"]);
  expect(await round()).toEqual([]);
  expect(await round()).toEqual(["all"]);
});

test("a unit that must be left alone now is looked at in the next round", async () => {
  const { clock, paused, snapshot, left, round } = await setUp();
  await round();
  await clock.advance(120_000);
  await snapshot("site-3");
  paused.add("site-3");
  expect(await round()).toEqual(["site-3"]);
  expect(await left("site-3")).toBe(2);
  paused.clear();
  expect(await round()).toEqual(["site-3"]);
  expect(await left("site-3")).toBe(1);
});

test("one that is gone is no trouble of the others", async () => {
  const { clock, zfs, snapshot, left, round } = await setUp();
  await round();
  await clock.advance(120_000);
  await snapshot("site-3");
  for (const { name } of await zfs.snapshots(`${root}/site-5`)) await zfs.destroy(`${root}/site-5@${name}`);
  await zfs.destroy(`${root}/site-5`);
  expect((await round()).filter((unit) => unit !== "site-5")).toEqual(["site-3"]);
  expect(await left("site-3")).toBe(1);
});

test("a snapshot of the future makes no other one old, here and after the next start; the clock that jumped is told once", async () => {
  const { clock, zfs, snapshot, left, round, told, restart } = await setUp(1_800_000);
  await round();
  await clock.advance(30_000);
  clock.jump(365 * 24 * 3_600_000);
  await snapshot("site-3");
  for (let at = 0; at < 6; at += 1) await round();
  expect([await left("site-3"), told.filter((text) => text.includes("jumped ahead")).length]).toEqual([2, 1]);
  clock.jump(-365 * 24 * 3_600_000);
  restart();
  await round();
  expect(await left("site-3")).toBe(2);
  // and it is thinned out again as time passes
  await clock.advance(3_600_000);
  for (let at = 0; at < 6; at += 1) await round();
  expect((await zfs.snapshots(`${root}/site-3`)).map(({ atMs }) => new Date(atMs).getUTCFullYear())).toEqual([2031]);
});
