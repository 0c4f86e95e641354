import { frame } from "../../daemon/replication/frames.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { ReplicationCluster } from "../support/replication-cluster.js";
import { SimClock } from "../support/sim-clock.js";

const root = "hpool/hc";
const dataset = `${root}/site-a`;
const page = (mark: string): string => mark.repeat(400_000);

let clock: SimClock;
let cluster: ReplicationCluster;
let zfs: { n1: FakeZfs; n2: FakeZfs };
const newest = async (node: "n1" | "n2"): Promise<string | undefined> => (await zfs[node].look(dataset))?.snapshots.at(-1)?.guid;
const sentBytes = (): number => cluster.node("n1").sent.reduce((sum, { bytes }) => sum + bytes, 0);
const stashes = async (): Promise<string[]> => (await zfs.n2.datasets(root)).filter(({ name, user }) => name.startsWith(`${root}/stash/`) && user["unit"] === "site-a").map(({ user }) => user["stash"] ?? "");

/** n1 is the home and n2 holds a copy of a page that is long; then a snapshot that n1 does not know was made on n2, whose hcd is down. */
beforeEach(async () => {
  clock = new SimClock();
  cluster = new ReplicationCluster(root, clock);
  zfs = { n1: createFakeZfs({ seed: "n1", nowMs: () => clock.wallMs() }), n2: createFakeZfs({ seed: "n2", nowMs: () => clock.wallMs() }) };
  for (const name of ["n1", "n2"] as const) {
    await zfs[name].create(root, {});
    cluster.addNode(name, zfs[name]);
    await cluster.start(name);
  }
  await zfs.n1.create(dataset, { "hybridcluster:unit": "site-a" });
  await zfs.n1.mount(dataset);
  zfs.n1.write(dataset, "page", page("a"));
  cluster.putUnit({ unit: "site-a", home: "n1", replicas: ["n2"], epoch: 2 });
  await clock.advance(10_000);
  expect(await newest("n2")).toBe(await newest("n1"));
  await cluster.stop("n2");
  await cluster.stop("n1");
  await zfs.n2.snapshot([`${dataset}@1-20300101T000100.000Z-n2`]);
  cluster.node("n1").sent.length = 0;
});
afterEach(async () => {
  await cluster.stopAll();
});
/** n2's zfs makes no clones, as in a full pool. */
function refuseClones(): void {
  zfs.n2.onOperation = (operation) => {
    if (operation === "clone") throw new Error("out of space");
  };
}
/** n2's stash breaks after the rename. */
async function halfDone(): Promise<void> {
  refuseClones();
  await cluster.start("n2");
  await cluster.start("n1");
  await clock.advance(3_000);
  expect([await newest("n2"), await stashes()]).toEqual([undefined, [expect.stringContaining("pending:")]]);
}
const wholeAgain = async (): Promise<void> => {
  expect([await newest("n2"), await stashes()]).toEqual([await newest("n1"), ["kept"]]);
  expect(sentBytes()).toBeLessThan(100_000); // no first stream
};

test("a copy that is half way into the stash is not taken for none: the home that looks is refused until it is finished, and then sends an increment", async () => {
  await halfDone();
  zfs.n1.write(dataset, "small", "b");
  await clock.advance(30_000);
  expect([await newest("n2"), sentBytes(), cluster.replication("n1").report().get("site-a")?.["n2"]?.error]).toEqual([undefined, 0, "out of space"]);
  zfs.n2.onOperation = undefined;
  await clock.advance(15_000);
  await wholeAgain();
});

test("a first stream that was decided on before is refused, and leaves nothing", async () => {
  await halfDone();
  const { guid = "", name = "" } = (await zfs.n1.snapshots(dataset)).at(-1) ?? {};
  const { stream } = zfs.n1.send(`${dataset}@${name}`, undefined, new AbortController().signal);
  const head = { version: 1, unit: "site-a", epoch: 2, generation: 1, snapshot: name, guid, baseGuid: "", clone: false, properties: {}, keep: [] };
  await expect(cluster.context("n1").peers.upload("n2", "/peer/v1/streams/site-a", {}, frame(head, stream), { idleTimeoutMs: 1_000 })).rejects.toThrow("out of space");
  expect(await newest("n2")).toBeUndefined();
});

test("a stash that cannot be finished keeps no node from its start and no other unit from its own, and is finished within a minute of when it can, though nobody asks for it", async () => {
  await halfDone();
  await cluster.stop("n1");
  await cluster.stop("n2");
  await zfs.n2.create(`${root}/stash/site-b-1-n2-20300101T000100Z`, { "hybridcluster:unit": "site-b", "hybridcluster:stash": "pending:" });
  await cluster.start("n2");
  expect((await zfs.n2.dataset(`${root}/stash/site-b-1-n2-20300101T000100Z`))?.user["stash"]).toBe("kept");
  await clock.advance(120_000);
  expect(await newest("n2")).toBeUndefined();
  zfs.n2.onOperation = undefined;
  await clock.advance(61_000);
  expect([await newest("n2"), await stashes()]).toEqual([await newest("n1"), ["kept"]]);
});

test.each([
  ["the home looks", async () => {
    await cluster.start("n1");
    await clock.advance(15_000);
  }],
  ["nobody asks", async () => {
    await clock.advance(61_000);
  }],
])("a rename that ends only after the next start is seen all the same: %s", async (_who, pass) => {
  await zfs.n2.set(dataset, { "hybridcluster:stash": `pending:${await newest("n1")}` });
  await zfs.n2.create(`${root}/stash`, {});
  await cluster.start("n2");
  await clock.advance(1_000);
  await zfs.n2.rename(dataset, `${root}/stash/site-a-1-n2-20300101T000100Z`);
  await pass();
  await wholeAgain();
});

test("what is kept of a cut stream and cannot be given up keeps no node from its start, and goes within a minute of when it can", async () => {
  const parted = createFakeZfs({ seed: "n3", resumable: true });
  await parted.create(root, {});
  cluster.addNode("n3", parted);
  let tokens = new Map([[`${root}/trash/site-x`, "1-abcdef01"]]);
  let busy = true;
  await parted.create(`${root}/trash`, {});
  await parted.create(`${root}/trash/site-x`, {});
  parted.partials = async () => tokens;
  parted.abortReceive = async () => {
    if (busy) throw new Error("dataset is busy");
    tokens = new Map();
  };
  await cluster.start("n3");
  await clock.advance(61_000);
  expect(tokens.size).toBe(1);
  busy = false;
  await clock.advance(61_000);
  expect(tokens.size).toBe(0);
});
