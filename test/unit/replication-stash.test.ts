import pino from "pino";
import type { NodeContext } from "../../daemon/context.js";
import { parseStashId, stashId, Stasher } from "../../daemon/replication/stash.js";
import { type StashInfo, stashRoutes } from "../../daemon/replication/stash-routes.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";

const root = "hpool/hc";
const wish = { common: "", modified: false, owner: 2 };

/** A former home's disk: snapshots a and b, of which the new home has a; then a present that no snapshot holds. */
async function disk(): Promise<{ zfs: FakeZfs; common: string }> {
  const zfs = createFakeZfs({ seed: "n2" });
  await zfs.create(root, {});
  await zfs.create(`${root}/tmpl-php`, {});
  await zfs.snapshot([`${root}/tmpl-php@1`]);
  await zfs.clone(`${root}/tmpl-php@1`, `${root}/site-a`, { mountpoint: "/hc/site-a", canmount: "noauto", "hybridcluster:unit": "site-a", "hybridcluster:epoch": "1", "hybridcluster:sealed": "1.4" });
  await zfs.mount(`${root}/site-a`);
  for (const name of ["a", "b", "c"]) {
    zfs.write(`${root}/site-a`, "page", name);
    if (name !== "c") await zfs.snapshot([`${root}/site-a@1-20260101T000000.00${name === "a" ? 1 : 2}Z-n2`]);
  }
  await zfs.unmount(`${root}/site-a`);
  return { zfs, common: (await zfs.snapshots(`${root}/site-a`))[0]?.guid as string };
}
function stasher(zfs: NodeContext["zfs"]): Stasher {
  return new Stasher({ zfs, host: { node: "n2", paths: { data: "/hc" } }, cluster: { dataset: root }, clock: { monotonicMs: () => 0, wallMs: () => Date.UTC(2026, 10, 23, 12), sleep: async () => undefined }, log: pino({ level: "silent" }), event: () => undefined } as unknown as ConstructorParameters<typeof Stasher>[0]);
}
const changing = ["create", "set", "rename", "clone", "promote"] as const;
/** The same disk, whose n-th change ends the process: before it happens, or right after. */
function breaking(zfs: FakeZfs, at: number, after: boolean): { zfs: NodeContext["zfs"]; count(): number } {
  let count = 0;
  const wrapped = { ...zfs } as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of changing)
    wrapped[name] = async (...args) => {
      count += 1;
      if (count > at || (count === at && !after)) throw new Error("the power is gone");
      const result = await (zfs[name] as (...args: unknown[]) => Promise<unknown>)(...args);
      if (count === at) throw new Error("the power is gone");
      return result;
    };
  return { zfs: wrapped as unknown as NodeContext["zfs"], count: () => count };
}
/** What `hc stash list` would get of this node. */
async function listed(zfs: NodeContext["zfs"]): Promise<StashInfo[]> {
  const routes = new Map<string, () => Promise<{ stashes: StashInfo[] }>>();
  const registry = { route: (method: string, pattern: string, handler: () => Promise<{ stashes: StashInfo[] }>) => void routes.set(`${method} ${pattern}`, handler) };
  stashRoutes({ zfs, host: { node: "n2" }, cluster: { dataset: root }, peerRoutes: registry, apiRoutes: registry } as unknown as Parameters<typeof stashRoutes>[0]);
  return (await (routes.get("GET /peer/v1/stash") as () => Promise<{ stashes: StashInfo[] }>)()).stashes;
}
async function expectStashed(zfs: FakeZfs, common: string): Promise<void> {
  const all = await zfs.datasets(root);
  const stash = all.filter(({ name }) => name.startsWith(`${root}/stash/`));
  expect(stash.map(({ name }) => name)).toEqual([`${root}/stash/site-a-1-n2-20261123T120000Z`]);
  const [kept] = stash;
  expect(kept).toMatchObject({ readonly: true, mounted: false, origin: `${root}/site-a@1-20260101T000000.001Z-n2`, user: { stash: "kept", unit: "site-a" }, mountpoint: "/hc/stash/site-a-1-n2-20261123T120000Z" });
  expect(zfs.files(kept?.name as string).get("page")).toBe("c");
  expect((await zfs.snapshots(kept?.name as string)).map(({ name }) => name)).toEqual(["1-20260101T000000.002Z-n2"]);
  expect(await listed(zfs)).toMatchObject([{ id: "site-a-1-n2-20261123T120000Z", unit: "site-a", node: "n2", epoch: 1, snapshots: 1, common: "1-20260101T000000.001Z-n2" }]);
  const own = all.find(({ name }) => name === `${root}/site-a`);
  expect(own).toMatchObject({ origin: `${root}/tmpl-php@1`, readonly: true, mounted: false, mountpoint: "/hc/site-a", user: { unit: "site-a", epoch: "1", sealed: "1.4" } });
  expect((await zfs.snapshots(`${root}/site-a`)).map(({ guid }) => guid)).toEqual([common]);
  expect(zfs.files(`${root}/site-a`).get("page")).toBe("a");
}

test("broken before and after each of its changes, it is finished by the next start, and nothing is lost", async () => {
  const whole = await disk();
  const counter = breaking(whole.zfs, Number.POSITIVE_INFINITY, false);
  expect(await stasher(counter.zfs).take("site-a", { ...wish, common: whole.common })).toBe("site-a-1-n2-20261123T120000Z");
  await expectStashed(whole.zfs, whole.common);
  expect(counter.count()).toBeGreaterThan(5);
  for (let at = 1; at <= counter.count(); at += 1)
    for (const after of [false, true]) {
      const { zfs, common } = await disk();
      await expect(stasher(breaking(zfs, at, after).zfs).take("site-a", { ...wish, common })).rejects.toThrow("the power is gone");
      await stasher(zfs).recover(await zfs.datasets(root));
      await stasher(zfs).take("site-a", { ...wish, common });
      await expectStashed(zfs, common);
    }
});

test("whatever the node's agent writes onto the copy between two of the steps, the stash is whole, and listed", async () => {
  const { zfs, common } = await disk();
  const beside = { ...zfs } as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const name of changing)
    beside[name] = async (...args) => {
      // as plan-unit.ts wants a copy: it plans from what it saw a moment ago
      await zfs.set(`${root}/site-a`, { readonly: "on", "hybridcluster:state": "live", "hybridcluster:unit": "site-a" }).catch(() => undefined);
      return (zfs[name] as (...args: unknown[]) => Promise<unknown>)(...args);
    };
  expect(await stasher(beside as unknown as NodeContext["zfs"]).take("site-a", { ...wish, common })).toBe("site-a-1-n2-20261123T120000Z");
  await expectStashed(zfs, common);
});

test("nothing to take away is no stash; what is mounted, unknown or of the owner's own epoch is not touched", async () => {
  const { zfs, common } = await disk();
  const [, second] = await zfs.snapshots(`${root}/site-a`);
  await zfs.mount(`${root}/site-a`);
  await expect(stasher(zfs).take("site-a", { ...wish, common })).rejects.toMatchObject({ code: "NOT_READY" });
  await zfs.unmount(`${root}/site-a`);
  await expect(stasher(zfs).take("site-a", { ...wish, common: "123" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  await expect(stasher(zfs).take("site-a", { common, modified: false, owner: 1 })).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await stasher(zfs).take("site-none", wish)).toBe("");
  await zfs.rollback(`${root}/site-a@${second?.name as string}`);
  expect(await stasher(zfs).take("site-a", { ...wish, common: second?.guid as string })).toBe("");
  expect((await zfs.datasets(root)).map(({ name }) => name)).not.toContain(`${root}/stash`);
});

test("ids tell unit, epoch, node and time", () => {
  const atMs = Date.UTC(2026, 10, 23, 12, 30, 5);
  const id = stashId("site-my-shop", 12, "fra-1", atMs);
  expect(id).toBe("site-my-shop-12-fra-1-20261123T123005Z");
  expect(parseStashId(id)).toEqual({ unit: "site-my-shop", epoch: 12, node: "fra-1", atMs });
  expect(parseStashId("site-x")).toBeUndefined();
});

test("once everything was looked through, a unit without an unfinished stash costs no command; one that breaks in this process is taken up", async () => {
  const { zfs, common } = await disk();
  const asked: string[] = [];
  zfs.onOperation = (operation, name) => void asked.push(`${operation} ${name}`);
  const one = stasher(zfs);
  await one.finish("site-a");
  expect(asked).toEqual([`datasets ${root}/stash`]); // not known yet
  await one.recover(await zfs.datasets(root));
  asked.length = 0;
  await one.finish("site-a");
  expect(asked).toEqual([]);
  let broken = false;
  zfs.onOperation = (operation) => {
    if (operation !== "clone" || broken) return;
    broken = true;
    throw new Error("the pool is busy");
  };
  await expect(one.take("site-a", { ...wish, common })).rejects.toThrow("the pool is busy");
  await one.finish("site-a");
  await expectStashed(zfs, common);
});

test("one that is being compared or restored from is not discarded, and nothing of it goes, also when somebody opens it meanwhile; afterwards it goes whole", async () => {
  const { zfs, common } = await disk();
  const id = await stasher(zfs).take("site-a", { ...wish, common });
  const dataset = `${root}/stash/${id}`;
  await zfs.snapshot([`${dataset}@present`]);
  await zfs.create(`${root}/vault`, {});
  const routes = new Map<string, (request: unknown) => Promise<unknown>>();
  const registry = { route: (method: string, pattern: string, handler: (request: unknown) => Promise<unknown>) => void routes.set(`${method} ${pattern}`, handler) };
  stashRoutes({ zfs, host: { node: "n2" }, cluster: { dataset: root, members: [{ node: "n1" }, { node: "n2" }] }, peerRoutes: registry, apiRoutes: { route: () => undefined }, event: () => undefined } as unknown as Parameters<typeof stashRoutes>[0]);
  const discard = () => (routes.get("DELETE /peer/v1/stash/:id") as (request: unknown) => Promise<unknown>)({ params: { id } });
  const open = () => zfs.clone(`${dataset}@present`, `${root}/vault/a`, { readonly: "on" });
  const left = async () => (await zfs.look(dataset))?.snapshots.map(({ name }) => name);
  const all = await left();
  expect(all).toHaveLength(2);

  await open();
  await expect(discard()).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("is in use") });
  expect(await left()).toEqual(all);
  await zfs.destroy(`${root}/vault/a`);

  const { unmount } = zfs;
  zfs.unmount = async (name) => {
    await unmount(name);
    await open();
  };
  await expect(discard()).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await left()).toEqual(all);
  zfs.unmount = unmount;
  await zfs.destroy(`${root}/vault/a`);

  await discard();
  expect(await left()).toBeUndefined();
});
