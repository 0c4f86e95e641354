import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { probeCapabilities } from "../../daemon/zfs/capabilities.js";
import { recognize } from "../../daemon/zfs/errors.js";
import { createZfs } from "../../daemon/zfs/create-zfs.js";
import { zfsContract } from "../contract/zfs.js";
import { zfsResumeContract } from "../contract/zfs-resume.js";
import { provoke } from "../support/openzfs/provoke.js";
import { poolSubject, withOpenZfs } from "../support/openzfs/subject.js";
import { failuresOfOpenZfs } from "../support/zfs-failures.js";

// an emulated processor: each command takes 0.2 to 1 s
jest.setTimeout(20 * 60_000);
const vm = withOpenZfs();

test("capabilities of OpenZFS: all of them, and the probe changes nothing", async () => {
  const found = await probeCapabilities(vm.machine.runner);
  expect(found.version).toMatch(/^zfs-2\.[1-9]/);
  expect(found).toMatchObject({ bookmarks: true, resumeTokens: true, rawSend: true, compressedSend: true, holdListing: true });
  expect(await createZfs(vm.machine.runner).resumable()).toBe(true);
  expect(await createZfs(vm.machine.runner).holds([])).toEqual(new Map());
  expect((await createZfs(vm.machine.runner).datasets("one")).map(({ name }) => name)).toEqual(["one"]);
});

zfsContract("OpenZFS, two pools", async () => [poolSubject(vm.machine, "one"), poolSubject(vm.machine, "two")]);
zfsResumeContract("OpenZFS, two pools", async () => [poolSubject(vm.machine, "one"), poolSubject(vm.machine, "two")]);

test("every refusal of OpenZFS is recognised (errors.ts)", async () => {
  const seen = await provoke(vm.machine, ["one", "two"]);
  if (process.env["HC_RECORD"] === "1") writeFileSync(join(process.cwd(), "test/fixtures/zfs/failures-openzfs.json"), `${JSON.stringify(seen, null, 1)}\n`);
  expect(Object.fromEntries(Object.entries(seen).map(([name, { exit, stderr }]) => [name, exit === 0 ? "no failure" : recognize(stderr)?.failure]))).toEqual(Object.fromEntries(Object.entries(failuresOfOpenZfs).map(([name, [failure]]) => [name, failure])));
});

test("written: what a transaction group has not brought to disk is not counted yet, what it has is, to the byte and at once", async () => {
  const { zfs, root } = poolSubject(vm.machine, "one");
  const dataset = `${root}/exact`;
  const written = async (): Promise<bigint> => BigInt((await zfs.written(root)).get(dataset) ?? "-1");
  await zfs.create(dataset, {});
  await vm.machine.ok(["dd", "if=/dev/urandom", `of=/${dataset}/a`, "bs=128k", "count=4", "conv=fsync", "status=none"]);
  await zfs.snapshot([`${dataset}@s`]);
  expect(await written()).toBe(0n);
  await vm.machine.ok(["cat", `/${dataset}/a`]); // atime=off: reading writes nothing
  await vm.machine.ok(["zpool", "sync", root]);
  expect(await written()).toBe(0n);
  await vm.machine.ok(["dd", "if=/dev/urandom", `of=/${dataset}/b`, "bs=128k", "count=2", "status=none"]);
  await vm.machine.ok(["zpool", "sync", root]);
  const two = await written();
  expect(two).toBeGreaterThanOrEqual(262_144n);
  expect(two).toBeLessThan(262_144n + 65_536n);
  expect(BigInt(((await vm.machine.ok(["zfs", "get", "-Hp", "-o", "value", "written@s", dataset])).trim()))).toBe(two);
});

test("bookmarks: an increment from one goes into a copy, though the snapshot was destroyed", async () => {
  const [one, two] = [poolSubject(vm.machine, "one"), poolSubject(vm.machine, "two")];
  const [dataset, copy] = [`${one.root}/marked`, `${two.root}/marked`];
  await one.zfs.create(dataset, {});
  await one.zfs.snapshot([`${dataset}@s1`]);
  await vm.machine.ok(["zfs", "bookmark", `${dataset}@s1`, `${dataset}#s1`]);
  const carry = async (snapshot: string, base: string | undefined): Promise<void> => {
    const { stream, done } = one.zfs.send(snapshot, base, new AbortController().signal);
    await Promise.all([done, two.zfs.receive(copy, stream, {}, new AbortController().signal)]);
  };
  await carry(`${dataset}@s1`, undefined);
  await one.zfs.destroy(`${dataset}@s1`);
  await one.write(dataset, "page", "later");
  await one.zfs.snapshot([`${dataset}@s2`]);
  await carry(`${dataset}@s2`, `${dataset}#s1`);
  expect((await two.zfs.snapshots(copy)).at(-1)?.guid).toBe((await one.zfs.snapshots(dataset)).at(-1)?.guid);
});
