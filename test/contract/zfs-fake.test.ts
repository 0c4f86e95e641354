import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { type ZfsSubject, zfsContract } from "./zfs.js";
import { zfsResumeContract } from "./zfs-resume.js";

function subject(zfs: FakeZfs): ZfsSubject {
  return { zfs, root: "hpool", write: async (dataset, file, text) => zfs.write(dataset, file, text), read: async (dataset, file) => zfs.files(dataset).get(file) };
}
zfsContract("in memory", async () => [subject(createFakeZfs({ seed: "one" })), subject(createFakeZfs({ seed: "two" }))]);
zfsResumeContract("in memory", async () => [subject(createFakeZfs({ seed: "one", resumable: true })), subject(createFakeZfs({ seed: "two", resumable: true }))]);
test("a zfs that cannot receive in parts, or tell who holds what, says so", async () => {
  expect(await createFakeZfs({ seed: "old" }).resumable()).toBe(false);
  expect(await createFakeZfs({ seed: "old" }).holds([])).toBeUndefined();
});
