import pino from "pino";
import { executeTrash } from "../../../daemon/agent/execute-trash.js";
import type { LocalDataset, NodeInput, UnitInput } from "../../../daemon/agent/model.js";
import { planTrash } from "../../../daemon/agent/plan-trash.js";
import type { AgentTools } from "../../../daemon/agent/tools.js";
import { registerTrashRoutes } from "../../../daemon/agent/trash-routes.js";
import type { NodeContext, RouteHandler } from "../../../daemon/context.js";
import type { DesiredDocument } from "../../../daemon/lib/documents.js";
import { Locks } from "../../../daemon/lib/locks.js";
import { keys, type TrashRecord, type UnitRecord } from "../../../daemon/lib/records.js";
import { MemoryStore } from "../../../daemon/state/memory-store.js";
import { WatchedView } from "../../../daemon/state/view.js";
import { createFakeZfs, type FakeZfs } from "../../../daemon/zfs/fake-zfs.js";

const root = "hpool/hc";
const id = "site-a-20300101T000000Z";
const inTrash = `${root}/trash/${id}`;
const document = { version: 1, kind: "site", name: "a", origin: "git", spec: { customer: "acme", template: "php", hostnames: [] } } as unknown as DesiredDocument<"site">;
const trash: TrashRecord = { version: 1, id, unit: "site-a", epoch: 4, nodes: ["n1", "n2"], deletedAtMs: 0, expiresAtMs: 1, document };
const record: UnitRecord = { version: 1, unit: "site-a", kind: "site", name: "a", home: "n1", homeGeneration: 0, epoch: 5, epochStartGuid: "", replicas: ["n2"], state: "creating", runtime: { platform: "linux", php: "8.2" }, origin: { template: "php", version: "", guid: "" }, restoreFrom: id };
const user = { "hybridcluster:unit": "site-a", "hybridcluster:epoch": "4" };
const ends: AbortController[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end.abort();
});

interface Node { context: NodeContext; tools: AgentTools; store: MemoryStore; zfs: FakeZfs; api: Map<string, RouteHandler>; put(key: string, value: unknown): Promise<void>; purge(path: string): Promise<unknown> }
/** n1 with an empty pool. `frozen`: its picture stays what it is now, while etcd goes on. */
async function node(values: Record<string, unknown>, frozen = true): Promise<Node> {
  const end = new AbortController();
  ends.push(end);
  const log = pino({ level: "silent" });
  const zfs = createFakeZfs({ seed: "n1" });
  await zfs.create(root, {});
  const store = new MemoryStore();
  const put = async (key: string, value: unknown): Promise<void> => void (await store.txn([], [{ put: key, value: JSON.stringify(value) }]));
  for (const [key, value] of Object.entries(values)) await put(key, value);
  const view = new WatchedView(store, log);
  await view.start(end.signal);
  const picture = view.current();
  const api = new Map<string, RouteHandler>();
  const context = {
    host: { node: "n1" }, cluster: { node: "n1", dataset: root, members: [{ node: "n1" }, { node: "n2" }] }, store, zfs, log, view: frozen ? { current: () => picture } : view, unitLocks: new Locks(), session: { isLive: () => true },
    clock: { monotonicMs: () => 0, wallMs: () => Date.UTC(2030, 0, 2), sleep: async () => undefined }, event: () => undefined, signal: end.signal,
    apiRoutes: { route: (method: string, pattern: string, handler: RouteHandler) => void api.set(`${method} ${pattern}`, handler) },
  } as unknown as NodeContext;
  registerTrashRoutes(context, () => true);
  const purge = (path: string) => (api.get(`POST ${path}`) as RouteHandler)({ params: { id } } as unknown as Parameters<RouteHandler>[0], {} as Parameters<RouteHandler>[1]);
  return { context, tools: { context } as unknown as AgentTools, store, zfs, api, put, purge };
}
const stored = async <T>(store: MemoryStore, key: string): Promise<T> => JSON.parse((await store.get(key))?.value ?? "null") as T;

describe("a copy that is promised back", () => {
  const local = (dataset: string): LocalDataset => ({ dataset, mounted: false, readonly: true, quotaBytes: "0", usedBytes: "1", user: { unit: "site-a", trash: id }, snapshots: [] });
  const planned = (one: Partial<UnitRecord> | undefined, own?: LocalDataset) =>
    planTrash({ node: "n1", dataset: root, units: one === undefined ? [] : [{ id: "site-a", record: { value: { ...record, ...one }, revision: "1" }, local: own } as UnitInput], trashed: new Map([[id, local(inTrash)]]), trash: new Map([[id, { value: { ...trash, purge: true }, revision: "1" }]]) } as unknown as NodeInput).flatMap(({ steps }) => steps.map(({ action }) => action));
  test("no purge of it is planned until the unit is there by its own name, whatever was ordered", () => {
    expect([planned({}), planned({ state: "live" }), planned({ state: "live", home: "n2", replicas: ["n1"] })]).toEqual([[], [], []]);
    expect([planned(undefined), planned({ restoreFrom: "another" }), planned({}, local(`${root}/site-a`)), planned({ state: "live", home: "n2", replicas: ["n3"] })]).toEqual([["purge"], ["purge"], ["purge"], ["purge"]]);
  });
  test("a purge that was planned before the restore was ordered destroys nothing", async () => {
    const { tools, zfs, put } = await node({ [keys.trash(id)]: { ...trash, purge: true } });
    await zfs.create(`${root}/trash`, {});
    await zfs.create(inTrash, { ...user, "hybridcluster:trash": id });
    await zfs.snapshot([`${inTrash}@4-s`]);
    const purge = () => executeTrash.purge(tools, { id, dataset: inTrash }, tools.context.signal);
    await put(keys.unit("site-a"), record);
    await expect(purge()).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await zfs.look(inTrash))?.snapshots).toHaveLength(1);
    await put(keys.unit("site-a"), { ...record, state: "live", home: "n2", replicas: [] });
    await purge();
    expect(await zfs.look(inTrash)).toBeUndefined();
  });
  test("a person's purge is refused by etcd's word, not by the picture of a moment ago; a restore that comes in between is seen by the transaction", async () => {
    const before = await node({ [keys.trash(id)]: trash });
    await before.put(keys.unit("site-a"), record);
    await expect(before.purge("/v1/trash/:id/purge")).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("is being restored") });
    expect(await before.purge("/v1/trash/purge")).toEqual({ ids: [] });
    expect(await stored(before.store, keys.trash(id))).toEqual(trash);

    const between = await node({ [keys.trash(id)]: trash });
    const { txn } = between.store;
    between.store.txn = async (compare, ops) => {
      between.store.txn = txn;
      await between.put(keys.unit("site-a"), record);
      return between.store.txn(compare, ops);
    };
    await expect(between.purge("/v1/trash/:id/purge")).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("changed meanwhile") });
    expect(await stored(between.store, keys.trash(id))).toEqual(trash);
  });
  test("what no unit gets back is purged", async () => {
    const { purge, store, put } = await node({ [keys.trash(id)]: trash });
    expect(await purge("/v1/trash/:id/purge")).toEqual({ id });
    expect(await stored(store, keys.trash(id))).toEqual({ ...trash, purge: true });
    await put(keys.trash(id), trash);
    expect(await purge("/v1/trash/purge")).toEqual({ ids: [id] });
    expect(await stored(store, keys.trash(id))).toEqual({ ...trash, purge: true });
  });
});

test.each([["the first try", false], ["one after a try that broke", true]])("a move to here that is ordered while a copy is retired finds it under its name: %s", async (_what, again) => {
  const live: UnitRecord = { ...record, state: "live", home: "n2", homeGeneration: 1, replicas: ["n3"] };
  const surplus = "site-a-surplus-n1-20300101T000000Z";
  const { tools, zfs, store, put, context } = await node({ [keys.unit("site-a")]: live, [keys.desired("site", "a")]: document, ...(again ? { [keys.trash(surplus)]: { ...trash, id: surplus, nodes: ["n1"] } } : {}) });
  await zfs.create(`${root}/site-a`, user);
  const { datasets } = zfs;
  const moved = { ...live, move: { id: "m", target: "n1", phase: "presync", reason: "" } };
  const racing = { ...tools, context: { ...context, zfs: { ...zfs, datasets: async (name: string) => {
    await put(keys.unit("site-a"), moved);
    return datasets(name);
  } } } } as unknown as AgentTools;
  await expect(executeTrash.retire(racing, { unit: "site-a", dataset: `${root}/site-a` }, context.signal)).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("changed meanwhile") });
  expect(await zfs.look(`${root}/site-a`)).toBeDefined();
  await put(keys.unit("site-a"), live);
  await executeTrash.retire(tools, { unit: "site-a", dataset: `${root}/site-a` }, context.signal);
  expect([await zfs.look(`${root}/site-a`), (await store.list("/hc/trash/")).items.length]).toEqual([undefined, 1]);
});
