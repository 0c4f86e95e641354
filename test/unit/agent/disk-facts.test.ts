import { DiskView } from "../../../daemon/agent/disk-facts.js";
import type { ClusterConfig } from "../../../daemon/lib/node-config.js";
import { noticed, ZfsChanges } from "../../../daemon/zfs/changes.js";
import { createFakeZfs } from "../../../daemon/zfs/fake-zfs.js";
import type { Zfs } from "../../../daemon/zfs/zfs.js";
import { SimClock } from "../../support/sim-clock.js";

const root = "hpool/hc";
async function setUp(units: readonly string[] = ["site-a", "site-b"], changes?: ZfsChanges, mounts?: () => string) {
  const clock = new SimClock();
  const plain = createFakeZfs({ seed: "one" });
  const asked: string[] = [];
  /** What was asked for its snapshots alone, by all looks. */
  const lists: string[] = [];
  let failing = false;
  let slowMs = 0;
  const counted = <A extends unknown[], R>(what: string, act: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    asked.push(`${what} ${String(args[0]).replace(root, ".")}`);
    if (slowMs > 0) await clock.sleep(slowMs);
    if (failing) throw new Error("the pool is gone");
    return act(...args);
  };
  // what zfs itself is asked: below what is remembered
  const below: Zfs = { ...plain, datasets: counted("datasets", plain.datasets), look: counted("look", plain.look), lookAt: counted("look", plain.lookAt), snapshots: counted("list", plain.snapshots), allSnapshots: counted("all", plain.allSnapshots) };
  const zfs = changes === undefined ? below : noticed(below, changes, () => clock.monotonicMs());
  await zfs.create(root, {});
  for (const unit of units) await zfs.create(`${root}/${unit}`, {});
  const disk = new DiskView({ zfs, clock, cluster: { dataset: root } as ClusterConfig, ...(changes === undefined ? {} : { changes }), ...(mounts === undefined ? {} : { platform: { mounts } }) });
  const look = async (): Promise<{ names: string[]; asked: string[] }> => {
    asked.length = 0;
    const looking = disk.look();
    if (slowMs > 0) await clock.advance(slowMs);
    const { datasets } = await looking;
    for (const line of asked) if (line.startsWith("list")) lists.push(line);
    return { names: datasets.map(({ name }) => name.slice(root.length + 1)).filter((name) => name !== "").sort(), asked: asked.filter((line) => !line.startsWith("list")).sort() };
  };
  return { clock, plain, zfs, disk, lists, look, fail: (on: boolean) => { failing = on; }, slow: (ms: number) => { slowMs = ms; } };
}
const whole = ["all .", "datasets ."];

test("first everything, then nothing, then what changed, and everything again after two seconds", async () => {
  const { clock, zfs, disk, look } = await setUp();
  expect(disk.isStale("site-a")).toBe(true);
  expect(await look()).toEqual({ names: ["site-a", "site-b"], asked: whole });
  await zfs.create(`${root}/site-c`, {});
  await zfs.destroy(`${root}/site-a`);
  expect(await look()).toEqual({ names: ["site-a", "site-b"], asked: [] });
  disk.unitChanged("site-c");
  disk.ended("site-a", ["stop", "unmount"]);
  expect([disk.isStale("site-a"), disk.isStale("site-b"), disk.isStale("site-c"), disk.isStale("trash:x")]).toEqual([true, false, true, false]);
  expect(await look()).toEqual({ names: ["site-b", "site-c"], asked: ["look ./site-a", "look ./site-c"] });
  expect(disk.isStale("site-c")).toBe(false);
  await clock.advance(2_000);
  expect((await look()).asked).toEqual(whole);
});

test("a unit that is being worked on is looked at when that has ended, and is stale until then", async () => {
  const { disk, look } = await setUp();
  await look();
  disk.unitChanged("site-a");
  disk.unitChanged("site-b");
  await disk.look(true, new Set(["site-a"]));
  expect([disk.isStale("site-a"), disk.isStale("site-b")]).toEqual([true, false]);
  disk.ended("site-a", ["take-home", "mount-writable"]);
  expect((await look()).asked).toEqual(["look ./site-a"]);
  expect(disk.isStale("site-a")).toBe(false);
});

test("snapshots of a changed unit are seen", async () => {
  const { zfs, disk, look } = await setUp();
  await look();
  await zfs.snapshot([`${root}/site-a@1`]);
  disk.unitChanged("site-a");
  expect((await disk.look()).snapshots.get(`${root}/site-a`)?.map(({ name }) => name)).toEqual(["1"]);
});

test("what changes more than one dataset waits for a look at everything, and so does the trash", async () => {
  const { clock, disk, look, slow } = await setUp();
  slow(300);
  await look();
  disk.ended("site-a", ["bury"]);
  expect([disk.isStale("site-a"), disk.isStale("trash:x"), disk.isStale("site-b")]).toEqual([true, true, false]);
  expect(disk.waitMs()).toBe(600);
  expect((await look()).asked).toEqual([]);
  expect(disk.isStale("site-a")).toBe(true);
  await clock.advance(600);
  expect((await look()).asked).toEqual(whole);
  expect([disk.isStale("site-a"), disk.isStale("trash:x"), disk.waitMs()]).toEqual([false, false, undefined]);
  disk.ended("node:services", ["ensure-user", "configure"]);
  disk.ended("template:php", ["build-template", "publish-template"]);
  expect([disk.isStale("template:php"), disk.isStale("trash:x"), disk.waitMs()]).toEqual([true, false, 600]);
});

test("a change during a look stays for the next one; after an error everything stays", async () => {
  const { disk, look, slow, fail, clock } = await setUp();
  slow(100);
  const looking = disk.look();
  disk.ended("site-a", ["mount-writable"]);
  await clock.advance(100);
  await looking;
  expect(disk.isStale("site-a")).toBe(true);
  slow(0);
  fail(true);
  await expect(disk.look()).rejects.toThrow("the pool is gone");
  expect(disk.isStale("site-a")).toBe(true);
  disk.treeChanged();
  await clock.advance(5_000);
  await expect(disk.look()).rejects.toThrow("the pool is gone");
  expect(disk.isStale("site-a")).toBe(true);
  fail(false);
  await clock.advance(5_000);
  expect((await look()).asked).toEqual(whole);
  expect(disk.isStale("site-a")).toBe(false);
});

test("one look that took a minute does not blind the node for four", async () => {
  const { clock, look, slow } = await setUp();
  slow(60_000);
  await look();
  slow(0);
  await clock.advance(29_000);
  expect((await look()).asked).toEqual([]);
  await clock.advance(1_000);
  expect((await look()).asked).toEqual(whole);
});

test("many changed units are looked at by one look", async () => {
  const units = Array.from({ length: 17 }, (_, index) => `site-${index}`);
  const { disk, look } = await setUp(units);
  await look();
  for (const unit of units) disk.unitChanged(unit);
  expect((await look()).asked).toEqual(whole);
});

describe("where it is known what this process changes", () => {
  const datasets = ["datasets ."];
  const known = () => setUp(["site-a", "site-b"], new ZfsChanges());

  test("an idle node is asked for its datasets every eight seconds and for each unit's snapshots every five to ten minutes, and its version stands still", async () => {
    const { clock, plain, disk, look, lists } = await known();
    await plain.snapshot([`${root}/site-a@1`, `${root}/site-b@1`]);
    expect((await look()).asked).toEqual(whole);
    const { version } = disk;
    await clock.advance(4_000);
    expect((await look()).asked).toEqual([]);
    await clock.advance(4_000);
    expect((await look()).asked).toEqual(datasets);
    expect(disk.version).toBe(version);
    await plain.snapshot([`${root}/site-a@2`, `${root}/site-b@2`]); // by others
    for (let atMs = 8_000; atMs < 288_000; atMs += 10_000) {
      await clock.advance(10_000);
      expect((await look()).asked).toEqual(datasets);
    }
    expect([lists, disk.version]).toEqual([["list ."], version]);
    for (let atMs = 288_000; atMs < 608_000; atMs += 10_000) {
      await clock.advance(10_000);
      expect((await look()).asked).toEqual(datasets);
    }
    expect(lists.sort()).toEqual(["list .", "list .", "list ./site-a", "list ./site-b"]);
    expect([...(await disk.look()).snapshots.values()].map((list) => list.length)).toEqual([2, 2]);
  });

  test("what replication changes is looked at alone, at most every ten seconds, and is stale for nobody", async () => {
    const { clock, zfs, disk, look } = await known();
    await look();
    await zfs.snapshot([`${root}/site-a@1`]);
    const { version } = disk;
    expect(disk.isStale("site-a")).toBe(false);
    await clock.advance(4_000);
    expect((await look()).asked).toEqual([]);
    expect(disk.version).toBe(version);
    await clock.advance(4_000);
    expect((await look()).asked).toEqual(datasets); // which lists what there is of each that is not remembered
    await clock.advance(2_000);
    expect((await look()).asked).toEqual([]);
    expect(disk.version).toBeGreaterThan(version);
    expect((await disk.look()).snapshots.get(`${root}/site-a`)?.map(({ name }) => name)).toEqual(["1"]);
    await zfs.snapshot([`${root}/site-a@2`]);
    await clock.advance(9_000);
    expect((await look()).asked).toEqual(["datasets .", "look ./site-a"]);
    await clock.advance(1_000);
    expect((await look()).asked).toEqual([]);
    // alone, where the datasets may wait
    const other = await setUp(["site-a", "site-b"], new ZfsChanges(), () => "/hc /hc/site-a");
    await other.look();
    await other.zfs.snapshot([`${root}/site-a@1`]);
    await other.clock.advance(9_000);
    expect((await other.look()).asked).toEqual([]);
    await other.clock.advance(1_000);
    expect((await other.look()).asked).toEqual(["look ./site-a"]);
  });

  test("after a change of the record only what was seen within the last minute is taken from memory", async () => {
    const { clock, plain, disk, look } = await known();
    await plain.snapshot([`${root}/site-a@1`]);
    await look();
    await plain.snapshot([`${root}/site-a@2`]); // by a process before this one, whose command ended late
    disk.ended("site-a", ["stop"]);
    await look();
    expect((await disk.look()).snapshots.get(`${root}/site-a`)).toHaveLength(1);
    disk.unitChanged("site-a");
    await look();
    expect((await disk.look()).snapshots.get(`${root}/site-a`)).toHaveLength(1);
    await clock.advance(60_000);
    disk.unitChanged("site-a");
    await look();
    expect((await disk.look()).snapshots.get(`${root}/site-a`)).toHaveLength(2);
    // together with many others too
    await plain.snapshot([`${root}/site-b@1`]);
    for (let number = 0; number < 17; number += 1) disk.ended(`site-x${number}`, ["stop"]);
    disk.unitChanged("site-b");
    await clock.advance(60_000);
    expect((await look()).asked).toEqual(["datasets ."]);
    expect((await disk.look()).snapshots.get(`${root}/site-b`)).toHaveLength(1);
  });

  test("many units that were sealed just now and changed hands are not listed again", async () => {
    const units = Array.from({ length: 40 }, (_, number) => `site-y${number}`);
    const { plain, zfs, disk, look, lists, clock } = await setUp(units, new ZfsChanges());
    await look();
    await clock.advance(60_000);
    await plain.snapshot(units.map((unit) => `${root}/${unit}@1`)); // seen by the seal alone
    for (const unit of units) await zfs.look(`${root}/${unit}`, { maxAgeMs: 0 });
    for (const unit of units) disk.unitChanged(unit);
    expect((await look()).asked).toEqual(["datasets ."]);
    expect(lists).toEqual(["list ."]); // which has none, so the first look has not told of it
    expect((await disk.look()).snapshots.size).toBe(40);
  });

  test("what others change is seen within eight seconds: a property, and with its snapshots a dataset that came or was replaced", async () => {
    const { clock, plain, disk, look } = await known();
    await look();
    const { version } = disk;
    await plain.mount(`${root}/site-a`);
    await clock.advance(8_000);
    expect((await look()).asked).toEqual(datasets);
    expect((await disk.look()).datasets.find(({ name }) => name === `${root}/site-a`)?.mounted).toBe(true);
    expect(disk.version).toBeGreaterThan(version);
    await plain.create(`${root}/site-c`, {});
    await plain.snapshot([`${root}/site-c@1`]);
    await clock.advance(8_000);
    expect(await look()).toEqual({ names: ["site-a", "site-b", "site-c"], asked: ["datasets .", "datasets ."] });
    expect((await disk.look()).snapshots.get(`${root}/site-c`)).toHaveLength(1);
    await plain.destroy(`${root}/site-c@1`);
    await plain.destroy(`${root}/site-c`);
    await plain.create(`${root}/site-c`, {});
    await clock.advance(8_000);
    expect((await look()).asked).toEqual(["datasets .", "datasets ."]);
    expect((await disk.look()).snapshots.has(`${root}/site-c`)).toBe(false);
  });

  test("units that come are one look; a change below something else, distrust and a node that is not alone: everything, soon", async () => {
    const { clock, zfs, disk, look } = await known();
    await look();
    for (let number = 0; number < 17; number += 1) await zfs.create(`${root}/site-x${number}`, {});
    await clock.advance(6_000);
    expect((await look()).asked).toEqual([]);
    await clock.advance(4_000);
    expect((await look()).asked).toEqual(["all .", "datasets .", "datasets ."]);
    await zfs.create(`${root}/trash`, {});
    await clock.advance(2_000);
    expect((await look()).asked).toEqual(datasets);
    disk.distrust();
    expect(disk.isStale("site-a")).toBe(true);
    expect((await look()).asked).toEqual(whole);
    await clock.advance(2_000);
    expect((await disk.look(false)).datasets.length).toBe(21);
    expect((await look()).asked).toEqual([]);
  });

  test("of many units a part may change, and the others cost nothing", async () => {
    const names = Array.from({ length: 400 }, (_, number) => `site-y${number}`);
    const { clock, zfs, plain, look } = await setUp(names, new ZfsChanges());
    await plain.snapshot(names.map((name) => `${root}/${name}@0`));
    await look();
    await zfs.snapshot(names.slice(0, 40).map((name) => `${root}/${name}@1`));
    await clock.advance(10_000);
    const { asked } = await look();
    expect(asked.filter((line) => line.startsWith("look "))).toHaveLength(40);
    expect(asked.filter((line) => !line.startsWith("look "))).toEqual(["datasets ."]);
  });
});

test("while the host's mounts are as they were, the datasets are looked at every 30 s; when one came or went, as soon as they may be", async () => {
  let mounts = "/hc /hc/site-a";
  const { clock, look, fail } = await setUp(undefined, new ZfsChanges(), () => mounts);
  expect((await look()).asked).toEqual(whole);
  await clock.advance(20_000);
  expect((await look()).asked).toEqual([]);
  mounts = "/hc";
  expect((await look()).asked).toEqual(["datasets ."]);
  expect((await look()).asked).toEqual([]);
  // changed again at once: not sooner than without the table
  mounts = "/hc /hc/site-b";
  await clock.advance(4_000);
  expect((await look()).asked).toEqual([]);
  await clock.advance(4_000);
  // a look that fails has seen nothing
  fail(true);
  await expect(look()).rejects.toThrow("the pool is gone");
  fail(false);
  expect((await look()).asked).toEqual(["datasets ."]);
  await clock.advance(30_000);
  expect((await look()).asked).toEqual(["datasets ."]);
});
