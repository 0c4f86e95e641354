import { ourHolds, releaseHolds } from "../../daemon/replication/holds.js";
import { createFakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { parseHolds } from "../../daemon/zfs/parse.js";

const dataset = "hpool/hc/site-a";
const full = (name: string): string => `${dataset}@${name}`;

async function setUp(tells: boolean) {
  const zfs = createFakeZfs({ seed: "holds", resumable: tells });
  await zfs.create("hpool/hc", {});
  await zfs.create(dataset, {});
  await zfs.snapshot(["1", "2", "3"].map(full));
  for (const [tag, name] of [["hc:n2", "3"], ["hc:left", "1"], ["hc:keep", "1"]] as const) await zfs.hold(tag, full(name));
  return zfs;
}
const held = async (zfs: ReturnType<typeof createFakeZfs>): Promise<number[]> => (await zfs.snapshots(dataset)).map(({ userrefs }) => userrefs);

test("where zfs tells who holds what: those for a node that has left too, and no person's", async () => {
  const zfs = await setUp(true);
  await zfs.hold("backup", full("3"));
  expect((await ourHolds(zfs, dataset, await zfs.snapshots(dataset), ["n1", "n2"])).map((pair) => pair.join(" ")).sort()).toEqual(["hc:keep hpool/hc/site-a@1", "hc:left hpool/hc/site-a@1", "hc:n2 hpool/hc/site-a@3"]);
  await releaseHolds(zfs, dataset, ["n1", "n2"]);
  expect(await held(zfs)).toEqual([0, 0, 1]);
});

test("where it only counts them: what there may be for the members", async () => {
  const zfs = await setUp(false);
  await releaseHolds(zfs, dataset, ["n1", "n2"]);
  expect(await held(zfs)).toEqual([1, 0, 0]);
  await releaseHolds(zfs, dataset, ["left"]);
  expect(await held(zfs)).toEqual([0, 0, 0]);
});

test("nothing is asked where nothing is held, and a dataset that is gone is success", async () => {
  const zfs = await setUp(true);
  await releaseHolds(zfs, dataset, []);
  zfs.holds = () => Promise.reject(new Error("was asked"));
  expect(await ourHolds(zfs, dataset, await zfs.snapshots(dataset), ["n2"])).toEqual([]);
  await releaseHolds(zfs, "hpool/hc/gone", ["n2"]);
});

test("the answer of zfs holds -H (zfs-hold(8)): name, tag and time by tabs", () => {
  expect(parseHolds("one/a@1\thc:n2\tThu Nov 26 10:00 2026\none/a@1\thc:keep\tThu Nov 26 10:01 2026\none/b@2\tmy tag\tThu Nov 26 10:02 2026\n")).toEqual(new Map([["one/a@1", ["hc:n2", "hc:keep"]], ["one/b@2", ["my tag"]]]));
  expect(parseHolds("")).toEqual(new Map());
});
