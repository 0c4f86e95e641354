import { createZfs } from "../../daemon/zfs/create-zfs.js";
import type { Zfs } from "../../daemon/zfs/zfs.js";
import { systemClock } from "../../daemon/lib/clock.js";
import { ReplicationCluster } from "../support/replication-cluster.js";
import { withOpenZfs } from "../support/openzfs/subject.js";

jest.setTimeout(20 * 60_000);
const vm = withOpenZfs(["one", "two"]);
const bytes = 24 << 20;

/** One node's dataset names are the same on all; two pools of one machine have two. So the second node sees its pool under the first one's name. */
function renamed(zfs: Zfs, from: string, to: string): Zfs {
  const there = (name: string): string => (name === from || name.startsWith(`${from}/`) || name.startsWith(`${from}@`) ? to + name.slice(from.length) : name);
  const back = (name: string): string => (name === to || name.startsWith(`${to}/`) || name.startsWith(`${to}@`) ? from + name.slice(to.length) : name);
  const keyed = <T>(map: Map<string, T>): Map<string, T> => new Map([...map].map(([name, value]) => [back(name), value]));
  return {
    ...zfs,
    datasets: async (root) => (await zfs.datasets(there(root))).map((item) => ({ ...item, name: back(item.name), origin: back(item.origin) })),
    look: async (name) => {
      const seen = await zfs.look(there(name));
      return seen === undefined ? undefined : { ...seen, dataset: { ...seen.dataset, name: back(seen.dataset.name), origin: back(seen.dataset.origin) } };
    },
    snapshots: (name) => zfs.snapshots(there(name)),
    allSnapshots: async (root) => keyed(await zfs.allSnapshots(there(root))),
    written: async (root) => keyed(await zfs.written(there(root))),
    partials: async (root) => keyed(await zfs.partials(there(root))),
    create: (name, properties) => zfs.create(there(name), properties),
    set: (name, properties) => zfs.set(there(name), properties),
    rename: (a, b) => zfs.rename(there(a), there(b)),
    hold: (tag, name) => zfs.hold(tag, there(name)),
    release: (tag, name) => zfs.release(tag, there(name)),
    destroy: (name) => zfs.destroy(there(name)),
    receive: (name, ...rest) => zfs.receive(there(name), ...rest),
    abortReceive: (name) => zfs.abortReceive(there(name)),
  };
}

test("replication of 24 MB over real OpenZFS: the connection breaks in the middle, twice; the copy goes on where it was, whole and with the same guids", async () => {
  const { machine } = vm;
  const [root, far] = ["one/hc", "two/hc"];
  const dataset = `${root}/site-a`;
  const home = createZfs(machine.runner);
  const replica = renamed(createZfs(machine.runner), root, far);
  for (const name of [root, far]) await home.create(name, {});
  await home.create(dataset, { canmount: "noauto", "hybridcluster:unit": "site-a" });
  await home.mount(dataset);
  const fill = (file: string): Promise<string> => machine.ok(["dd", "if=/dev/urandom", `of=/${dataset}/${file}`, "bs=1M", `count=${bytes >> 20}`, "conv=fsync", "status=none"], { timeoutMs: 300_000 });
  const digest = async (path: string): Promise<string> => (await machine.ok(["sha256sum", path], { timeoutMs: 300_000 })).split(" ")[0] ?? "";
  await fill("page");
  await home.snapshot([`${dataset}@1-20300101T000000.000Z-n1`]);

  // only what the test asks for: a snapshot of its own in the middle of a write would make two streams of one
  const cluster = new ReplicationCluster(root, systemClock, { lookMs: 3_600_000, pruneMs: 3_600_000, templateMs: 3_600_000, verifyMs: 3_600_000 });
  cluster.addNode("n1", home);
  cluster.addNode("n2", replica);
  const sent = (): number[] => cluster.node("n1").sent.filter(({ path }) => path.startsWith("/peer/v1/streams/")).map((item) => item.bytes);
  const cuts = [bytes / 2];
  cluster.fault = (_from, _to, path) => {
    const at = path.startsWith("/peer/v1/streams/") ? cuts.shift() : undefined;
    return at === undefined ? undefined : { cutAtByte: at };
  };
  const inStep = async (): Promise<void> => {
    const endMs = performance.now() + 600_000;
    for (;;) {
      const guid = (await home.snapshots(dataset)).at(-1)?.guid;
      const report = cluster.replication("n1").report().get("site-a")?.["n2"];
      if (report?.guid === guid && report?.error === "") return;
      if (performance.now() > endMs) throw new Error(`not in step: ${JSON.stringify(report)}, sent ${JSON.stringify(sent())}`);
      await systemClock.sleep(500);
    }
  };
  try {
    cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"] });
    for (const name of ["n2", "n1"]) await cluster.start(name);
    await inStep();
    const [first = 0, second = 0] = sent();
    process.stderr.write(`openzfs: first stream of ${bytes} bytes: cut after ${first}, then ${second}\n`);
    expect(sent()).toHaveLength(2);
    expect(first).toBeGreaterThan(bytes / 2);
    expect(second).toBeLessThan(bytes * 0.75);
    const guids = async (zfs: Zfs): Promise<string[]> => (await zfs.snapshots(dataset)).map(({ guid }) => guid);
    expect(await guids(replica)).toEqual(await guids(home));
    expect([...(await replica.partials(root)), await replica.look(`${root}/incoming/site-a`)]).toEqual([undefined]);
    expect((await replica.look(dataset))?.dataset).toMatchObject({ readonly: true, mounted: false, user: { unit: "site-a", epoch: "1", home: "n1" } });

    // an increment: the stream from memory is whole, the next ones go on
    cuts.push(1 << 20, bytes / 2);
    await fill("more");
    await machine.ok(["zpool", "sync", "one"]);
    await cluster.replication("n1").snapshotNow("site-a", new AbortController().signal);
    await inStep();
    const [whole = 0, third = 0, fourth = 0] = sent().slice(2);
    process.stderr.write(`openzfs: an increment of as much: cut after ${whole}, begun anew and cut after ${third}, then ${fourth}\n`);
    expect(sent()).toHaveLength(5);
    expect(whole).toBeLessThan(bytes / 2);
    expect(third).toBeGreaterThan(bytes / 2);
    expect(fourth).toBeLessThan(bytes * 0.75);
    expect(await guids(replica)).toEqual(await guids(home));
  } finally {
    await cluster.stopAll();
  }
  await machine.ok(["zfs", "set", "readonly=on", `${far}/site-a`]);
  await machine.ok(["zfs", "mount", `${far}/site-a`]);
  for (const file of ["page", "more"]) expect(await digest(`/${far}/site-a/${file}`)).toBe(await digest(`/${dataset}/${file}`));
});
