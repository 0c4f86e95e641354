import { assertMountpoint } from "../agent/mountpoint.js";
import type { NodeContext } from "../context.js";
import { retry } from "../lib/backoff.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { runOk } from "../lib/command.js";
import type { UnitRecord } from "../lib/records.js";
import { eachAtMost } from "../lib/each-at-most.js";
import { isRecovering } from "../state/cluster-state.js";
import type { Replication } from "../replication/replication.js";
import { userPrefix } from "../zfs/commands.js";
import type { Dataset, Snapshot } from "../zfs/zfs.js";
import type { DiskUnit } from "./disk-report.js";
import { lookAtDisk } from "./disk-routes.js";
import { carriers, reportsOf, withLists } from "./gather.js";
import { type AdoptEntry, planAdopt } from "./plan-adopt.js";
import { copiesOf } from "./plan-rebuild.js";
import { transfer } from "./transfer.js";

type Context = NodeContext;
export type IsAlive = (node: string) => boolean;
/** `stashTail`: replication's, which works on one copy with one hand: a home that looks meanwhile, or sends, waits. */
export interface AdoptParts { isAlive: IsAlive; stashTail: Replication["stashTail"] }
/** `from`: dataset of a pool that was plugged in ("old/hc"); "" = the node's own. */
export interface AdoptOrder { apply: boolean; from: string }
export interface AdoptAnswer { node: string; dataset: string; done: boolean; entries: (Omit<AdoptEntry, "write"> & { error: string })[]; /** Members that did not tell what they hold: their copies were not compared. */ silent: { node: string; why: string }[] }

const ownMs = 3_600_000;
const parallel = 2;
/** Tries of one copy are begun within this time, ms. */
const patienceMs = 5_000;

/** What lies on this node and what becomes of it. Nothing is changed. */
export async function planHere(context: Context, isAlive: IsAlive, from: string): Promise<{ entries: AdoptEntry[]; units: DiskUnit[]; silent: { node: string; why: string }[] }> {
  const { host, view } = context;
  const foreign = from !== context.cluster.dataset;
  const units = await lookAtDisk(context, from);
  const others = carriers(context).filter((node) => node !== host.node);
  const { reports, silent } = await reportsOf(context, others.filter(isAlive));
  const state = view.current();
  const here = new Set(units.map(({ unit }) => unit));
  const copies = new Map([...copiesOf([...reports, { node: host.node, units }])].filter(([unit]) => here.has(unit)));
  // lists of both sides where another node owns what lies here too
  const contested = (unit: string): boolean => {
    const record = state.units.get(unit)?.value;
    return record !== undefined && record.home !== host.node && (!record.replicas.includes(host.node) || units.some((one) => one.unit === unit && one.epoch > record.epoch));
  };
  // the lists of what was plugged in are on this machine, and are no unit's own
  const own = foreign ? await zfsLists(context, from, units) : undefined;
  if (own !== undefined) for (const list of copies.values()) for (const copy of list) if (copy.node === host.node) copy.list = own.get(copy.unit.unit);
  const listed = await withLists(context, copies, (copy) => copy.list === undefined, foreign ? () => true : contested);
  const absent = others.filter((node) => !isAlive(node)).map((node) => ({ node, why: "it gives no sign of life" }));
  return { units, entries: planAdopt({ state, node: host.node, units, foreign, copies: listed, isAlive: (node) => node === host.node || isAlive(node) }), silent: [...silent, ...absent] };
}

/**
 * `hc adopt-pool`: takes over what the disks of this node hold and the cluster does not know as this node's. Unit by unit: owners of files brought to the customer's numbers of this cluster, then one transaction that writes
 * record and documents; what lost goes to the stash. Each part can be repeated, and what was done is "keep" the next time.
 */
export async function adoptHere(context: Context, parts: AdoptParts, { apply, from }: AdoptOrder): Promise<AdoptAnswer> {
  const { host, cluster, view } = context;
  const root = from === "" ? cluster.dataset : from;
  if (cluster.dataset === "") throw new HcError("INVALID_INPUT", `${host.node} is a witness and has no pool.`);
  if (isRecovering(view.current())) throw new HcError("NOT_READY", "The cluster recovers from a break in etcd's history, and takes up what all disks hold by itself (`hc quorum status`).");
  const { entries, units, silent } = await planHere(context, parts.isAlive, root);
  const errors = new Map<string, string>();
  if (apply) await eachAtMost(parallel, entries, async (entry) => {
    await context.unitLocks.run(entry.unit, () => act(context, parts.stashTail, entry, root === cluster.dataset ? undefined : units.find(({ unit }) => unit === entry.unit))).catch((error: unknown) => {
      context.log.warn({ unit: entry.unit, err: error }, "adopt: a unit failed");
      errors.set(entry.unit, messageOf(error));
    });
  });
  return { node: host.node, dataset: root, done: apply && errors.size === 0, silent, entries: entries.map(({ write: _write, ...entry }) => ({ ...entry, error: errors.get(entry.unit) ?? "" })) };
}

async function act(context: Context, stashTail: AdoptParts["stashTail"], entry: AdoptEntry, foreign: DiskUnit | undefined): Promise<void> {
  const { store, event, host, log, cluster } = context;
  if (!context.session.isLive()) throw new HcError("NOT_HOME", `${entry.unit}: ${host.node} has no live session; run it again.`);
  if (entry.action === "stash") {
    const id = await stashTail(entry.unit, { epoch: entry.epoch + 1, epochStartGuid: entry.common });
    log.warn({ unit: entry.unit, stash: id }, "adopt: a history that lost");
    // what is left stands on the cluster's own history, and must not keep the epoch of the one that lost
    const epoch = context.view.current().units.get(entry.unit)?.value.epoch;
    const dataset = `${cluster.dataset}/${entry.unit}`;
    if (epoch !== undefined && (await context.zfs.look(dataset)) !== undefined) await context.zfs.set(dataset, { [`${userPrefix}epoch`]: String(epoch) });
    return;
  }
  if (entry.write === null) return;
  if (foreign !== undefined) {
    if (entry.action !== "take") return; // another node's copy goes on; what was plugged in stays as it is
    await transferPatiently(context, foreign);
    await takeLast(context, entry);
  }
  if (entry.action === "take" && entry.owner !== null) await changeOwner(context, `${cluster.dataset}/${entry.unit}`, entry);
  const { succeeded } = await store.txn(entry.write.compare, entry.write.ops);
  if (!succeeded) throw new HcError("CONFLICT", `${entry.unit} changed meanwhile; run it again.`);
  if (entry.write.event !== undefined) event(entry.unit, entry.write.event.event, entry.write.event.detail);
}

/** A zfs that is busy for a moment after a mount or unmount is asked again: the transfer goes on after what has arrived. What failed is told in the log each time. */
async function transferPatiently(context: Context, unit: DiskUnit): Promise<void> {
  await retry(`the copy of ${unit.unit}`, { firstMs: 200, capMs: 1_000, withinMs: patienceMs, signal: context.signal }, async () => {
    try {
      await transfer(context, unit, context.signal);
    } catch (error) {
      const code = errorCode(error);
      if (code !== "COMMAND_FAILED" && code !== "NOT_READY") throw error;
      context.log.warn({ unit: unit.unit, err: error }, "adopt: a copy broke, and is taken up again");
      throw new HcError(code, messageOf(error), { cause: error, retry: "transient" });
    }
  });
}

/** The history that was copied may end with a snapshot of what was written last. */
async function takeLast({ zfs, cluster }: Context, entry: AdoptEntry): Promise<void> {
  const last = (await zfs.snapshots(`${cluster.dataset}/${entry.unit}`)).at(-1);
  for (const op of entry.write?.ops ?? []) if ("put" in op && op.put === entry.write?.key && last !== undefined) op.value = JSON.stringify({ ...(JSON.parse(op.value) as UnitRecord), epochStartGuid: last.guid });
}
async function zfsLists({ zfs }: Context, root: string, units: readonly DiskUnit[]): Promise<Map<string, readonly Snapshot[]>> {
  const all = await zfs.allSnapshots(root);
  return new Map(units.map(({ unit, dataset }) => [unit, all.get(dataset) ?? []]));
}

/**
 * Files of the customer's old numbers get the new ones: another customer may have the old ones here. The unit is nobody's yet, so it is mounted for this alone; the agent, which knows no record of it, may unmount it
 * meanwhile, so one `find` does it all (it stands in the mount, which is busy then) and only what is still mounted after it was done. Throws NOT_READY.
 */
async function changeOwner({ zfs, host, fence, runner, signal }: Context, dataset: string, { unit, owner }: AdoptEntry): Promise<void> {
  const mountpoint = `${host.paths.data}/${unit}`;
  const found: Dataset | undefined = (await zfs.look(dataset))?.dataset;
  if (found === undefined || owner === null) return;
  if (found.mounted) throw new HcError("CONFLICT", `${dataset} is mounted: unmount it first.`);
  if (found.readonly) await zfs.set(dataset, { readonly: "off" });
  if (found.mountpoint !== mountpoint) await zfs.set(dataset, { mountpoint });
  fence.open({ unit, dataset, mountpoint });
  await zfs.mount(dataset);
  try {
    await assertMountpoint(mountpoint);
    await runOk(runner, findOwned(mountpoint, owner), { timeoutMs: ownMs, signal });
    await assertMountpoint(mountpoint);
  } finally {
    await zfs.unmount(dataset);
  }
}

/** Pure: three cases of which each file is in one at most; what GNU's and FreeBSD's find both know (the latter has no list operator ","). */
export function findOwned(folder: string, { from, to }: NonNullable<AdoptEntry["owner"]>): string[] {
  const [uid, gid] = [["-uid", String(from.uid)], ["-gid", String(from.gid)]];
  const chown = (owner: string): string[] => ["-exec", "chown", "-h", owner, "{}", "+"];
  return ["find", folder, "-xdev", "(", ...uid, ...gid, ...chown(`${to.uid}:${to.gid}`), ")", "-o", "(", ...uid, "!", ...gid, ...chown(`${to.uid}`), ")", "-o", "(", "!", ...uid, ...gid, ...chown(`:${to.gid}`), ")"];
}
