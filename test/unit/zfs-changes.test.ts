import { HcError } from "../../daemon/lib/errors.js";
import { noticed, ZfsChanges } from "../../daemon/zfs/changes.js";
import { createFakeZfs } from "../../daemon/zfs/fake-zfs.js";

test("what is done is told by dataset, once, whether it ended well or not; looking and holding are nothing", async () => {
  const changes = new ZfsChanges();
  const zfs = noticed(createFakeZfs({ seed: "a" }), changes, () => 0);
  const [reader, other] = [changes.reader(), changes.reader()];
  const told = (): string[] => [...(reader.take() ?? ["everything"])].sort();
  await zfs.create("hpool/hc", {});
  await zfs.create("hpool/hc/site-a", {});
  await zfs.create("hpool/hc/site-b", {});
  expect(told()).toEqual(["hpool/hc", "hpool/hc/site-a", "hpool/hc/site-b"]);
  await zfs.snapshot(["hpool/hc/site-a@1", "hpool/hc/site-b@1"]);
  expect(told()).toEqual(["hpool/hc/site-a", "hpool/hc/site-b"]);
  await zfs.hold("hc:n2", "hpool/hc/site-a@1");
  await zfs.release("hc:n2", "hpool/hc/site-a@1");
  await zfs.look("hpool/hc/site-a");
  await zfs.written("hpool/hc");
  expect(told()).toEqual([]);
  await zfs.rename("hpool/hc/site-a", "hpool/hc/site-c");
  await zfs.clone("hpool/hc/site-c@1", "hpool/hc/site-d", {});
  expect(told()).toEqual(["hpool/hc/site-a", "hpool/hc/site-c", "hpool/hc/site-d"]);
  await expect(zfs.destroy("hpool/hc/site-b")).rejects.toMatchObject({ code: "CONFLICT" });
  expect(told()).toEqual(["hpool/hc/site-b"]);
  // each reader has its own list
  expect(other.take()?.size).toBe(5);
});

test("too many names are everything, and then it begins anew", () => {
  const changes = new ZfsChanges();
  const reader = changes.reader();
  for (let number = 0; number < 2_001; number += 1) changes.note(`hpool/hc/site-${number}`);
  expect(reader.take()).toBeUndefined();
  changes.note("hpool/hc/site-a@1");
  expect([...(reader.take() ?? [])]).toEqual(["hpool/hc/site-a"]);
});

test("what is refused for want of room is counted, no other refusal is", async () => {
  const changes = new ZfsChanges();
  const plain = createFakeZfs({ seed: "a" });
  const full = { ...plain, snapshot: () => Promise.reject(new HcError("LIMIT_EXCEEDED", "out of space", { context: { zfs: "space" } })) };
  const zfs = noticed(full, changes, () => 0);
  await expect(zfs.destroy("hpool/none")).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(changes.refusals).toBe(0);
  await expect(zfs.snapshot(["hpool@1"])).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  expect(changes.refusals).toBe(1);
});
