import { mkdtempSync, rmSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import pino from "pino";
import type { NodeContext, Peers } from "../../../daemon/context.js";
import { packText } from "../../../daemon/lib/packed-text.js";
import { defaultPaths } from "../../../daemon/lib/node-config.js";
import { presentName, Stasher } from "../../../daemon/replication/stash.js";
import { type CloneContext, VaultClones } from "../../../daemon/vault/clones.js";
import { StashDesk } from "../../../daemon/vault/stash-desk.js";
import { whyStashed } from "../../../daemon/vault/stash-desk-routes.js";
import { chosenStash, openStash, stashNode, stashOfSource } from "../../../daemon/vault/stash-open.js";
import { createFakeZfs, type FakeZfs } from "../../../daemon/zfs/fake-zfs.js";

const root = "hpool/hc";
const id = "site-a-1-n2-20261123T120000Z";
const never = new AbortController().signal;
const document = (customer: string) => ({ kind: "site", name: "a", spec: { customer } });
const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

interface Disk { zfs: FakeZfs; desk: StashDesk; clones: VaultClones; context: NodeContext }
function node(name: string, peers: Partial<Peers> = {}): Disk {
  const zfs = createFakeZfs({ seed: name });
  const run = mkdtempSync(join(tmpdir(), "hc-desk-"));
  folders.push(run);
  const desired = new Map([["site/a", { value: document("acme"), revision: "1" }], ["site/b", { value: { ...document("other"), name: "b" }, revision: "1" }]]);
  const units = new Map(["a", "b"].map((site) => [`site-${site}`, { value: { unit: `site-${site}`, name: site, home: "n1", epoch: 2 }, revision: "1" }]));
  const context = { zfs, host: { node: name, paths: { ...defaultPaths, data: "/hc", run } }, cluster: { dataset: root }, clock: { monotonicMs: () => 0, wallMs: () => Date.UTC(2026, 10, 23, 12), sleep: async () => undefined }, log: pino({ level: "silent" }), event: () => undefined, view: { current: () => ({ desired, units }) }, peers } as unknown as NodeContext;
  const clones = new VaultClones(context as CloneContext);
  return { zfs, clones, context, desk: new StashDesk(context, clones) };
}
/** n2's disk: snapshots 1 and 2 of which n1 has the first, then a present; the stash of it. n1 holds the first snapshot. */
async function lost(definition = JSON.stringify(document("acme"))): Promise<Disk & { common: string }> {
  const disk = node("n2");
  const { zfs } = disk;
  await zfs.create(root, {});
  await zfs.create(`${root}/site-a`, { mountpoint: "/hc/site-a", "hybridcluster:unit": "site-a", "hybridcluster:definition": definition });
  await zfs.mount(`${root}/site-a`);
  for (const text of ["1", "2", "3"]) {
    zfs.write(`${root}/site-a`, "page", text);
    if (text !== "3") await zfs.snapshot([`${root}/site-a@1-20260101T000000.00${text}Z-n2`]);
  }
  await zfs.unmount(`${root}/site-a`);
  const common = (await zfs.snapshots(`${root}/site-a`))[0]?.guid as string;
  expect(await new Stasher(disk.context).take("site-a", { common, modified: false, owner: 2 })).toBe(id);
  return { ...disk, common };
}

test("what a stash is", async () => {
  const { desk, common } = await lost();
  expect(await desk.detail(id)).toEqual({
    id, unit: "site-a", node: "n2", epoch: 1, stashedAtMs: Date.UTC(2026, 10, 23, 12), customer: "acme", document: document("acme"),
    common: { name: "1-20260101T000000.001Z-n2", guid: common, madeMs: Date.UTC(2026, 0, 1) + 1 }, tail: [expect.objectContaining({ name: "1-20260101T000000.002Z-n2" })], snapshots: 1,
    usedBytes: expect.any(String), referencedBytes: expect.any(String), present: "",
  });
  for (const wrong of ["site-b-1-n2-20261123T120000Z", "../site-a", "", "site-a"]) await expect(desk.detail(wrong)).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(whyStashed({ unit: "site-a", node: "n2", epoch: 1, common: { name: "s", guid: "1", madeMs: 0 } }, { home: "n1", epoch: 2 })).toBe("site-a went on without n2, from s; what n2 held beyond that, written under epoch 1, had lost. It is at home on n1 with epoch 2 now.");
});
test("its present is made a snapshot once; where an intent log waits (\"dataset is busy\") it is mounted for that", async () => {
  const { desk, zfs } = await lost();
  let mounted = false;
  const seen: string[] = [];
  zfs.onOperation = (operation, name) => {
    if (["mount", "unmount", "snapshot"].includes(operation)) seen.push(operation);
    if (operation === "mount") mounted = true;
    if (operation === "snapshot" && !mounted) throw Object.assign(new Error(`cannot create snapshot '${name}': dataset is busy`), { context: { zfs: "busy" } });
  };
  const { present, snapshots } = await desk.withPresent(id);
  expect([seen, snapshots]).toEqual([["snapshot", "mount", "snapshot", "unmount"], 1]);
  expect(zfs.files(`${root}/stash/${id}@${presentName}`).get("page")).toBe("3");
  expect((await desk.withPresent(id)).present).toBe(present);
  expect(seen).toHaveLength(4);
});
test("another node gets it as an increment where it holds the common snapshot, else as a whole, and leaves nothing", async () => {
  const holder = await lost();
  const asked: string[] = [];
  const peers: Partial<Peers> = {
    call: async <T>() => (await holder.desk.withPresent(id)) as T,
    async download(_node, path) {
      asked.push(path);
      const stream = new PassThrough() as PassThrough & { writeHead(): void };
      stream.writeHead = () => undefined;
      void holder.desk.send(id, new URL(path, "http://x").searchParams.get("have") ?? "", stream as unknown as ServerResponse).catch((error: Error) => stream.destroy(error));
      return stream;
    },
  };
  for (const held of [false, true]) {
    const { zfs, clones, context } = node("n1", peers);
    await zfs.create(root, {});
    if (held) {
      const { stream } = holder.zfs.send(`${root}/site-a@1-20260101T000000.001Z-n2`, undefined, never);
      await zfs.receive(`${root}/site-a`, stream, { "hybridcluster:unit": "site-a" }, never);
    }
    const opened = await openStash(context, clones, "site-a", id, never);
    const dataset = (await zfs.datasets(root)).find(({ name }) => name.startsWith(`${root}/vault/`));
    expect(dataset).toMatchObject({ mounted: true, readonly: true, mountpoint: opened.path, origin: held ? `${root}/site-a@1-20260101T000000.001Z-n2` : "", user: { vault: "received" } });
    expect(zfs.files(dataset?.name as string).get("page")).toBe("3");
    await opened.close();
    expect((await zfs.datasets(root)).filter(({ name }) => name.startsWith(`${root}/vault/`))).toEqual([]);
    // a process that died with it open leaves it to the next one's round
    await openStash(context, clones, "site-a", id, never);
    await new VaultClones(context as CloneContext).sweep();
    expect((await zfs.datasets(root)).filter(({ name }) => name.startsWith(`${root}/vault/`))).toEqual([]);
  }
  expect(asked.map((path) => path.endsWith(`have=${holder.common}`))).toEqual([false, false, true, true]);
});
test("only units of the customer whose it is are given it", async () => {
  const holder = await lost();
  const { context } = node("n1", { call: async <T>() => (await holder.desk.withPresent(id)) as T });
  const { snapshot, source } = await chosenStash(context, "site-a", id);
  expect([snapshot.name, stashOfSource(source), stashOfSource("site-a"), stashOfSource(undefined)]).toEqual([presentName, id, undefined, undefined]);
  await expect(chosenStash(context, "site-b", id)).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("belongs to the customer acme, site-b to other") });
  expect(() => stashNode("x")).toThrow(/^stash: "x" is no id of a stash/);
});
test("a long document tells the customer too, so nobody else who has a unit of that name now is given it", async () => {
  const long = packText(JSON.stringify({ ...document("former"), hostnames: Array.from({ length: 300 }, (_, i) => `${i}.example.com`) })) ?? "";
  expect(long).toMatch(/^gz:/);
  const holder = await lost(long);
  expect((await holder.desk.detail(id)).customer).toBe("former");
  const { context } = node("n1", { call: async <T>() => (await holder.desk.withPresent(id)) as T });
  await expect(chosenStash(context, "site-a", id)).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("belongs to the customer former, site-a to acme") });
});
test.each(["", "gz:broken", "{}"])("one whose document cannot be read (%j) is given to a unit of its name only where that stands on the same snapshot", async (definition) => {
  const holder = await lost(definition);
  const { zfs, context } = node("n1", { call: async <T>() => (await holder.desk.withPresent(id)) as T });
  await zfs.create(root, {});
  // the same name, made anew
  await zfs.create(`${root}/site-a`, { "hybridcluster:unit": "site-a" });
  await zfs.snapshot([`${root}/site-a@1-20260101T000000.001Z-n2`]);
  await expect(chosenStash(context, "site-a", id)).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("belongs to the customer (not known)") });
  await zfs.rename(`${root}/site-a`, `${root}/site-b`);
  const { stream } = holder.zfs.send(`${root}/site-a@1-20260101T000000.001Z-n2`, undefined, never);
  await zfs.receive(`${root}/site-a`, stream, { "hybridcluster:unit": "site-a" }, never);
  expect((await chosenStash(context, "site-a", id)).snapshot.name).toBe(presentName);
});
