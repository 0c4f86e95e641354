import { stat } from "node:fs/promises";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { runOk } from "../lib/command.js";
import { eachAtMost } from "../lib/each-at-most.js";
import { isRecovering } from "../state/cluster-state.js";
import { Stasher } from "../replication/stash.js";
import type { Dataset } from "../zfs/zfs.js";
import { lookAtDisk } from "./disk-routes.js";
import { carriers, reportsOf, withLists } from "./gather.js";
import { type AdoptEntry, planAdopt } from "./plan-adopt.js";
import { copiesOf } from "./plan-rebuild.js";

type Context = NodeContext;
export type IsAlive = (node: string) => boolean;
export interface AdoptAnswer { node: string; dataset: string; done: boolean; entries: (Omit<AdoptEntry, "write"> & { error: string })[]; /** Members that did not tell what they hold: their copies were not compared. */ silent: { node: string; why: string }[] }

const ownMs = 3_600_000;
const parallel = 2;

/** What lies on this node and what becomes of it. Nothing is changed. */
export async function planHere(context: Context, isAlive: IsAlive): Promise<{ entries: AdoptEntry[]; silent: { node: string; why: string }[] }> {
  const { host, cluster, view } = context;
  const units = await lookAtDisk(context, cluster.dataset);
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
  const listed = await withLists(context, copies, () => true, contested);
  const absent = others.filter((node) => !isAlive(node)).map((node) => ({ node, why: "it gives no sign of life" }));
  return { entries: planAdopt({ state, node: host.node, units, copies: listed, isAlive: (node) => node === host.node || isAlive(node) }), silent: [...silent, ...absent] };
}

/**
 * `hc adopt-pool`: takes over what the disks of this node hold and the cluster does not know as this node's. Unit by unit: owners of files brought to the customer's numbers of this cluster, then one transaction that writes
 * record and documents; what lost goes to the stash. Each part can be repeated, and what was done is "keep" the next time.
 */
export async function adoptHere(context: Context, isAlive: IsAlive, apply: boolean): Promise<AdoptAnswer> {
  const { host, cluster, view } = context;
  if (cluster.dataset === "") throw new HcError("INVALID_INPUT", `${host.node} is a witness and has no pool.`);
  if (isRecovering(view.current())) throw new HcError("NOT_READY", "The cluster recovers from a break in etcd's history, and takes up what all disks hold by itself (`hc quorum status`).");
  const { entries, silent } = await planHere(context, isAlive);
  const errors = new Map<string, string>();
  if (apply) await eachAtMost(parallel, entries, async (entry) => {
    await act(context, entry).catch((error: unknown) => void errors.set(entry.unit, error instanceof Error ? error.message : String(error)));
  });
  return { node: host.node, dataset: cluster.dataset, done: apply && errors.size === 0, silent, entries: entries.map(({ write: _write, ...entry }) => ({ ...entry, error: errors.get(entry.unit) ?? "" })) };
}

async function act(context: Context, entry: AdoptEntry): Promise<void> {
  const { store, event, host, log, cluster } = context;
  if (!context.session.isLive()) throw new HcError("NOT_HOME", `${entry.unit}: ${host.node} has no live session; run it again.`);
  if (entry.action === "stash") {
    const id = await new Stasher(context).take(entry.unit, { common: entry.common, modified: false, owner: entry.epoch + 1 });
    log.warn({ unit: entry.unit, stash: id }, "adopt: a history that lost");
    return;
  }
  if (entry.write === null) return;
  if (entry.action === "take" && entry.owner !== null) await changeOwner(context, `${cluster.dataset}/${entry.unit}`, entry);
  const { succeeded } = await store.txn(entry.write.compare, entry.write.ops);
  if (!succeeded) throw new HcError("CONFLICT", `${entry.unit} changed meanwhile; run it again.`);
  if (entry.write.event !== undefined) event(entry.unit, entry.write.event.event, entry.write.event.detail);
}

/** Files of the customer's old numbers get the new ones: another customer may have the old ones here. The unit is nobody's yet, so it is mounted for this alone. */
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
    await stat(mountpoint);
    const find = (test: string[], act: string[]): Promise<string> => runOk(runner, ["find", mountpoint, "-xdev", ...test, "-exec", ...act, "{}", "+"], { timeoutMs: ownMs, signal });
    await find(["-uid", String(owner.from.uid)], ["chown", "-h", String(owner.to.uid)]);
    await find(["-gid", String(owner.from.gid)], ["chgrp", "-h", String(owner.to.gid)]);
  } finally {
    await zfs.unmount(dataset);
  }
}
