import { withDeadline } from "../lib/abort.js";
import type { DesiredDocument } from "../lib/documents.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { unpackText } from "../lib/packed-text.js";
import { comesBack, keys, recordVersion, type TrashRecord, type UnitRecord } from "../lib/records.js";
import { releaseHolds } from "../replication/holds.js";
import { stashRoot } from "../replication/stash.js";
import type { KeyValue } from "../state/store.js";
import type { Zfs } from "../zfs/zfs.js";
import type { Executors } from "./executors.js";
import { isSurplus, property, surplusId, trashDataset, trashId, trashRoot, unitDataset } from "./names.js";
import { assertLive, changeKey, untilSeen } from "./records.js";
import type { AgentTools } from "./tools.js";

/** How long a deletion waits for replicas that do not confirm the last snapshot, ms; then they go to the trash as they are. */
const flushWithinMs = 60_000;
/** Destroys between two looks at the whole, and the pause between two of them: a purge never starves a pool. */
const purgeBatch = 50;
const purgePauseMs = 20;
const dayMs = 86_400_000;
const defaultTrashDays = 30;
/** A surplus copy is one of a unit that lives elsewhere: kept for a day, so that moves there and back do not fill a pool. */
const surplusDays = 1;

async function ensureTrash(zfs: Zfs, dataset: string): Promise<void> {
  await zfs.create(trashRoot(dataset), { canmount: "off" }).catch((error: unknown) => {
    if (errorCode(error) !== "ALREADY_EXISTS") throw error;
  });
}

/** Last sends to all replicas; what was not confirmed is told, and tried again until the deadline. */
async function lastSends({ context, replication }: AgentTools, unit: string, signal: AbortSignal): Promise<void> {
  const end = context.clock.monotonicMs() + flushWithinMs;
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await withDeadline(flushWithinMs, `last sends of ${unit}`, (inner) => replication.flushAll(unit, inner), signal).catch((error: unknown) => ({ all: messageOf(error) }));
    const open = Object.entries(outcome).filter(([, error]) => error !== "");
    if (open.length === 0) return;
    if (attempt >= 3 || context.clock.monotonicMs() > end) {
      context.log.warn({ unit, open: Object.fromEntries(open) }, "replicas go to the trash without the last snapshot");
      return;
    }
    await context.clock.sleep(1_000, signal);
  }
}

function trashDays(tools: AgentTools): number {
  for (const { value } of tools.context.view.current().desired.values()) if (value.kind === "cluster") return (value as DesiredDocument<"cluster">).spec.settings.trashDays;
  return defaultTrashDays;
}

/** The trash record of a copy that its unit's record, as `stored`, no longer names; one that a broken try has left is used again. Throws CONFLICT when the unit's record is another by now: a move may have been ordered to here. */
async function surplusRecord(tools: AgentTools, record: UnitRecord, stored: KeyValue, dataset: string): Promise<string> {
  const { context } = tools;
  const { node } = context.cluster;
  const local = await context.zfs.datasets(context.cluster.dataset);
  const names = new Set(local.map((item) => item.name));
  const left = [...context.view.current().trash.values()].find(({ value }) => value.unit === record.unit && isSurplus(value.id) && value.nodes.includes(node) && value.purge !== true && !names.has(trashDataset(context.cluster.dataset, value.id)));
  if (left !== undefined) {
    if ((await context.store.get(stored.key))?.modRevision !== stored.modRevision) throw new HcError("CONFLICT", `The record of ${record.unit} changed meanwhile; look again.`);
    return left.value.id;
  }
  const text = local.find((item) => item.name === dataset)?.user["definition"];
  const document = text === undefined ? context.view.current().desired.get(`site/${record.name}`)?.value : JSON.parse(unpackText(text));
  if (document === undefined) throw new HcError("NOT_FOUND", `${dataset} bears no definition: the trash record cannot be written.`);
  const atMs = context.clock.wallMs();
  const id = surplusId(record.unit, node, atMs);
  const trash: TrashRecord = { version: recordVersion, id, unit: record.unit, epoch: record.epoch, nodes: [node], deletedAtMs: atMs, expiresAtMs: atMs + Math.min(surplusDays, trashDays(tools)) * dayMs, document: document as DesiredDocument<"site"> };
  const { succeeded } = await context.store.txn([{ key: stored.key, modRevision: stored.modRevision }, { key: keys.trash(id), modRevision: "0" }], [{ put: keys.trash(id), value: JSON.stringify(trash) }]);
  if (!succeeded) throw new HcError("CONFLICT", `${id} exists already, or the record of ${record.unit} changed meanwhile; look again.`);
  return id;
}

export const executeTrash: Pick<Executors, "bury" | "move-to-trash" | "retire" | "restore-from-trash" | "leave-trash" | "purge"> = {
  async bury(tools, { unit, dataset }, signal) {
    const { context, replication } = tools;
    const found = await context.store.get(keys.unit(unit));
    if (found === undefined) return;
    const record = JSON.parse(found.value) as UnitRecord;
    if (record.home !== context.cluster.node || record.state !== "deleting") throw new HcError("NOT_HOME", `${unit} is not to be deleted here.`);
    assertLive(context, unit);
    const local = (await context.zfs.look(dataset))?.dataset;
    const text = local?.user["definition"];
    if (local === undefined || text === undefined) throw new HcError("NOT_FOUND", `${dataset} bears no definition: the trash record cannot be written.`);
    if ((await context.zfs.snapshots(dataset)).length > 0 || record.epochStartGuid !== "") await lastSends(tools, unit, signal);
    else await replication.snapshotNow(unit, signal);
    const atMs = context.clock.wallMs();
    const id = trashId(unit, atMs);
    const nodes = [...new Set([record.home, ...record.replicas, ...(record.move === undefined ? [] : [record.move.target])])];
    const trash: TrashRecord = { version: recordVersion, id, unit, epoch: record.epoch, nodes, deletedAtMs: atMs, expiresAtMs: atMs + trashDays(tools) * dayMs, document: JSON.parse(unpackText(text)) as DesiredDocument<"site"> };
    assertLive(context, unit);
    const { succeeded } = await context.store.txn(
      [{ key: found.key, modRevision: found.modRevision }, { key: keys.trash(id), modRevision: "0" }],
      [{ put: keys.trash(id), value: JSON.stringify(trash) }, { delete: found.key }],
    );
    if (!succeeded) throw new HcError("CONFLICT", `The record of ${unit} changed while it was taken to the trash; look again.`);
    await untilSeen(context, () => context.view.current().units.get(unit)?.revision !== found.modRevision, unit);
    context.event(unit, "deleted", `to the trash as ${id}`);
  },
  async "move-to-trash"({ context }, { unit, dataset, id }) {
    const trash = context.view.current().trash.get(id)?.value;
    if (trash?.unit !== unit || !trash.nodes.includes(context.cluster.node)) throw new HcError("NOT_FOUND", `No trash record ${id} names this node.`);
    await ensureTrash(context.zfs, context.cluster.dataset);
    await context.zfs.set(dataset, { [property("trash")]: id, [property("deleted")]: String(trash.deletedAtMs) });
    await context.zfs.rename(dataset, trashDataset(context.cluster.dataset, id));
  },
  async retire(tools, { unit, dataset }) {
    const { context } = tools;
    const { node } = context.cluster;
    await context.unitLocks.run(unit, async () => {
      // etcd's own word: what `hc adopt-pool` has just taken over here is in no picture yet
      const stored = await context.store.get(keys.unit(unit));
      const record = stored === undefined ? undefined : (JSON.parse(stored.value) as UnitRecord);
      if (stored === undefined || record?.state !== "live" || record.home === node || record.replicas.includes(node) || record.move !== undefined) throw new HcError("CONFLICT", `${unit}: the copy of ${node} is not to be retired now.`);
      assertLive(context, unit);
      await ensureTrash(context.zfs, context.cluster.dataset);
      const id = await surplusRecord(tools, record, stored, dataset);
      await context.zfs.set(dataset, { [property("trash")]: id, [property("deleted")]: String(context.clock.wallMs()) });
      await context.zfs.rename(dataset, trashDataset(context.cluster.dataset, id));
      context.event(unit, "retired", `the copy of ${node} is named no more; kept as ${id}`);
    });
  },
  async "restore-from-trash"({ context }, { unit, from, dataset }) {
    const record = context.view.current().units.get(unit)?.value;
    if (record?.restoreFrom === undefined || trashDataset(context.cluster.dataset, record.restoreFrom) !== from) throw new HcError("CONFLICT", `${unit} is not to be restored from ${from}.`);
    await context.zfs.rename(from, dataset);
    for (const name of ["trash", "deleted"]) await context.zfs.inherit(dataset, property(name));
  },
  async "leave-trash"({ context }, { id }) {
    const { node } = context.cluster;
    await changeKey<TrashRecord>(context.store, keys.trash(id), (trash) => {
      const nodes = trash.nodes.filter((name) => name !== node);
      if (nodes.length === trash.nodes.length) return "keep";
      return nodes.length === 0 ? undefined : { ...trash, nodes };
    });
  },
  async purge({ context }, { id, dataset }, signal) {
    const found = (await context.zfs.look(dataset))?.dataset;
    if (found === undefined) return;
    if (found.user["trash"] !== id || !dataset.startsWith(`${trashRoot(context.cluster.dataset)}/`)) throw new HcError("ALREADY_EXISTS", `${dataset} is not trash of ours.`);
    // etcd's own word: a restore that was ordered a moment ago is in no picture yet, and works under the unit's key
    const unit = found.user["unit"] ?? "";
    const stored = await context.store.get(keys.unit(unit));
    const record = stored === undefined ? undefined : (JSON.parse(stored.value) as UnitRecord);
    if (comesBack(record, id, context.cluster.node) && (await context.zfs.look(unitDataset(context.cluster.dataset, unit))) === undefined) throw new HcError("CONFLICT", `${unit} is being restored from ${id}: it is not purged.`);
    if (found.mounted) await context.zfs.unmount(dataset);
    await releaseHolds(context.zfs, dataset, context.cluster.members.map((member) => member.node));
    // a receive that was cut while this was a copy still clings to a snapshot
    if (await context.zfs.resumable()) await context.zfs.abortReceive(dataset);
    // a stash that starts from a snapshot of it gets the common past for its own
    for (const { name, origin } of await context.zfs.datasets(context.cluster.dataset)) if (origin.startsWith(`${dataset}@`) && name.startsWith(`${stashRoot(context.cluster.dataset)}/`)) await context.zfs.promote(name);
    const snapshots = await context.zfs.snapshots(dataset);
    for (const snapshot of snapshots.slice(0, purgeBatch)) {
      await context.zfs.destroy(`${dataset}@${snapshot.name}`);
      await context.clock.sleep(purgePauseMs, signal);
    }
    if (snapshots.length <= purgeBatch) {
      await context.zfs.destroy(dataset);
      context.event(found.user["unit"] ?? "", "purged", id);
    }
  },
};
