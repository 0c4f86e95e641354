import { frame } from "../../daemon/replication/frames.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { ReplicationCluster, type StreamFault } from "../support/replication-cluster.js";
import { SimClock } from "../support/sim-clock.js";

const root = "hpool/hc";
const dataset = `${root}/site-a`;
const incoming = `${root}/incoming/site-a`;
const page = (mark: string): string => mark.repeat(400_000);

let clock: SimClock;
let cluster: ReplicationCluster;
const all = new Map<string, FakeZfs>();
const zfs = (name: string): FakeZfs => all.get(name) as FakeZfs;
const newest = async (name: string): Promise<string | undefined> => (await zfs(name).look(dataset))?.snapshots.at(-1)?.guid;
const sent = (from = "n1"): number[] => cluster.node(from).sent.filter(({ path }) => path === "/peer/v1/streams/site-a").map(({ bytes }) => bytes);
const partials = async (name: string): Promise<string[]> => [...(await zfs(name).partials(root)).keys()];
/** The first streams of the unit meet these faults, one each. */
function faults(...list: (StreamFault | undefined)[]): void {
  cluster.fault = (_from, _to, path) => (path === "/peer/v1/streams/site-a" ? list.shift() : undefined);
}

async function world(resumable: Record<string, boolean>): Promise<void> {
  clock = new SimClock();
  cluster = new ReplicationCluster(root, clock);
  all.clear();
  for (const [name, can] of Object.entries(resumable)) {
    const one = createFakeZfs({ seed: name, resumable: can, nowMs: () => clock.wallMs() });
    await one.create(root, {});
    all.set(name, one);
    cluster.addNode(name, one);
    await cluster.start(name);
  }
}
/** A unit with much in it at home on n1. */
async function site(replicas: string[], epoch = 1): Promise<void> {
  const home = zfs("n1");
  await home.create(dataset, { "hybridcluster:unit": "site-a" });
  await home.mount(dataset);
  home.write(dataset, "page", page("a"));
  await home.snapshot([`${dataset}@1-20300101T000000.000Z-n1`]);
  cluster.putUnit({ unit: "site-a", home: "n1", replicas, epoch });
}
/** Until `done`, in steps of less than a retry's pause. */
async function pass(done: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  for (let at = 0; at < ms; at += 50) {
    if (await done()) return;
    await clock.advance(50);
  }
  throw new Error("did not come about in time");
}
const inStep = async (name: string): Promise<boolean> => (await newest(name)) !== undefined && (await newest(name)) === (await newest("n1"));

afterEach(async () => {
  await cluster.stopAll();
});

test("a first stream that was cut goes on where it ended; half a copy never bears the unit's name", async () => {
  await world({ n1: true, n2: true });
  faults({ cutAtByte: 400_000 });
  await site(["n2"]);
  await pass(async () => (await partials("n2")).length > 0);
  expect(await partials("n2")).toEqual([incoming]);
  expect(await zfs("n2").look(dataset)).toBeUndefined();
  await pass(() => inStep("n2"));
  const [first = 0, second = 0] = sent();
  expect(first).toBeGreaterThan(300_000);
  expect(second).toBeLessThan(500_000);
  expect(zfs("n2").digest(dataset)).toBe(zfs("n1").digest(dataset));
  expect((await zfs("n2").look(dataset))?.dataset).toMatchObject({ readonly: true, mounted: false, user: { unit: "site-a", epoch: "1", home: "n1" } });
  expect([await partials("n2"), await zfs("n2").look(incoming)]).toEqual([[], undefined]);
});

test("a damaged byte: what came before it is kept and true, the rest is sent again", async () => {
  await world({ n1: true, n2: true });
  faults({ flipByte: 400_000 });
  await site(["n2"]);
  await pass(() => inStep("n2"));
  expect(sent()[1]).toBeLessThan(500_000);
  expect(zfs("n2").digest(dataset)).toBe(zfs("n1").digest(dataset));
});

test("small increments are what they were, in one piece and without a command more; only after one broke is the next kept when it is cut", async () => {
  await world({ n1: true, n2: true });
  await site(["n2"]);
  await pass(() => inStep("n2"));
  const asked: string[] = [];
  zfs("n2").onOperation = (operation) => void asked.push(operation);
  zfs("n1").write(dataset, "small", "s");
  await clock.advance(3_000);
  expect(await inStep("n2")).toBe(true);
  expect(asked.filter((operation) => ["partials", "set", "rename", "abortReceive", "create"].includes(operation))).toEqual([]);
  zfs("n2").onOperation = undefined;
  const before = sent().length;
  faults({ cutAtByte: 400_000 }, { cutAtByte: 400_000 });
  zfs("n1").write(dataset, "page", page("b"));
  await pass(() => sent().length === before + 2);
  await pass(async () => (await partials("n2")).length > 0);
  expect(await partials("n2")).toEqual([dataset]);
  await pass(() => inStep("n2"));
  const [whole = 0, again = 0, rest = 0] = sent().slice(before);
  expect([whole > 300_000, again > 300_000, rest < 500_000]).toEqual([true, true, true]);
  expect(zfs("n2").digest(dataset)).toBe(zfs("n1").digest(dataset));
  expect(await partials("n2")).toEqual([]);
});

test("what is kept outlives the replica's restart, and the home's; a copy that was whole when hcd died gets its name then", async () => {
  await world({ n1: true, n2: true });
  faults({ cutAtByte: 400_000 });
  await site(["n2"]);
  await pass(async () => (await partials("n2")).length > 0);
  for (const name of ["n2", "n1"]) {
    await cluster.stop(name);
    await cluster.start(name);
  }
  zfs("n2").onOperation = (operation, name) => {
    if (operation === "rename" && name === incoming) throw new Error("killed");
  };
  await pass(async () => (await partials("n2")).length === 0);
  expect(sent()[1]).toBeLessThan(500_000);
  await cluster.stop("n2");
  zfs("n2").onOperation = undefined;
  expect((await zfs("n2").look(incoming))?.snapshots).toHaveLength(1);
  await cluster.start("n2");
  expect(await newest("n2")).toBe(await newest("n1"));
  const before = sent().length;
  await pass(() => cluster.replication("n1").report().get("site-a")?.["n2"]?.error === "");
  expect(sent()).toHaveLength(before); // it was found there
});

describe("a copy that comes back out of the trash", () => {
  const id = "site-a-20300101T000000Z";
  const inTrash = `${root}/trash/${id}`;
  /** n2's copy of the unit, one snapshot behind, lies in its trash. */
  async function trashed(): Promise<void> {
    await world({ n1: true, n2: true });
    await site(["n2"]);
    await pass(() => inStep("n2"));
    await cluster.stop("n1");
    zfs("n1").write(dataset, "page", page("b"));
    await zfs("n1").snapshot([`${dataset}@1-20300101T000010.000Z-n1`]);
    await zfs("n2").create(`${root}/trash`, {});
    await zfs("n2").rename(dataset, inTrash);
  }
  const back = () => zfs("n2").rename(inTrash, dataset);
  const streams = () => zfs("n2").look(incoming);

  test("is waited for by the home that looks: then an increment goes on after it", async () => {
    await trashed();
    const before = sent().length;
    cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], restoreFrom: id });
    await cluster.start("n1");
    await clock.advance(5_000);
    expect([sent().length, cluster.replication("n1").report().get("site-a")?.["n2"]?.error]).toEqual([before, expect.stringContaining("comes back out of the trash")]);
    await back();
    await pass(() => inStep("n2"));
    expect([(await zfs("n2").look(dataset))?.snapshots.length, await streams()]).toEqual([2, undefined]);
  });
  test("is not met by a first stream that was decided on before: nothing of that is kept", async () => {
    await trashed();
    cluster.fault = (_from, _to, path) => {
      if (path === "/peer/v1/streams/site-a") cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], restoreFrom: id });
      return undefined;
    };
    await cluster.start("n1");
    await clock.advance(5_000);
    expect([await streams(), await zfs("n2").look(dataset)]).toEqual([undefined, undefined]);
    await back();
    await pass(() => inStep("n2"));
    expect((await zfs("n2").look(dataset))?.snapshots).toHaveLength(2);
  });
  test("is not missed when it gets its name between the two looks", async () => {
    await trashed();
    let armed = false;
    cluster.fault = (_from, _to, path) => {
      if (path === "/peer/v1/streams/site-a") armed = true;
      if (armed) cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], restoreFrom: id });
      return undefined;
    };
    const { look } = zfs("n2");
    zfs("n2").look = async (name) => {
      const seen = await look(name);
      if (armed && name === dataset && seen === undefined) await back();
      return seen;
    };
    await cluster.start("n1");
    await pass(() => inStep("n2"));
    expect([armed, (await zfs("n2").look(dataset))?.snapshots.length, await streams(), cluster.events.filter(({ event }) => event === "stashed")]).toEqual([true, 2, undefined, []]);
  });
});

test("a whole copy that finds another one under its name goes to the stash: it is seen there, and no later start takes it for the unit's", async () => {
  await world({ n1: true, n2: true });
  zfs("n2").onOperation = (operation, name) => {
    if (operation === "rename" && name === incoming) throw new Error("killed");
  };
  await site(["n2"]);
  await pass(async () => (await zfs("n2").look(incoming))?.snapshots.length === 1);
  await cluster.stop("n2");
  await cluster.stop("n1");
  zfs("n2").onOperation = undefined;
  await zfs("n2").create(dataset, { "hybridcluster:unit": "site-a" });
  await cluster.start("n2");
  const stash = (await zfs("n2").datasets(root)).find(({ name }) => name.startsWith(`${root}/stash/site-a-1-n2-`));
  expect([stash?.user["stash"], stash?.user["unit"], await zfs("n2").look(incoming), cluster.events.filter(({ event }) => event === "stashed").length]).toEqual(["kept", "site-a", undefined, 1]);
});

test("no stream is taken before it is known what is sealed and what was kept", async () => {
  await world({ n1: true, n2: true });
  await cluster.stop("n2");
  const { datasets } = zfs("n2");
  let go = (): void => undefined;
  const known = new Promise<void>((resolve) => (go = resolve));
  zfs("n2").datasets = async (name) => {
    await known;
    return datasets(name);
  };
  const started = cluster.start("n2");
  await clock.advance(100);
  expect([...cluster.node("n2").routes.keys()].filter((route) => route.includes("/streams/"))).toEqual([]);
  go();
  await started;
  expect([...cluster.node("n2").routes.keys()].filter((route) => route.includes("/streams/"))).toEqual(["PUT /peer/v1/streams/:unit"]);
});

test("another owner's kept part is given up before anything of the new one comes; a seal gives it up at once", async () => {
  await world({ n1: true, n2: true, n3: true });
  await site(["n2", "n3"]);
  await pass(async () => (await inStep("n2")) && (await inStep("n3")));
  await clock.advance(12_000); // a node that has just started seals nothing
  cluster.fault = (_from, to) => (to === "n2" ? { cutAtByte: 400_000 } : undefined);
  zfs("n1").write(dataset, "page", page("b"));
  await pass(async () => (await partials("n2")).length > 0 && (await inStep("n3")));
  await cluster.stop("n1");
  cluster.fault = undefined;
  cluster.sessions.set("n1", { revision: "9", value: { version: 1, node: "n1", generation: 1, counter: 1, dead: true } as never });
  const context = cluster.context("n3");
  await context.peers.call("n2", "POST", "/peer/v1/units/site-a/seal", { version: 1, epoch: 1, generation: 1 }, { timeoutMs: 1_000 });
  expect(await partials("n2")).toEqual([]);
  cluster.putUnit({ unit: "site-a", home: "n3", replicas: ["n1", "n2"], epoch: 2 });
  await zfs("n3").set(dataset, { readonly: "off", "hybridcluster:epoch": "2", "hybridcluster:home": "n3" });
  await pass(async () => (await newest("n2")) === (await newest("n3")));
});

test("the record names another home or no copy here: what is kept is given up within a minute", async () => {
  await world({ n1: true, n2: true, n3: true });
  cluster.fault = (_from, to) => (to === "n2" ? { cutAtByte: 400_000 } : undefined);
  await site(["n2", "n3"]);
  await pass(async () => (await partials("n2")).length > 0);
  cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n3"] });
  await clock.advance(65_000);
  expect([await partials("n2"), await zfs("n2").look(incoming)]).toEqual([[], undefined]);
});

test("the home has the snapshot no more: the stream begins anew, or, with nothing to send, what is kept is given up", async () => {
  await world({ n1: true, n2: true });
  await site(["n2"]);
  await pass(() => inStep("n2"));
  cluster.fault = () => ({ cutAtByte: 400_000 });
  zfs("n1").write(dataset, "page", page("b"));
  await pass(async () => (await partials("n2")).length > 0);
  // a person destroys it, holds and all
  const [base, target] = (await zfs("n1").snapshots(dataset)).slice(-2);
  await zfs("n1").release("hc:n2", `${dataset}@${target?.name}`);
  await zfs("n1").destroy(`${dataset}@${target?.name}`);
  await zfs("n1").unmount(dataset);
  await zfs("n1").rollback(`${dataset}@${base?.name}`);
  await zfs("n1").mount(dataset);
  await pass(async () => (await partials("n2")).length === 0);
  expect(await newest("n2")).toBe(base?.guid);
  cluster.fault = undefined;
  zfs("n1").write(dataset, "page", page("c"));
  await clock.advance(3_000);
  await pass(() => inStep("n2"));
  expect(zfs("n2").digest(dataset)).toBe(zfs("n1").digest(dataset));
});

test("a token that is for something else is not followed", async () => {
  await world({ n1: true, n2: true });
  await zfs("n1").create(`${root}/site-secret`, {});
  await zfs("n1").snapshot([`${root}/site-secret@s`]);
  const guid = (await zfs("n1").snapshots(`${root}/site-secret`))[0]?.guid ?? "";
  zfs("n1").readToken = async () => ({ snapshot: `${root}/site-secret@s`, guid });
  let resumed = 0;
  const { resume } = zfs("n1");
  zfs("n1").resume = (...args) => {
    resumed += 1;
    return resume(...args);
  };
  faults({ cutAtByte: 400_000 });
  await site(["n2"]);
  await pass(() => inStep("n2"));
  expect(resumed).toBe(0);
});

test.each([[{ n1: true, n2: false }], [{ n1: false, n2: true }]])("one of both cannot: streams are whole, as before (%j)", async (who) => {
  await world(who);
  const touched = new Set<string>();
  zfs("n2").onOperation = (operation, name) => {
    if (operation === "receive") touched.add(name);
  };
  faults({ cutAtByte: 400_000 });
  await site(["n2"]);
  await pass(() => inStep("n2"));
  expect([...touched]).toEqual([dataset]);
  expect(sent()[1]).toBeGreaterThan(400_000);
});

test("frames of version 1 under a head of version 2: nothing of it is kept, because nothing of it was verified yet", async () => {
  await world({ n1: true, n2: true });
  await site([]);
  cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"] });
  await cluster.stop("n1");
  const { guid = "", name = "" } = (await zfs("n1").snapshots(dataset)).at(-1) ?? {};
  const head = { version: 2, unit: "site-a", epoch: 1, generation: 1, snapshot: name, guid, baseGuid: "", clone: false, properties: {}, keep: [], resume: false };
  const { stream } = zfs("n1").send(`${dataset}@${name}`, undefined, new AbortController().signal);
  await cluster.start("n1");
  await expect(cluster.context("n1").peers.upload("n2", "/peer/v1/streams/site-a", {}, frame(head, stream), { idleTimeoutMs: 1_000 })).rejects.toMatchObject({ code: "INVALID_INPUT" });
});
