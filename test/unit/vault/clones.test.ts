import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { defaultPaths } from "../../../daemon/lib/node-config.js";
import { type CloneContext, maxBrowses, VaultClones } from "../../../daemon/vault/clones.js";
import { createFakeZfs, type FakeZfs } from "../../../daemon/zfs/fake-zfs.js";

const root = "hpool/hc";
const unit = "site-a";
let folder: string;
let zfs: FakeZfs;
let nowMs: number;
let events: string[];
let asked: string[];
/** A process of hcd on the same node. */
const start = (): VaultClones => {
  const context = {
    host: { node: "n1", paths: { ...defaultPaths, run: folder } }, cluster: { dataset: root }, zfs, log: pino({ level: "silent" }),
    clock: { wallMs: () => nowMs, monotonicMs: () => nowMs, sleep: () => Promise.resolve() }, event: (...words: string[]) => void events.push(words.join(" ")),
  };
  return new VaultClones(context as unknown as CloneContext);
};
const names = async (): Promise<string[]> => (await zfs.datasets(root)).map(({ name }) => name).filter((name) => name.startsWith(`${root}/vault/`));
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hc-clones-"));
  [nowMs, events, asked] = [Date.UTC(2026, 10, 23, 17), [], []];
  zfs = createFakeZfs({ seed: "n1" });
  await zfs.create(root, { mountpoint: "/hc" });
  await zfs.create(`${root}/${unit}`, { mountpoint: `/hc/${unit}`, "hybridcluster:unit": unit });
  await zfs.mount(`${root}/${unit}`);
  zfs.write(`${root}/${unit}`, "page", "one");
  await zfs.snapshot([`${root}/${unit}@s1`]);
  zfs.onOperation = (operation) => void asked.push(operation);
});
afterEach(() => rmSync(folder, { recursive: true }));

test("browsed: a read-only clone in a folder of root's, listed, that is no copy of the unit; gone when its time has come", async () => {
  const clones = start();
  const made = await clones.browse(unit, "s1", 60_000);
  expect(made).toEqual({ id: expect.stringMatching(/^site-a-20261123T170000Z-[0-9a-f]{6}$/), unit, node: "n1", snapshot: "s1", path: `${folder}/vault/${made.id}`, expiresAtMs: nowMs + 60_000 });
  expect(statSync(join(folder, "vault")).mode & 0o7777).toBe(0o700);
  const dataset = `${root}/vault/${made.id}`;
  expect((await zfs.look(dataset))?.dataset).toMatchObject({ mounted: true, readonly: true, origin: `${root}/${unit}@s1`, user: { vault: `browse:${made.expiresAtMs}` } });
  expect((await zfs.look(dataset))?.dataset.user["unit"]).toBeUndefined();
  expect(await clones.list()).toEqual([made]);
  await expect(zfs.destroy(`${root}/${unit}@s1`)).rejects.toMatchObject({ code: "CONFLICT" });
  nowMs += 59_000;
  await clones.sweep();
  expect(await names()).toEqual([dataset]);
  nowMs += 1_000;
  await clones.sweep();
  expect(await names()).toEqual([]);
  expect(events).toEqual([`site-a browse-expired ${made.id} on n1`]);
});
test("a new process destroys the clones of restores that died, keeps what people browse, and mounts it again after a reboot", async () => {
  const before = start();
  const work = await before.work(unit, "s1");
  const browse = await before.browse(unit, "s1", 60_000);
  await before.sweep();
  expect(await names()).toHaveLength(2);
  await zfs.unmount(`${root}/vault/${browse.id}`);
  rmSync(join(folder, "vault"), { recursive: true });
  const after = start();
  await after.sweep();
  expect(await names()).toEqual([`${root}/vault/${browse.id}`]);
  expect((await zfs.look(`${root}/vault/${browse.id}`))?.dataset.mounted).toBe(true);
  expect(existsSync(join(folder, "vault"))).toBe(true);
  await work.close();
  await after.close(browse.id);
  expect(await names()).toEqual([]);
});
test("nothing that we did not make is ever destroyed", async () => {
  const clones = start();
  await clones.browse(unit, "s1", 60_000);
  await zfs.clone(`${root}/${unit}@s1`, `${root}/vault/${unit}-20261123T170000Z-abcdef`, { readonly: "on" });
  await zfs.create(`${root}/vault/notes`, { "hybridcluster:vault": "work" });
  nowMs += 3_600_000;
  await clones.sweep();
  expect((await names()).sort()).toEqual([`${root}/vault/notes`, `${root}/vault/${unit}-20261123T170000Z-abcdef`]);
  for (const id of ["notes", `${unit}-20261123T170000Z-abcdef`, "../site-a", unit]) await expect(clones.close(id)).rejects.toMatchObject({ code: "NOT_FOUND" });
});
test("a clone that cannot be mounted is no clone: nothing would be restored from an empty folder", async () => {
  const clones = start();
  zfs.onOperation = (operation) => {
    if (operation === "mount") throw new Error("refused");
  };
  await expect(clones.work(unit, "s1")).rejects.toThrow("refused");
  expect(await names()).toEqual([]);
});
test("bounded; and an idle node asks zfs nothing", async () => {
  const clones = start();
  for (let i = 0; i < maxBrowses; i += 1) await clones.browse(unit, "s1", 60_000);
  await expect(clones.browse(unit, "s1", 60_000)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  nowMs += 60_000;
  await clones.sweep();
  expect(await names()).toEqual([]);
  await clones.sweep();
  asked.length = 0;
  for (let i = 0; i < 10; i += 1) await clones.sweep();
  expect(asked).toEqual([]);
  await clones.browse(unit, "s1", 1_000);
  nowMs += 2_000;
  await clones.sweep();
  expect(await names()).toEqual([]);
});
