import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { ReplicationCluster } from "../support/replication-cluster.js";
import { SimClock } from "../support/sim-clock.js";

const root = "hpool/hc";
const never = new AbortController().signal;
interface World { clock: SimClock; cluster: ReplicationCluster; zfs(name: string): FakeZfs; newest(name: string, unit: string): Promise<string | undefined> }

async function world(names: readonly string[]): Promise<World> {
  const clock = new SimClock();
  const cluster = new ReplicationCluster(root, clock);
  const all = new Map<string, FakeZfs>();
  for (const name of names) {
    const zfs = createFakeZfs({ seed: name, nowMs: () => clock.wallMs() });
    await zfs.create(root, {});
    all.set(name, zfs);
    cluster.addNode(name, zfs);
    await cluster.start(name);
  }
  const zfs = (name: string): FakeZfs => all.get(name) as FakeZfs;
  return { clock, cluster, zfs, newest: async (name, unit) => (await zfs(name).snapshots(`${root}/${unit}`)).at(-1)?.guid };
}
/** A template on n1, spread by the cluster, and a unit cloned from it at home on n1. */
async function site(w: World, replicas: string[], epoch = 1): Promise<void> {
  const home = w.zfs("n1");
  await home.create(`${root}/tmpl-php`, {});
  await home.mount(`${root}/tmpl-php`);
  home.write(`${root}/tmpl-php`, "index.php", "x".repeat(5_000));
  await home.unmount(`${root}/tmpl-php`);
  await home.snapshot([`${root}/tmpl-php@1`]);
  const guid = (await home.snapshots(`${root}/tmpl-php`))[0]?.guid as string;
  w.cluster.putTemplate("php", "1", guid, "n1");
  await home.clone(`${root}/tmpl-php@1`, `${root}/site-a`, { "hybridcluster:unit": "site-a", "hybridcluster:definition": '{"ä": 1}' });
  await home.mount(`${root}/site-a`);
  await home.snapshot([`${root}/site-a@1-20300101T000000.000Z-n1`]);
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas, epoch, origin: { template: "php", version: "1", guid } });
}
const bytesTo = (w: World, from: string, to: string): number => w.cluster.node(from).sent.filter((item) => item.to === to).reduce((sum, item) => sum + item.bytes, 0);

let w: World;
afterEach(async () => {
  await w.cluster.stopAll();
});

test("spreads the template, then sends the clone as an increment of it; the replica is a clone, read-only, with the unit's properties", async () => {
  w = await world(["n1", "n2", "n3"]);
  await site(w, ["n2", "n3"]);
  await w.clock.advance(30_000);
  for (const name of ["n2", "n3"]) {
    expect(await w.newest(name, "tmpl-php")).toBe(await w.newest("n1", "tmpl-php"));
    expect(await w.newest(name, "site-a")).toBe(await w.newest("n1", "site-a"));
    const [replica] = await w.zfs(name).datasets(`${root}/site-a`);
    expect(replica).toMatchObject({ origin: `${root}/tmpl-php@1`, readonly: true, mounted: false, user: { unit: "site-a", epoch: "1", home: "n1", definition: '{"ä": 1}' } });
    expect(bytesTo(w, "n1", name)).toBeLessThan(2_000);
  }
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ guid: await w.newest("n1", "site-a"), lagS: 0, error: "" });
});

test("a write becomes a snapshot within a second or two and reaches the replicas; an idle unit makes none", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const count = async (): Promise<number> => (await w.zfs("n1").snapshots(`${root}/site-a`)).length;
  const before = await count();
  await w.clock.advance(60_000);
  expect(await count()).toBe(before);
  w.zfs("n1").write(`${root}/site-a`, "page", "hello");
  await w.clock.advance(2_100);
  expect(await count()).toBe(before + 1);
  expect(w.zfs("n2").digest(`${root}/site-a`)).toBe(w.zfs("n1").digest(`${root}/site-a`));
  expect(w.zfs("n2").files(`${root}/site-a`).get("page")).toBe("hello");
});

test("a home that was just named makes no snapshot before its session has taken the unit: what is written there may be the tail of an owner that had lost", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const before = await w.newest("n1", "site-a");
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], epoch: 3, epochStartGuid: before as string, homeGeneration: 0 });
  w.zfs("n1").write(`${root}/site-a`, "tail", "written before it had lost the unit");
  await w.clock.advance(10_000);
  // nor for a move, a group or a restore that are asked for just then: stashing would refuse a tail with a snapshot of the new epoch upon it, and the site stay down
  const home = w.cluster.replication("n1");
  await expect(home.snapshotMade("site-a")).rejects.toMatchObject({ code: "NOT_READY" });
  await expect(home.snapshotNow("site-a", never)).rejects.toMatchObject({ code: "NOT_READY" });
  await expect(home.snapshotTogether([{ unit: "site-a", name: home.snapshotName("site-a") }])).rejects.toMatchObject({ code: "NOT_READY" });
  expect(await w.newest("n1", "site-a")).toBe(before);
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], epoch: 3, epochStartGuid: before as string, homeGeneration: 1 });
  await w.clock.advance(2_100);
  expect(await w.newest("n1", "site-a")).not.toBe(before);
});

test("a snapshot of another tool whose name no stream can bear keeps nothing from its copy, held or not, and goes along in the next one of ours", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const autosnap = `${root}/site-a@autosnap_2030-01-01_00:00:01_hourly`;
  await w.zfs("n1").snapshot([autosnap]);
  await w.zfs("n1").hold("hc:n2", autosnap);
  await w.clock.advance(310_000); // the copy is compared again
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ error: "", lagS: 0 });
  w.zfs("n1").write(`${root}/site-a`, "page", "hello");
  await w.clock.advance(10_000);
  expect(w.zfs("n2").files(`${root}/site-a`).get("page")).toBe("hello");
  expect(await w.newest("n2", "site-a")).toBe(await w.newest("n1", "site-a"));
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ error: "", lagS: 0 });
});

test("no unit at home: zfs is not even asked what was written", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  let asked = 0;
  w.zfs("n2").onOperation = (operation) => {
    if (operation === "written") asked += 1;
  };
  await w.clock.advance(10_000);
  expect(asked).toBe(0);
});

test("without a live session nothing is snapshotted or sent", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  w.cluster.node("n1").live = false;
  const before = await w.newest("n1", "site-a");
  w.zfs("n1").write(`${root}/site-a`, "page", "late");
  await w.clock.advance(10_000);
  expect(await w.newest("n1", "site-a")).toBe(before);
  await expect(w.cluster.replication("n1").sendNow("site-a", "n2", never)).rejects.toMatchObject({ code: "NOT_HOME" });
});

test("lag grows while a replica is away, counted from the oldest write it lacks, and is 0 when it is back", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  await w.cluster.stop("n2");
  for (let second = 0; second < 60; second += 1) {
    w.zfs("n1").write(`${root}/site-a`, "page", String(second));
    await w.clock.advance(1_000);
  }
  const away = w.cluster.replication("n1").report().get("site-a")?.["n2"];
  expect(away?.lagS).toBeGreaterThan(56);
  expect(away?.lagS).toBeLessThan(64); // a resting home looks every 4 s: what it sees first may be as old as the look before
  expect(away?.error).toContain("n2");
  await w.cluster.start("n2");
  await w.clock.advance(15_000);
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ lagS: 0, error: "" });
  expect(w.zfs("n2").digest(`${root}/site-a`)).toBe(w.zfs("n1").digest(`${root}/site-a`));
});

test("a move: pause, last snapshot, last increment, new home; the old home follows by an increment from the common snapshot", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const [from, to] = [w.cluster.replication("n1"), w.cluster.replication("n2")];
  w.zfs("n1").write(`${root}/site-a`, "big", "y".repeat(20_000));
  await from.pause("site-a");
  await w.zfs("n1").unmount(`${root}/site-a`);
  const last = await from.snapshotNow("site-a", never);
  const sent = await from.sendNow("site-a", "n2", never);
  expect(sent.guid).toBe(last.guid);
  expect(await w.newest("n2", "site-a")).toBe(last.guid);
  expect((await from.sendNow("site-a", "n2", never)).bytes).toBe(0);
  w.cluster.putUnit({ unit: "site-a", home: "n2", replicas: ["n1"], epoch: 2 });
  await w.zfs("n2").set(`${root}/site-a`, { readonly: "off" });
  await w.zfs("n2").mount(`${root}/site-a`);
  from.resume("site-a");
  w.zfs("n2").write(`${root}/site-a`, "page", "at the new home");
  await w.clock.advance(20_000);
  expect(w.zfs("n1").files(`${root}/site-a`).get("page")).toBe("at the new home");
  expect((await w.zfs("n1").datasets(`${root}/site-a`))[0]).toMatchObject({ readonly: true, user: { epoch: "2", home: "n2" } });
  expect(bytesTo(w, "n2", "n1")).toBeLessThan(5_000);
  expect(to.report().get("site-a")?.["n1"]).toMatchObject({ lagS: 0, error: "" });
  expect(from.report().has("site-a")).toBe(false);
});

test("what was written before the home was switched off counts from the newest snapshot, not from when its new life sees it", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  await w.cluster.stop("n1");
  w.zfs("n1").write(`${root}/site-a`, "page", "just before the power went");
  await w.clock.advance(60_000);
  w.cluster.cuts.add("n1>n2");
  await w.cluster.start("n1");
  await w.clock.advance(3_000);
  const told = w.cluster.replication("n1").report().get("site-a")?.["n2"];
  expect(told?.guid).toBe("");
  expect(told?.lagS).toBeGreaterThanOrEqual(60);
  w.cluster.cuts.clear();
  await w.clock.advance(20_000);
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ lagS: 0, error: "" });
});

test("while paused nothing happens by itself", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  await w.cluster.replication("n1").pause("site-a");
  const before = await w.newest("n1", "site-a");
  w.zfs("n1").write(`${root}/site-a`, "page", "paused");
  await w.clock.advance(10_000);
  expect(await w.newest("n1", "site-a")).toBe(before);
  w.cluster.replication("n1").resume("site-a");
  await w.clock.advance(5_000);
  expect(w.zfs("n2").files(`${root}/site-a`).get("page")).toBe("paused");
});

test("what a person does to the snapshots of a unit, on either side or on both, stops nothing and is told as no lag", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const [here, there] = [w.zfs("n1"), w.zfs("n2")];
  const seen = (): object | undefined => w.cluster.replication("n1").report().get("site-a")?.["n2"];
  const isFollowed = async (text: string): Promise<void> => {
    here.write(`${root}/site-a`, "page", text);
    await w.clock.advance(4_000);
    expect([text, there.files(`${root}/site-a`).get("page"), await w.newest("n2", "site-a")]).toEqual([text, text, await w.newest("n1", "site-a")]);
  };
  await isFollowed("before");
  // at home: sent along when it is seen, which is no write that the copy lacks
  await here.snapshot([`${root}/site-a@manual`]);
  await w.clock.advance(660_000);
  expect([seen(), await w.newest("n2", "site-a")]).toMatchObject([{ lagS: 0, error: "", snapshot: "manual" }, await w.newest("n1", "site-a")]);
  await isFollowed("after a snapshot at home");
  // not seen yet when the next increment goes
  await here.snapshot([`${root}/site-a@manual-2`]);
  await isFollowed("right after a snapshot at home");
  await here.destroy(`${root}/site-a@manual-2`);
  await isFollowed("right after it was destroyed");
  // carried to the copy by hand: the next increment does not start where the copy ends
  const carry = async (name: string): Promise<void> => {
    const newest = (await here.snapshots(`${root}/site-a`)).at(-1)?.name as string;
    await here.snapshot([`${root}/site-a@${name}`]);
    const { stream, done } = here.send(`${root}/site-a@${name}`, `${root}/site-a@${newest}`, never);
    await there.receive(`${root}/site-a`, stream, {}, never);
    await done;
  };
  await carry("manual-3");
  await isFollowed("after a stream by hand");
  // and where the home has seen what the copy's process has not
  await carry("manual-4");
  await w.cluster.stop("n1");
  await w.cluster.start("n1");
  await w.clock.advance(4_000);
  await isFollowed("after a stream by hand and a restart of the home");
  expect(seen()).toMatchObject({ lagS: 0, error: "" });
  expect((await there.datasets(root)).map(({ name }) => name)).not.toContain(`${root}/stash`); // it is no other history
});

test("a copy acknowledges no snapshot that is gone from its disk, whatever its process remembers", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const [here, there] = [w.zfs("n1"), w.zfs("n2")];
  const write = async (text: string): Promise<void> => {
    here.write(`${root}/site-a`, "page", text);
    await w.clock.advance(4_000);
  };
  await write("one");
  const before = await w.newest("n2", "site-a");
  await write("two");
  await w.clock.advance(130_000); // the pruner has looked: all is remembered
  const newest = (await there.snapshots(`${root}/site-a`)).at(-1);
  // its pool was rewound, or a person took it away; the home compares anew
  await there.release("hc:n1", `${root}/site-a@${newest?.name ?? ""}`);
  await there.destroy(`${root}/site-a@${newest?.name ?? ""}`);
  await there.rollback(`${root}/site-a@${(await there.snapshots(`${root}/site-a`)).at(-1)?.name ?? ""}`);
  expect(await w.newest("n2", "site-a")).toBe(before);
  await w.cluster.stop("n1");
  await w.cluster.start("n1");
  await w.clock.advance(10_000);
  expect([await w.newest("n2", "site-a"), there.files(`${root}/site-a`).get("page")]).toEqual([newest?.guid, "two"]);
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ guid: newest?.guid, lagS: 0, error: "" });
});

test("a replica with snapshots of the same owner that the home does not know is told, and nothing is touched", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  await w.zfs("n2").snapshot([`${root}/site-a@1-20300101T000100.000Z-n2`]);
  const theirs = await w.newest("n2", "site-a");
  w.zfs("n1").write(`${root}/site-a`, "page", "here");
  await w.clock.advance(20_000);
  expect(await w.newest("n2", "site-a")).toBe(theirs);
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]?.error).toContain("a person must look");
  expect((await w.zfs("n2").datasets(root)).map(({ name }) => name)).not.toContain(`${root}/stash`);
});

describe("a copy with a history that lost", () => {
  const stashed = async (): Promise<string[]> => (await w.zfs("n2").datasets(root)).map(({ name }) => name).filter((name) => name.startsWith(`${root}/stash/`));
  /** n2 was home at epoch 1 and wrote on; n1 was named home from their common snapshot. */
  async function oldHome(left: { snapshots: string[]; dirty: boolean }): Promise<void> {
    w = await world(["n1", "n2"]);
    await site(w, ["n2"]);
    await w.clock.advance(20_000);
    const common = (await w.zfs("n1").snapshots(`${root}/site-a`)).at(-1)?.guid as string;
    await w.zfs("n2").set(`${root}/site-a`, { readonly: "off" });
    await w.zfs("n2").mount(`${root}/site-a`);
    for (const name of left.snapshots) {
      w.zfs("n2").write(`${root}/site-a`, "page", `lost ${name}`);
      await w.zfs("n2").snapshot([`${root}/site-a@${name}`]);
    }
    if (left.dirty) w.zfs("n2").write(`${root}/site-a`, "page", "lost present");
    await w.zfs("n2").unmount(`${root}/site-a`);
    w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], epoch: 2, epochStartGuid: common });
    w.zfs("n1").write(`${root}/site-a`, "page", "goes on");
    await w.clock.advance(30_000);
  }
  test.each([
    ["snapshots", { snapshots: ["1-20300101T000100.000Z-n2", "1-20300101T000101.000Z-n2"], dirty: false }, "lost 1-20300101T000101.000Z-n2"],
    ["snapshots and more", { snapshots: ["1-20300101T000100.000Z-n2"], dirty: true }, "lost present"],
    ["only its present", { snapshots: [], dirty: true }, "lost present"],
  ])("is in the stash with %s, and the copy follows by increments", async (_what, left, kept) => {
    await oldHome(left);
    const [stash, ...more] = await stashed();
    expect(more).toEqual([]);
    expect(stash).toMatch(/\/stash\/site-a-1-n2-\d{8}T\d{6}Z$/);
    expect(w.zfs("n2").files(stash as string).get("page")).toBe(kept);
    expect((await w.zfs("n2").snapshots(stash as string)).map(({ name }) => name)).toEqual(left.snapshots);
    expect(w.zfs("n2").files(`${root}/site-a`).get("page")).toBe("goes on");
    expect((await w.zfs("n2").datasets(stash as string))[0]?.user).toMatchObject({ unit: "site-a", stash: "kept" });
    expect(bytesTo(w, "n1", "n2")).toBeLessThan(10_000);
    expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ lagS: 0, error: "" });
    expect(w.cluster.events.filter((item) => item.event === "stashed")).toHaveLength(1);
  });
  test("without any common snapshot the whole copy goes to the stash, and a full one comes", async () => {
    w = await world(["n1", "n2"]);
    await w.zfs("n2").create(`${root}/site-a`, { mountpoint: "/hc/site-a", canmount: "noauto", readonly: "on", "hybridcluster:unit": "site-a", "hybridcluster:epoch": "1" });
    await w.zfs("n2").snapshot([`${root}/site-a@1-20200101T000100.000Z-n2`]);
    await site(w, ["n2"], 2);
    await w.clock.advance(30_000);
    expect(await stashed()).toEqual([expect.stringMatching(/site-a-1-n2-/)]);
    expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ lagS: 0, error: "" });
  });
});

test("streams that must not be taken: not from the home, of a lower epoch, of a unit it is no replica of, into a mounted dataset", async () => {
  w = await world(["n1", "n2", "n3"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  await expect(w.cluster.replication("n1").sendNow("site-a", "n3", never)).rejects.toMatchObject({ code: "NOT_HOME" });
  // n1 still believes in epoch 1 while the record has gone on
  w.zfs("n1").write(`${root}/site-a`, "page", "late");
  await w.zfs("n1").snapshot([`${root}/site-a@1-20300101T000200.000Z-n1`]);
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], epoch: 5 });
  await w.zfs("n2").set(`${root}/site-a`, { "hybridcluster:epoch": "6" });
  await expect(w.cluster.replication("n1").sendNow("site-a", "n2", never)).rejects.toMatchObject({ code: "NOT_HOME" });
  await w.zfs("n2").set(`${root}/site-a`, { "hybridcluster:epoch": "1" });
  await w.zfs("n2").mount(`${root}/site-a`);
  await expect(w.cluster.replication("n1").sendNow("site-a", "n2", never)).rejects.toMatchObject({ code: "NOT_READY" });
  await w.zfs("n2").unmount(`${root}/site-a`);
  await w.cluster.replication("n1").sendNow("site-a", "n2", never);
});

test("what a move waits for ends with the target's answer: holds that it has no more use for go some seconds later", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const replication = w.cluster.replication("n1");
  await replication.pause("site-a");
  w.zfs("n1").write(`${root}/site-a`, "page", "last");
  const last = await replication.snapshotMade("site-a");
  const released: string[] = [];
  for (const name of ["n1", "n2"]) {
    const { release } = w.zfs(name);
    w.zfs(name).release = (tag, snapshot) => {
      released.push(name);
      return release(tag, snapshot);
    };
  }
  const sent = await replication.sendNow("site-a", "n2", never);
  expect([sent.snapshot, sent.guid, released]).toEqual([last, await w.newest("n2", "site-a"), []]);
  await w.clock.advance(6_000);
  expect(released.sort()).toEqual(["n1", "n2"]);
});

test("a unit that was just moved here is neither looked at nor sent before it serves, but for 5 s at most", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const move = async (from: string, to: string, epoch: number): Promise<void> => {
    const replication = w.cluster.replication(from);
    await replication.pause("site-a");
    await w.zfs(from).unmount(`${root}/site-a`);
    await replication.snapshotMade("site-a");
    await replication.sendNow("site-a", to, never);
    w.cluster.putUnit({ unit: "site-a", home: to, replicas: [from], epoch, handed: { epoch, since: 1 } });
    replication.resume("site-a");
    await w.zfs(from).set(`${root}/site-a`, { readonly: "on" });
    await w.zfs(to).set(`${root}/site-a`, { readonly: "off" });
    await w.zfs(to).mount(`${root}/site-a`);
    w.zfs(to).write(`${root}/site-a`, "page", `of epoch ${epoch}`);
  };
  const same = (): boolean => w.zfs("n1").digest(`${root}/site-a`) === w.zfs("n2").digest(`${root}/site-a`);
  await move("n1", "n2", 2);
  await w.clock.advance(3_000);
  expect(same()).toBe(false);
  w.cluster.node("n2").serving.set("site-a", 2);
  await w.clock.advance(2_100);
  expect(same()).toBe(true);
  // one that never serves
  await move("n2", "n1", 3);
  await w.clock.advance(3_000);
  expect(same()).toBe(false);
  await w.clock.advance(5_000);
  expect(same()).toBe(true);
});

test("a changed byte anywhere in the stream is never acknowledged", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const replication = w.cluster.replication("n1");
  await replication.pause("site-a");
  w.zfs("n1").write(`${root}/site-a`, "page", "z".repeat(400));
  await replication.snapshotNow("site-a", never);
  const before = await w.newest("n2", "site-a");
  for (let flipByte = 0; flipByte < 900; flipByte += 7) {
    w.cluster.fault = () => ({ flipByte });
    await expect(replication.sendNow("site-a", "n2", never)).rejects.toBeDefined();
    expect(await w.newest("n2", "site-a")).toBe(before);
  }
  w.cluster.fault = undefined;
  await replication.sendNow("site-a", "n2", never);
  expect(w.zfs("n2").digest(`${root}/site-a`)).toBe(w.zfs("n1").digest(`${root}/site-a`));
});

test("an answer that was lost is not a lost act: the next attempt finds the snapshot there and sends nothing", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const replication = w.cluster.replication("n1");
  await replication.pause("site-a");
  const last = await replication.snapshotNow("site-a", never);
  w.cluster.fault = () => ({ loseAnswer: true });
  await expect(replication.sendNow("site-a", "n2", never)).rejects.toMatchObject({ code: "UNREACHABLE" });
  w.cluster.fault = undefined;
  expect((await w.zfs("n1").snapshots(`${root}/site-a`)).find((item) => item.guid === last.guid)?.userrefs).toBe(1);
  expect(await replication.sendNow("site-a", "n2", never)).toEqual(expect.objectContaining({ guid: last.guid, bytes: 0 }));
});

test("holds: exactly the newest common snapshot is held on both sides", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  for (let round = 0; round < 4; round += 1) {
    w.zfs("n1").write(`${root}/site-a`, "page", String(round));
    await w.clock.advance(3_000);
  }
  await w.clock.advance(5_000);
  for (const name of ["n1", "n2"]) {
    const snapshots = await w.zfs(name).snapshots(`${root}/site-a`);
    expect(snapshots.filter((item) => item.userrefs > 0).map((item) => item.guid)).toEqual([snapshots.at(-1)?.guid]);
  }
});

test("templates: all versions arrive in order, as increments; one of another guid is not taken", async () => {
  w = await world(["n1", "n2"]);
  const home = w.zfs("n1");
  await home.create(`${root}/tmpl-php`, {});
  await home.mount(`${root}/tmpl-php`);
  for (const version of ["1", "2", "3"]) {
    home.write(`${root}/tmpl-php`, "v", version);
    await home.snapshot([`${root}/tmpl-php@${version}`]);
  }
  const guid = await w.newest("n1", "tmpl-php");
  w.cluster.putTemplate("php", "3", guid as string, "n1");
  await w.clock.advance(10_000);
  expect((await w.zfs("n2").snapshots(`${root}/tmpl-php`)).map((item) => item.name)).toEqual(["1", "2", "3"]);
  expect(await w.newest("n2", "tmpl-php")).toBe(guid);
  await home.create(`${root}/tmpl-other`, {});
  await home.snapshot([`${root}/tmpl-other@1`]);
  w.cluster.putTemplate("other", "1", "123", "n1");
  await w.clock.advance(20_000);
  await expect(w.zfs("n2").snapshots(`${root}/tmpl-other`)).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("a node that is the target of a move is taken for a replica; when the move is off, its hold is let go", async () => {
  w = await world(["n1", "n2", "n3"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], move: { id: "1", target: "n3", phase: "presync", reason: "test" } });
  await w.cluster.replication("n1").sendNow("site-a", "n3", never);
  expect(await w.newest("n3", "site-a")).toBe(await w.newest("n1", "site-a"));
  expect((await w.zfs("n1").snapshots(`${root}/site-a`)).at(-1)?.userrefs).toBe(2);
  const { move: _move, ...record } = w.cluster.units.get("site-a")?.value ?? { unit: "", home: "", replicas: [] };
  w.cluster.units.delete("site-a");
  w.cluster.putUnit(record);
  w.zfs("n1").write(`${root}/site-a`, "page", "later");
  await w.clock.advance(5_000);
  expect((await w.zfs("n1").snapshots(`${root}/site-a`)).map((item) => item.userrefs)).toEqual([0, 1]);
});

test("when the last copy leaves the record, nothing is held for it any more; a failure is tried again a minute later and no sooner", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const held = async (): Promise<number[]> => (await w.zfs("n1").snapshots(`${root}/site-a`)).map(({ userrefs }) => userrefs);
  expect(await held()).toEqual([1]);
  const { holds } = w.zfs("n1");
  let asked = 0;
  w.zfs("n1").holds = async () => {
    asked += 1;
    throw new Error("the pool is busy");
  };
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: [] });
  await w.clock.advance(50_000);
  expect([await held(), asked]).toEqual([[1], 1]);
  w.zfs("n1").holds = async (names) => {
    asked += 1;
    return holds(names);
  };
  await w.clock.advance(300_000);
  expect([await held(), asked]).toEqual([[0], 2]);
});

test("a failure to release what earlier roles held is no failure of the send, and is tried again", async () => {
  w = await world(["n1", "n2"]);
  await site(w, []);
  await w.zfs("n1").hold("hc:keep", `${root}/site-a@1-20300101T000000.000Z-n1`);
  const { holds } = w.zfs("n1");
  w.zfs("n1").holds = async () => {
    throw new Error("the pool is busy");
  };
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"] });
  await w.clock.advance(20_000);
  const refs = async (): Promise<number | undefined> => (await w.zfs("n1").snapshots(`${root}/site-a`))[0]?.userrefs;
  expect([await refs(), w.cluster.replication("n1").report().get("site-a")?.["n2"]?.error]).toEqual([2, ""]);
  w.zfs("n1").holds = holds;
  await w.clock.advance(60_000);
  w.zfs("n1").write(`${root}/site-a`, "page", "later");
  await w.clock.advance(10_000);
  expect(await refs()).toBe(0);
});

test("a copy that is ordered while the holds of earlier roles are looked for keeps its own", async () => {
  w = await world(["n1", "n2"]);
  await site(w, []);
  await w.zfs("n1").hold("hc:keep", `${root}/site-a@1-20300101T000000.000Z-n1`);
  const { holds } = w.zfs("n1");
  let answer = (): void => undefined;
  const waits = new Promise<void>((resolve) => {
    answer = resolve;
  });
  w.zfs("n1").holds = async (names) => {
    await waits;
    return holds(names);
  };
  await w.clock.advance(3_000);
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"] });
  await w.clock.advance(10_000);
  expect(await w.newest("n2", "site-a")).toBe(await w.newest("n1", "site-a"));
  answer();
  await w.clock.advance(10_000);
  expect((await w.zfs("n1").snapshots(`${root}/site-a`)).map(({ userrefs }) => userrefs)).toEqual([1]);
});

test("three copies: whichever becomes home shares ground with the one that is away", async () => {
  w = await world(["n1", "n2", "n3"]);
  await site(w, ["n2", "n3"]);
  await w.clock.advance(20_000);
  const write = async (text: string): Promise<void> => {
    w.zfs("n1").write(`${root}/site-a`, "page", text);
    await w.clock.advance(3_000);
  };
  // n3 goes on alone for a while, then is away; n2, which was away, must get what n3 has as its newest
  w.cluster.cuts.add("n1>n2");
  await write("one");
  await write("two");
  const third = await w.newest("n3", "site-a");
  w.cluster.cuts.clear();
  w.cluster.cuts.add("n1>n3");
  await write("three");
  await w.clock.advance(20_000);
  expect((await w.zfs("n2").snapshots(`${root}/site-a`)).find((item) => item.guid === third)?.userrefs).toBeGreaterThan(0);
  await w.cluster.replication("n1").pause("site-a");
  await w.zfs("n1").unmount(`${root}/site-a`);
  await w.cluster.replication("n1").snapshotNow("site-a", never);
  await w.cluster.replication("n1").sendNow("site-a", "n2", never);
  w.cluster.putUnit({ unit: "site-a", home: "n2", replicas: ["n1", "n3"], epoch: 2 });
  w.cluster.cuts.clear();
  await w.clock.advance(20_000);
  expect(await w.newest("n3", "site-a")).toBe(await w.newest("n2", "site-a"));
  // and what was kept for it is let go, on replicas as the next streams come
  await w.zfs("n2").set(`${root}/site-a`, { readonly: "off" });
  await w.zfs("n2").mount(`${root}/site-a`);
  for (const text of ["x", "y", "z"]) {
    w.zfs("n2").write(`${root}/site-a`, "page", text);
    await w.clock.advance(3_000);
  }
  await w.clock.advance(5_000);
  for (const name of ["n1", "n2", "n3"]) {
    const snapshots = await w.zfs(name).snapshots(`${root}/site-a`);
    const held = snapshots.filter((item) => item.userrefs > 0);
    // a replica may keep one more, which was the newest of the other one when the last stream began
    expect(held).toEqual(snapshots.slice(name === "n2" || held.length === 1 ? -1 : -2));
  }
});

test("a unit that is being deleted makes no new copies", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  w.cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], state: "deleting" });
  expect(await w.cluster.replication("n1").flushAll("site-a", never)).toEqual({ n2: "" });
  await w.zfs("n2").create(`${root}/trash`, {});
  await w.zfs("n2").rename(`${root}/site-a`, `${root}/trash/site-a`);
  expect((await w.cluster.replication("n1").flushAll("site-a", never))["n2"]).toContain("being deleted");
  await w.clock.advance(60_000);
  await expect(w.newest("n2", "site-a")).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("to a node that was declared dead nothing is sent, and its home's disk is not asked for it; when it is back it is sent to at once", async () => {
  w = await world(["n1", "n2"]);
  await site(w, ["n2"]);
  await w.clock.advance(20_000);
  const session = (generation: number, dead: boolean) => w.cluster.sessions.set("n2", { revision: String(generation), value: { version: 1, node: "n2", generation, counter: 1, ...(dead ? { dead: true } : {}) } });
  session(1, true);
  await w.clock.advance(2_000);
  w.zfs("n1").write(`${root}/site-a`, "page", "new");
  await w.clock.advance(12_000); // it is in a snapshot: nobody waits for that, so by ten seconds
  const asked: string[] = [];
  w.zfs("n1").onOperation = (operation) => void asked.push(operation);
  await w.clock.advance(90_000);
  // for the vault, and rounds of pruning: one at what changed, and a whole one, which asks for the datasets; none of the dead node's sake
  const pruning = ["datasets", "lookAt", "snapshots", "snapshot"];
  expect(asked.filter((operation) => !pruning.includes(operation))).toEqual(["written", "written", "written"]);
  expect(asked.filter((operation) => operation === "lookAt")).toHaveLength(1);
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]).toMatchObject({ error: expect.stringContaining("declared dead") as string });
  session(2, false);
  await w.clock.advance(5_000);
  expect(await w.newest("n2", "site-a")).toBe(await w.newest("n1", "site-a"));
  expect(w.cluster.replication("n1").report().get("site-a")?.["n2"]?.error).toBe("");
});
