import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { executeTrash } from "../../../daemon/agent/execute-trash.js";
import type { AgentTools } from "../../../daemon/agent/tools.js";
import type { NodeContext } from "../../../daemon/context.js";
import { systemClock } from "../../../daemon/lib/clock.js";
import { Locks } from "../../../daemon/lib/locks.js";
import { keys, type UnitRecord } from "../../../daemon/lib/records.js";
import { type AdoptParts, adoptHere, findOwned, type IsAlive } from "../../../daemon/recovery/adopt.js";
import { lookAtDisk } from "../../../daemon/recovery/disk-routes.js";
import { planTransfer, transfer } from "../../../daemon/recovery/transfer.js";
import { HoldBook } from "../../../daemon/replication/hold-book.js";
import { Counters } from "../../../daemon/replication/metrics.js";
import { Receiver } from "../../../daemon/replication/receiver.js";
import { MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";
import { createFakeZfs, type FakeZfs } from "../../../daemon/zfs/fake-zfs.js";
import { config, siteDocument } from "./fixture.js";

const log = pino({ level: "silent" });
const end = new AbortController();
afterAll(() => end.abort());
const day = (at: number): string => `20260101T00000${at}.000Z`;
const user = (epoch: number, home: string): Record<string, string> => ({
  "hybridcluster:unit": "site-shop", "hybridcluster:epoch": String(epoch), "hybridcluster:home": home, "hybridcluster:state": "live",
  "hybridcluster:definition": JSON.stringify(siteDocument("shop")), "hybridcluster:config": JSON.stringify(config()),
});
const adopting = (isAlive: IsAlive): AdoptParts => ({ isAlive, stashTail: () => Promise.reject(new Error("nothing is stashed")) });
/** A node's zfs with its own pool and one that was plugged in; in it a site of two snapshots and a present after them. */
async function plugged(): Promise<FakeZfs> {
  const zfs = createFakeZfs({ seed: "n3" });
  await zfs.create("hpool/hc", {});
  await zfs.create("hpool/old", {});
  await zfs.create("hpool/old/site-shop", { ...user(4, "n2"), "hybridcluster:sealed": "4.1", readonly: "off" });
  await zfs.mount("hpool/old/site-shop");
  for (const at of [1, 2, 3]) {
    zfs.write("hpool/old/site-shop", "page", String(at));
    if (at < 3) await zfs.snapshot([`hpool/old/site-shop@4-${day(at)}-n2`]);
  }
  await zfs.unmount("hpool/old/site-shop");
  return zfs;
}
async function context(zfs: FakeZfs, record?: UnitRecord): Promise<{ context: NodeContext; store: MemoryStore }> {
  const store = new MemoryStore();
  if (record !== undefined) await store.txn([], [{ put: keys.unit("site-shop"), value: JSON.stringify(record) }]);
  const view = new WatchedView(store, log);
  await view.start(end.signal);
  const made = {
    host: { node: "n3", paths: { data: "/hc" } }, cluster: { node: "n3", dataset: "hpool/hc", members: ["n1", "n2", "n3"].map((node) => ({ node, role: "node" })) }, store, view, zfs, log, clock: systemClock, signal: end.signal,
    session: { generation: 1, isLive: () => true, deadlineMs: () => 1 }, fence: { open: () => undefined, seen: () => undefined }, unitLocks: new Locks(), event: () => undefined, peers: { call: async () => { throw new Error("nobody is asked"); } },
  } as unknown as NodeContext;
  return { context: made, store };
}

test("the way of a transfer: after what is here, from the template where both pools have it, else whole; another history blocks it", () => {
  const snapshots = [{ name: "a", guid: "1" }, { name: "b", guid: "2" }, { name: "c", guid: "3" }];
  expect(planTransfer(snapshots, [], "")).toEqual([{ name: "a", base: null }, { name: "b", base: "a" }, { name: "c", base: "b" }]);
  expect(planTransfer(snapshots, [], "77")).toMatchObject([{ name: "a", base: "origin" }, { base: "a" }, { base: "b" }]);
  expect(planTransfer(snapshots, snapshots.slice(0, 2), "77")).toEqual([{ name: "c", base: "b" }]);
  expect(planTransfer(snapshots, snapshots, "")).toEqual([]);
  expect(planTransfer(snapshots, [{ name: "z", guid: "9" }], "")).toMatchObject({ blocked: expect.stringContaining("ends with z") });
});

test("a site of a pool that was plugged in comes over with its history and its last present, and becomes this node's; the pool keeps it", async () => {
  const zfs = await plugged();
  const { context: node, store } = await context(zfs);
  const shown = await adoptHere(node, adopting(() => false), { apply: false, from: "hpool/old" });
  expect([shown.done, shown.entries.map(({ unit, action }) => [unit, action]), await zfs.look("hpool/hc/site-shop"), shown.silent.map(({ node: silent }) => silent)]).toEqual([false, [["site-shop", "take"]], undefined, ["n1", "n2"]]);
  const done = await adoptHere(node, adopting(() => false), { apply: true, from: "hpool/old" });
  expect([done.done, done.entries[0]?.error]).toEqual([true, ""]);
  const own = await zfs.look("hpool/hc/site-shop");
  expect(own?.snapshots.map(({ name }) => name)).toEqual([`4-${day(1)}-n2`, `4-${day(2)}-n2`, expect.stringMatching(/^4-.*-n3$/)]);
  expect([zfs.files("hpool/hc/site-shop").get("page"), own?.dataset.readonly, own?.dataset.user["sealed"], own?.dataset.user["config"]]).toEqual(["3", true, undefined, JSON.stringify(config())]);
  const record = JSON.parse((await store.get(keys.unit("site-shop")))?.value ?? "null") as UnitRecord;
  expect(record).toMatchObject({ home: "n3", epoch: 5, epochStartGuid: own?.snapshots.at(-1)?.guid, state: "live" });
  expect((await zfs.look("hpool/old/site-shop"))?.snapshots).toHaveLength(3);
  expect((await store.list("/hc/desired/")).items.map(({ key }) => key)).toEqual(["/hc/desired/customer/acme", "/hc/desired/site/shop", "/hc/desired/template/php"]);
});

test("a transfer that broke goes on where it was", async () => {
  const zfs = await plugged();
  const { context: node } = await context(zfs);
  const [unit] = await lookAtDisk(node, "hpool/old");
  let sends = 0;
  const breaking = { ...node, zfs: { ...zfs, send: (...args: Parameters<FakeZfs["send"]>) => { sends += 1; if (sends === 2) throw new Error("the power is gone"); return zfs.send(...args); } } } as NodeContext;
  await expect(transfer(breaking, unit!, end.signal)).rejects.toThrow("the power is gone");
  expect((await zfs.look("hpool/hc/site-shop"))?.snapshots).toHaveLength(1);
  await transfer(breaking, unit!, end.signal);
  expect([(await zfs.look("hpool/hc/site-shop"))?.snapshots.length, zfs.files("hpool/hc/site-shop").get("page"), sends]).toEqual([3, "3", 4]);
});

test("what is being taken over is no surplus copy, though the record still names its dead home: the agent retires it neither before nor after", async () => {
  const zfs = await plugged();
  const record: UnitRecord = { version: 1, unit: "site-shop", kind: "site", name: "shop", home: "n2", homeGeneration: 2, epoch: 4, epochStartGuid: "1", replicas: [], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "", version: "", guid: "" } };
  const { context: node, store } = await context(zfs, record);
  await store.txn([], [{ put: keys.session("n2"), value: JSON.stringify({ version: 1, node: "n2", generation: 2, counter: 1, dead: true }) }]);
  await new Promise((resolve) => setImmediate(resolve));
  const picture = node.view.current();
  const tools = { context: { ...node, view: { ...node.view, current: () => picture } } } as unknown as AgentTools;
  const retired: Promise<unknown>[] = [];
  const racing = { ...node, zfs: { ...zfs, send: (...args: Parameters<FakeZfs["send"]>) => {
    retired.push(Promise.resolve(executeTrash.retire(tools, { unit: "site-shop", dataset: "hpool/hc/site-shop" }, end.signal)).catch((error: unknown) => error));
    return zfs.send(...args);
  } } } as NodeContext;
  const done = await adoptHere(racing, adopting((name) => name === "n3"), { apply: true, from: "hpool/old" });
  expect([done.entries.map(({ action, error }) => [action, error]), (await Promise.all(retired)).map((error) => (error as { code?: string } | undefined)?.code)]).toEqual([[["take", ""]], ["CONFLICT", "CONFLICT", "CONFLICT"]]);
  expect((await zfs.look("hpool/hc/site-shop"))?.snapshots).toHaveLength(3);
  expect(JSON.parse((await store.get(keys.unit("site-shop")))?.value ?? "null")).toMatchObject({ home: "n3", epoch: 5 });
});

test("a copy that was left out of a recovery and knows a later epoch: its history goes to the stash, what is left no longer keeps the epoch; a home that looks meanwhile waits for it", async () => {
  const zfs = createFakeZfs({ seed: "n3" });
  await zfs.create("hpool/hc", {});
  await zfs.create("hpool/hc/site-shop", { ...user(9, "n3"), readonly: "off" });
  await zfs.snapshot([`hpool/hc/site-shop@4-${day(1)}-n1`]);
  await zfs.mount("hpool/hc/site-shop");
  zfs.write("hpool/hc/site-shop", "page", "lost");
  await zfs.unmount("hpool/hc/site-shop");
  await zfs.snapshot([`hpool/hc/site-shop@9-${day(2)}-n3`]);
  const list = await zfs.snapshots("hpool/hc/site-shop");
  const record: UnitRecord = { version: 1, unit: "site-shop", kind: "site", name: "shop", home: "n1", homeGeneration: 2, epoch: 6, epochStartGuid: "1", replicas: ["n3"], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "", version: "", guid: "" } };
  const { context: node } = await context(zfs, record);
  await node.store.txn([], [{ put: keys.session("n1"), value: JSON.stringify({ version: 1, node: "n1", generation: 2, counter: 1 }) }]);
  const home = { ...(await lookAtDisk(node, "hpool/hc"))[0]!, epoch: 6, home: "n1" };
  const peers = { call: async (_node: string, _method: string, path: string) => (path === "/peer/v1/disk" ? { version: 1, node: "n1", lineage: 1, units: [home] } : { version: 1, exists: true, mounted: true, epoch: 6, holdsOrigin: false, snapshots: path.includes("site-shop") && _node === "n1" ? [list[0]].map((one) => ({ name: one!.name, guid: one!.guid, createtxg: one!.createtxg, atMs: one!.atMs })) : list.map(({ name, guid, createtxg, atMs }) => ({ name, guid, createtxg, atMs })) }) };
  await new Promise((resolve) => setImmediate(resolve));
  const receiver = new Receiver(node, { counters: new Counters(), holds: new HoldBook(node.zfs, node.log), wantTemplate: () => undefined });
  // the home looks while the copy is taken apart
  const looks: ReturnType<Receiver["snapshots"]>[] = [];
  zfs.onOperation = (operation) => {
    if (operation === "clone") looks.push(receiver.snapshots("site-shop", new URLSearchParams(), "n1"));
  };
  const done = await adoptHere({ ...node, peers } as unknown as NodeContext, { isAlive: (name) => name !== "n2", stashTail: (unit, of) => receiver.stashTail(unit, of) }, { apply: true, from: "" });
  expect((await Promise.all(looks)).map(({ exists, snapshots }) => [exists, snapshots.map(({ guid }) => guid)])).toEqual([[true, [list[0]?.guid]]]);
  expect(done.entries.map(({ action, error }) => [action, error])).toEqual([["stash", ""]]);
  const all = await zfs.datasets("hpool/hc");
  expect(all.filter(({ name }) => name.startsWith("hpool/hc/stash/site-shop-9-n3-"))).toHaveLength(1);
  const left = await zfs.look("hpool/hc/site-shop");
  expect([left?.dataset.user["epoch"], left?.snapshots.map(({ guid }) => guid)]).toEqual(["6", [list[0]?.guid]]);
});

describe("files of a customer that has other numbers in this cluster", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "hc-owner-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** What adoptHere does when the mount is (or is not) still there after `find`. */
  async function taken(unmounted: boolean) {
    const zfs = await plugged();
    const { context: node, store } = await context(zfs);
    await store.txn([], [{ put: keys.desired("customer", "acme"), value: JSON.stringify({ version: 1, kind: "customer", name: "acme", origin: "git", spec: { displayName: "acme", contact: "" } }) }, { put: keys.customer("acme"), value: JSON.stringify({ version: 1, name: "acme", uid: 20007, gid: 20007, user: "hc-acme" }) }]);
    await new Promise((resolve) => setImmediate(resolve));
    // /proc is a mount wherever this runs
    const point = join(folder, "site-shop");
    symlinkSync("/proc", point);
    const asked: (readonly string[])[] = [];
    const runner = { run: async (argv: readonly string[]) => {
      asked.push(argv);
      if (unmounted) {
        unlinkSync(point);
        mkdirSync(point);
      }
      return { code: 0, signal: null, stdout: "", stderr: "" };
    } };
    const done = await adoptHere({ ...node, runner, host: { node: "n3", paths: { data: folder } } } as unknown as NodeContext, adopting(() => false), { apply: true, from: "hpool/old" });
    return { asked: asked.map((argv) => argv.slice(0, 2)), error: done.entries[0]?.error, record: await store.get(keys.unit("site-shop")), mounted: (await zfs.look("hpool/hc/site-shop"))?.dataset.mounted };
  }
  test("get the new ones by one command before the unit is taken over", async () => {
    expect(await taken(false)).toMatchObject({ asked: [["find", join(folder, "site-shop")]], error: "", record: expect.anything(), mounted: false });
  });
  test("are not taken for changed when the unit was unmounted meanwhile: it is not taken over", async () => {
    expect(await taken(true)).toMatchObject({ error: expect.stringContaining("unmounted meanwhile"), record: undefined, mounted: false });
  });
  test("each gets what it needs, and others nothing", () => {
    writeFileSync(join(folder, "a"), "");
    const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
    const to = { uid: 20001, gid: 20002 };
    const told = (from: { uid: number; gid: number }): string[] => {
      const [find = "", ...rest] = findOwned(join(folder, "a"), { from, to }).map((word) => (word === "chown" ? "echo" : word));
      return execFileSync(find, rest, { encoding: "utf8" }).split("\n").filter((line) => line !== "");
    };
    expect([told({ uid, gid }), told({ uid, gid: gid + 1 }), told({ uid: uid + 1, gid }), told({ uid: uid + 1, gid: gid + 1 })]).toEqual([[`-h 20001:20002 ${join(folder, "a")}`], [`-h 20001 ${join(folder, "a")}`], [`-h :20002 ${join(folder, "a")}`], []]);
  });
});
