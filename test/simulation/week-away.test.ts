import { defaultRetention } from "../../daemon/replication/plan-prune.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { ReplicationCluster } from "../support/replication-cluster.js";
import { SimClock } from "../support/sim-clock.js";

/**
 * Must hold 6 of self-healing: one of two replicas is away for a simulated week while the unit is written to each minute. The real snapshotter, driver, sender, receiver and pruner with the default grid; only the rounds
 * are rarer than in production (a look each minute, where nothing is written more often; pruning every ten).
 */
jest.setTimeout(240_000);
const root = "hpool/hc";
const dataset = `${root}/site-a`;
const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
/** Every snapshot of the last hour and of what came since the last prune, then one an hour, a day, a week; the newest, and what is held for each replica. */
const bound = (defaultRetention.allMs + 10 * minute) / minute + defaultRetention.hourlyMs / hour + 7 + 2 + 4;

test("a replica that was away for a week: snapshots stay bounded, the common one is held, and it comes back by increments", async () => {
  const clock = new SimClock();
  const cluster = new ReplicationCluster(root, clock, { retention: defaultRetention, lookMs: minute, pruneMs: 10 * minute, templateMs: day, verifyMs: hour });
  const disks = new Map<string, FakeZfs>();
  for (const name of ["n1", "n2", "n3"]) {
    const zfs = createFakeZfs({ seed: name, nowMs: () => clock.wallMs() });
    await zfs.create(root, {});
    disks.set(name, zfs);
    cluster.addNode(name, zfs);
  }
  const [home, near, away] = ["n1", "n2", "n3"].map((name) => disks.get(name) as FakeZfs) as [FakeZfs, FakeZfs, FakeZfs];
  await home.create(dataset, { "hybridcluster:unit": "site-a" });
  await home.mount(dataset);
  home.write(dataset, "big", "x".repeat(200_000));
  cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2", "n3"] });
  for (const name of disks.keys()) await cluster.start(name);
  await clock.advance(5 * minute);
  const common = (await away.snapshots(dataset)).at(-1)?.guid as string;
  expect((await home.snapshots(dataset)).at(-1)?.guid).toBe(common);

  await cluster.stop("n3");
  let most = 0;
  for (let at = 0; at < 7 * 24 * 60; at += 1) {
    home.write(dataset, `page${at % 50}`, `written in minute ${at}`);
    await clock.advance(minute);
    if (at % 30 !== 0) continue;
    const [here, there] = [await home.snapshots(dataset), await near.snapshots(dataset)];
    most = Math.max(most, here.length, there.length);
    expect(here.find(({ guid }) => guid === common)?.userrefs).toBeGreaterThan(0);
    // whichever becomes home must share ground with the one that is away
    expect(there.map(({ guid }) => guid)).toContain(common);
  }
  expect(most).toBeLessThanOrEqual(bound);
  // the bound is of use only if a week would have gone beyond it
  expect(most).toBeGreaterThan(60);
  // seen by the second look, which may wait for three minutes after a rest
  expect(cluster.replication("n1").report().get("site-a")?.["n3"]?.lagS).toBeGreaterThan(7 * 24 * 3600 - 240);

  const sent = cluster.node("n1").sent;
  const before = sent.length;
  await cluster.start("n3");
  await clock.advance(2 * minute);
  const back = sent.slice(before).filter(({ to }) => to === "n3");
  expect(away.digest(dataset)).toBe(home.digest(dataset));
  expect((await away.snapshots(dataset)).map(({ guid }) => guid)).toContain(common);
  expect(back.length).toBeGreaterThan(0);
  expect(back.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(50_000);
  expect(cluster.replication("n1").report().get("site-a")?.["n3"]).toMatchObject({ lagS: 0, error: "" });
  expect(cluster.events.filter(({ event }) => event === "stashed" || event === "diverged")).toEqual([]);
  // what was held for its sake is let go of
  home.write(dataset, "last", "one");
  await clock.advance(20 * minute);
  expect((await home.snapshots(dataset)).filter(({ userrefs }) => userrefs > 0)).toHaveLength(1);
  await cluster.stopAll();
});
