import pino from "pino";
import { HcError } from "../../daemon/lib/errors.js";
import { HoldBook } from "../../daemon/replication/hold-book.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";

const dataset = "hpool/hc/site-a";
const log = pino({ level: "silent" });
async function disk(): Promise<FakeZfs> {
  const zfs = createFakeZfs({ seed: "a" });
  await zfs.create("hpool/hc", {});
  await zfs.create(dataset, {});
  await zfs.snapshot([`${dataset}@1`]);
  await zfs.snapshot([`${dataset}@2`]);
  return zfs;
}
const refs = async (zfs: FakeZfs): Promise<number[]> => (await zfs.snapshots(dataset)).map(({ userrefs }) => userrefs);

test("a hold is there at once, and goes with the next flush; meanwhile it counts no more", async () => {
  const zfs = await disk();
  const book = new HoldBook(zfs, log);
  await book.hold("hc:n2", `${dataset}@1`);
  await book.hold("hc:n3", `${dataset}@1`);
  book.releaseLater("hc:n2", `${dataset}@1`);
  expect(await refs(zfs)).toEqual([2, 0]);
  expect(book.withoutWaiting(dataset, await zfs.snapshots(dataset)).map(({ userrefs }) => userrefs)).toEqual([1, 0]);
  expect([book.isLeaving(`${dataset}@1`), book.isLeaving(`${dataset}@2`), book.waitingCount]).toEqual([true, false, 1]);
  await book.flush();
  expect(await refs(zfs)).toEqual([1, 0]);
  expect([book.isLeaving(`${dataset}@1`), book.waitingCount]).toEqual([false, 0]);
});

test("what may be held, and was not by this process, counts until it is gone: another's hold is not taken for it", async () => {
  const zfs = await disk();
  await zfs.hold("hc:n3", `${dataset}@1`);
  const book = new HoldBook(zfs, log);
  book.releaseLater("hc:n2", `${dataset}@1`); // is not there
  expect(book.withoutWaiting(dataset, await zfs.snapshots(dataset)).map(({ userrefs }) => userrefs)).toEqual([1, 0]);
  await book.flush();
  expect(await refs(zfs)).toEqual([1, 0]);
});

test("a hold that is asked for again is there, whether the release waits or is under way", async () => {
  const zfs = await disk();
  const releases: string[] = [];
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const book = new HoldBook({ hold: (tag, snapshot) => zfs.hold(tag, snapshot), release: async (tag, snapshot) => {
    releases.push(snapshot);
    await gate;
    await zfs.release(tag, snapshot);
  } }, log);
  for (const name of ["1", "2"]) await book.hold("hc:n2", `${dataset}@${name}`);
  book.releaseLater("hc:n2", `${dataset}@1`);
  await book.hold("hc:n2", `${dataset}@1`);
  book.releaseLater("hc:n2", `${dataset}@2`);
  const flushed = book.flush();
  await new Promise(setImmediate);
  expect(releases).toEqual([`${dataset}@2`]);
  const held = book.hold("hc:n2", `${dataset}@2`);
  go();
  await Promise.all([flushed, held]);
  expect(await refs(zfs)).toEqual([1, 1]);
});

test("a release that fails waits again; one of a snapshot that is gone is done", async () => {
  const zfs = await disk();
  let fails = true;
  const book = new HoldBook({ hold: (tag, snapshot) => zfs.hold(tag, snapshot), release: (tag, snapshot) => (fails ? Promise.reject(new HcError("COMMAND_TIMEOUT", "the pool stands still")) : zfs.release(tag, snapshot)) }, log);
  await book.hold("hc:n2", `${dataset}@1`);
  book.releaseLater("hc:n2", `${dataset}@1`);
  book.releaseLater("hc:n2", `${dataset}@gone`);
  await book.flush();
  expect(book.waitingCount).toBe(2);
  fails = false;
  await book.flush();
  expect([book.waitingCount, await refs(zfs)]).toEqual([0, [0, 0]]);
});

test("a release that fails does not take a hold away that was asked for meanwhile, and counts as held from then on", async () => {
  const zfs = await disk();
  let fail = (): void => undefined;
  const failed = new Promise<void>((_, reject) => {
    fail = () => reject(new HcError("COMMAND_TIMEOUT", "the pool stands still"));
  });
  let release = (): Promise<void> => failed;
  const book = new HoldBook({ hold: (tag, snapshot) => zfs.hold(tag, snapshot), release: () => release() }, log);
  for (const name of ["1", "2"]) {
    await book.hold("hc:n2", `${dataset}@${name}`);
    book.releaseLater("hc:n2", `${dataset}@${name}`);
  }
  const flushed = book.flush();
  await new Promise(setImmediate);
  const held = book.hold("hc:n2", `${dataset}@1`);
  fail();
  await Promise.all([flushed, held]);
  expect([book.isLeaving(`${dataset}@1`), book.isLeaving(`${dataset}@2`)]).toEqual([false, true]);
  expect(book.withoutWaiting(dataset, await zfs.snapshots(dataset)).map(({ userrefs }) => userrefs)).toEqual([1, 1]);
  release = () => zfs.release("hc:n2", `${dataset}@2`);
  await book.flush();
  expect(await refs(zfs)).toEqual([1, 0]);
});
