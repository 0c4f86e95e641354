import { DiskView } from "../../../daemon/agent/disk-facts.js";
import type { ClusterConfig } from "../../../daemon/lib/node-config.js";
import { createFakeZfs } from "../../../daemon/zfs/fake-zfs.js";
import type { Zfs } from "../../../daemon/zfs/zfs.js";
import { SimClock } from "../../support/sim-clock.js";

const root = "hpool/hc";
async function setUp(units: readonly string[] = ["site-a", "site-b"]) {
  const clock = new SimClock();
  const real = createFakeZfs({ seed: "one" });
  await real.create(root, {});
  for (const unit of units) await real.create(`${root}/${unit}`, {});
  const asked: string[] = [];
  let failing = false;
  let slowMs = 0;
  const counted = <A extends unknown[], R>(what: string, act: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    asked.push(`${what} ${String(args[0]).replace(root, ".")}`);
    if (slowMs > 0) await clock.sleep(slowMs);
    if (failing) throw new Error("the pool is gone");
    return act(...args);
  };
  const zfs = { ...real, datasets: counted("datasets", (name: string) => real.datasets(name)), look: counted("look", (name: string) => real.look(name)), allSnapshots: counted("all", (name: string) => real.allSnapshots(name)) } as Zfs;
  const disk = new DiskView({ zfs, clock, cluster: { dataset: root } as ClusterConfig });
  const look = async (): Promise<{ names: string[]; asked: string[] }> => {
    asked.length = 0;
    const looking = disk.look();
    if (slowMs > 0) await clock.advance(slowMs);
    const { datasets } = await looking;
    return { names: datasets.map(({ name }) => name.slice(root.length + 1)).filter((name) => name !== "").sort(), asked: [...asked].sort() };
  };
  return { clock, zfs: real, disk, look, fail: (on: boolean) => { failing = on; }, slow: (ms: number) => { slowMs = ms; } };
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

test("many changed units are looked at by one look", async () => {
  const units = Array.from({ length: 17 }, (_, index) => `site-${index}`);
  const { disk, look } = await setUp(units);
  await look();
  for (const unit of units) disk.unitChanged(unit);
  expect((await look()).asked).toEqual(whole);
});
