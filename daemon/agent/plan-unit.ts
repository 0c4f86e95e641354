import { packText } from "../lib/packed-text.js";
import { hasStaleRestore, restoreOf } from "../lib/records.js";
import { parseSize } from "../lib/sizes.js";
import { localEpoch } from "./epochs.js";
import type { LocalDataset, NodeInput, UnitInput } from "./model.js";
import { isSurplus, property, trashDataset, unitDataset } from "./names.js";
import { serviceText, siteRun, siteText } from "./site-run.js";
import type { Note, Step } from "./steps.js";

/*
 * Invariants of this plan (golden tests and the simulation cite them):
 *  1. Mounted writable only where the record names this node, with a live session, homeGeneration of that session, and an epoch that is not below any on this disk.
 *  2. A new dataset is made only while the record says "creating"; "live" without data is an error for a person.
 *  3. A dataset that does not bear `hybridcluster:unit=<id>` is never touched.
 *  4. Without a live session there are only steps that stop and unmount, except for units that this session has taken and that all their copies have promised (daemon/failsafe).
 *  5. While a move is in its phase "stopping" the source is stopped and unmounted; it starts again only after the record has changed.
 *  6. What is not at home here is stopped, unmounted, readonly.
 *  7. Data leaves its name only by a rename into the trash.
 *  8. Services start only on a mounted dataset, with their configuration in force.
 *  9. While a restore runs in place (record.restore, daemon/vault) the unit is mounted and its site is stopped; it starts when the record has changed.
 * 10. While the cluster recovers (a restored backup of etcd, daemon/recovery) nothing is mounted, and what is, is stopped and unmounted: no record can be trusted.
 */
export interface UnitPlan { steps: Step[]; note?: Note | undefined; /** See KeyedSteps. */ later?: boolean }
export type Role = "home" | "replica" | "none";

export function roleOf(node: string, unit: UnitInput): Role {
  const record = unit.record?.value;
  if (record === undefined) return "none";
  if (record.home === node) return "home";
  return record.replicas.includes(node) || record.move?.target === node ? "replica" : "none";
}

const waiting = (steps: Step[], text: string): UnitPlan => ({ steps, note: { severity: "waiting", text } });
const failed = (steps: Step[], text: string): UnitPlan => ({ steps, note: { severity: "error", text } });

/** Ends whatever runs or is mounted here. A stop comes before each unmount, whatever the supervisor reports. */
function quiet(unit: UnitInput): Step[] {
  const { id, local } = unit;
  if (local?.mounted === true) return [{ action: "stop", unit: id }, { action: "unmount", unit: id, dataset: local.dataset }];
  return unit.service === "active" ? [{ action: "stop", unit: id }] : [];
}

export function planUnit(input: NodeInput, unit: UnitInput): UnitPlan {
  const { record, local } = unit;
  const role = roleOf(input.node, unit);
  if (local !== undefined && local.user["unit"] !== unit.id)
    return role === "none" ? { steps: [] } : failed([], `${local.dataset} exists and is not ours (hybridcluster:unit is ${JSON.stringify(local.user["unit"] ?? "")}): rename it, or give the site another name.`);
  if (input.recovering === true) return waiting(quiet(unit), "the cluster recovers from a break in etcd's history (`hc quorum status`): nothing is mounted before all members have told what their disks hold");
  const held = input.session.held?.includes(unit.id) === true && role === "home" && record?.value.homeGeneration === input.session.generation;
  if (!input.session.live && !held) return waiting(quiet(unit), "this node has no live session: everything of it is stopped");
  const old = local === undefined ? undefined : outdated(input, unit, local);
  if (old !== undefined) return { steps: [...quiet(unit), { action: "move-to-trash", unit: unit.id, dataset: (local as LocalDataset).dataset, id: old }] };
  if (record === undefined) return local === undefined ? { steps: [] } : failed(quiet(unit), `no record names ${local.dataset}: it is kept, unmounted.`);
  if (local !== undefined && localEpoch(local) > record.value.epoch)
    return failed(quiet(unit), `this disk knows epoch ${localEpoch(local)} of ${unit.id}, the record says ${record.value.epoch}: nothing is mounted. \`hc adopt-pool ${input.node}\` compares both, and puts what lost into the stash.`);
  if (record.value.state === "deleting") return planDeleting(unit, role);
  if (role === "home") return planHome(input, unit);
  return role === "replica" ? planReplica(input, unit) : planSurplus(unit);
}

/** The id of the trash that this dataset belongs to: a deletion of an earlier or this epoch that names this node. */
function outdated(input: NodeInput, unit: UnitInput, local: LocalDataset): string | undefined {
  const record = unit.record?.value;
  const found = unit.trash
    .filter((trash) => !isSurplus(trash.id) && trash.nodes.includes(input.node) && trash.id !== record?.restoreFrom && localEpoch(local) <= trash.epoch && (record === undefined || record.epoch > trash.epoch))
    .sort((a, b) => a.epoch - b.epoch || (a.id < b.id ? -1 : 1));
  return found.find((trash) => !input.trashed.has(trash.id))?.id;
}

function planDeleting(unit: UnitInput, role: Role): UnitPlan {
  const steps = quiet(unit);
  if (role !== "home") return waiting(steps, "is being deleted");
  if (unit.local !== undefined) return { steps: [...steps, { action: "bury", unit: unit.id, dataset: unit.local.dataset }] };
  if (unit.record?.value.epochStartGuid === "") return { steps: [{ action: "forget-record", unit: unit.id }] };
  return failed(steps, `${unit.id} is being deleted, and its home has no data of it: restore the node's pool, or remove the record by hand.`);
}

function planSurplus(unit: UnitInput): UnitPlan {
  if (unit.local === undefined) return { steps: [] };
  if (unit.record?.value.state !== "live" || unit.record.value.move !== undefined || !unit.homeHolds) return waiting(quiet(unit), "this copy is named no more, and is kept until the home reports its own");
  return { steps: [...quiet(unit), { action: "retire", unit: unit.id, dataset: unit.local.dataset }] };
}

function planReplica(input: NodeInput, unit: UnitInput): UnitPlan {
  const { local } = unit;
  if (local === undefined) return { steps: restoring(input, unit) };
  const record = unit.record?.value as NonNullable<UnitInput["record"]>["value"];
  // written down ahead of time: a node that takes over many sites has better things to do then. Not while requests wait for what this node is about to take over
  const isAwaited = record.move?.target === input.node && record.move.phase === "stopping";
  const wanted = { ...identity(unit), ...(record.state === "live" ? { [property("state")]: "live" } : {}) };
  const differing = isAwaited ? {} : different(local, wanted);
  if (!local.readonly) differing["readonly"] = "on";
  if (local.quotaBytes !== "0" && !isAwaited) differing["quota"] = "none";
  return { steps: [...quiet(unit), ...setting(unit, local.dataset, differing)] };
}

function restoring(input: NodeInput, unit: UnitInput): Step[] {
  const id = unit.record?.value.restoreFrom;
  const copy = id === undefined ? undefined : input.trashed.get(id);
  if (id === undefined || copy === undefined || copy.user["unit"] !== unit.id) return [];
  return [{ action: "restore-from-trash", unit: unit.id, from: trashDataset(input.dataset, id), dataset: unitDataset(input.dataset, unit.id) }];
}

function identity(unit: UnitInput): Record<string, string> {
  const record = unit.record?.value;
  if (record === undefined) return {};
  const definition = unit.document === undefined ? undefined : packText(JSON.stringify(unit.document.value));
  const described = unit.document === undefined ? {} : { ...(definition === undefined ? {} : { [property("definition")]: definition }), [property("revision")]: unit.document.revision };
  const config = unit.config === undefined ? {} : { [property("config")]: unit.config };
  return { [property("unit")]: unit.id, [property("epoch")]: String(record.epoch), [property("home")]: record.home, ...described, ...config };
}
function different(local: LocalDataset, wanted: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(wanted).filter(([name, value]) => local.user[name.replace("hybridcluster:", "")] !== value));
}
const setting = (unit: UnitInput, dataset: string, properties: Record<string, string>): Step[] =>
  Object.keys(properties).length === 0 ? [] : [{ action: "set-properties", unit: unit.id, dataset, properties }];

function planHome(input: NodeInput, unit: UnitInput): UnitPlan {
  const { local } = unit;
  const record = unit.record?.value as NonNullable<UnitInput["record"]>["value"];
  const take: Step[] = record.homeGeneration === input.session.generation ? [] : [{ action: "take-home", unit: unit.id }];
  if (record.move?.phase === "stopping") return waiting(quiet(unit), `moves to ${record.move.target}`);
  if (record.state === "creating") return planCreating(input, unit, take);
  if (local === undefined) {
    const back = restoring(input, unit);
    return back.length > 0 ? { steps: back } : failed([], `${unit.id} is at home here by its record, and this node has no data of it: restore the pool, or promote a replica. Nothing is made anew.`);
  }
  if (record.homeGeneration === 0 && record.epochStartGuid !== "" && !local.snapshots.some((snapshot) => snapshot.guid === record.epochStartGuid))
    return failed(quiet(unit), `the last snapshot of the former home (guid ${record.epochStartGuid}) is not here: nothing is mounted.`);
  // just named as home: whatever lies after the start of the epoch was written by an owner that had lost it. Where a home died in the middle of a restore its copy may be half of each, with no snapshot that tells so
  const halfRestored = record.restored?.atMs === 0 || hasStaleRestore(record);
  const tail: Step[] = record.homeGeneration === 0 && record.epochStartGuid !== "" && (halfRestored || local.snapshots.at(-1)?.guid !== record.epochStartGuid) ? [{ action: "stash-tail", unit: unit.id, dataset: local.dataset }] : [];
  const restore = restoreOf(record);
  if (restore !== undefined) {
    const still = [...(tail.length > 0 ? quiet(unit) : local.mounted && unit.service === "active" ? [{ action: "stop", unit: unit.id } as const] : []), ...tail, ...take, ...opening(unit, local)];
    if (restore.failed === undefined) return waiting(still, `is being restored to ${restore.snapshot}`);
    // the quota too: more room may be what it waits for
    return failed([...still, ...describing(unit, local)], `its restore to ${restore.snapshot} failed (${restore.failed}), and the present before it cannot be rolled back to, because a snapshot was made after it: it is copied back out of ${restore.before}, each 10 s until that succeeds. Until then neither state is whole, and the site does not start; if there is no room, make some.`);
  }
  return planServing(input, unit, local, [...(tail.length > 0 ? quiet(unit) : []), ...tail, ...take, ...opening(unit, local)]);
}

/** Steps that end with a dataset that is writable and mounted. */
function opening(unit: UnitInput, local: LocalDataset): Step[] {
  // the disks alone must tell who is home (daemon/recovery), before anything is written. Together: each alone waits for its own write of the pool
  const wanted = different(local, { [property("epoch")]: String(unit.record?.value.epoch), [property("home")]: String(unit.record?.value.home) });
  if (local.readonly && !local.mounted) wanted["readonly"] = "off";
  // a container that still runs on a mount that is gone holds it, and not every zfs mounts anew then; where one does, it would go on with the old mount
  const stop: Step[] = !local.mounted && unit.service === "active" ? [{ action: "stop", unit: unit.id }] : [];
  const mount: Step[] = local.mounted && !local.readonly ? [] : [...stop, { action: "mount-writable", unit: unit.id, dataset: local.dataset }];
  return [...setting(unit, local.dataset, wanted), ...mount];
}

/** Quota and definition come last: a quota that zfs refuses must not keep a site down. */
function describing(unit: UnitInput, local: LocalDataset): Step[] {
  if (unit.document === undefined) return [];
  const wanted = different(local, { ...identity(unit), [property("state")]: "live" });
  delete wanted[property("epoch")];
  const quota = parseSize(unit.document.value.spec.quota, "quota").toString();
  if (local.quotaBytes === quota) return setting(unit, local.dataset, wanted);
  // in this order: the revision is written only after the quota was taken
  return setting(unit, local.dataset, { quota, ...wanted });
}

/** A larger quota may be what the site needs to answer; one that zfs may refuse must not come before the check that opens its gate. */
function grows({ document }: UnitInput, local: LocalDataset): boolean {
  return document !== undefined && local.quotaBytes !== "0" && parseSize(document.value.spec.quota, "quota") > BigInt(local.quotaBytes);
}

function planCreating(input: NodeInput, unit: UnitInput, take: Step[]): UnitPlan {
  const { local, document, customer } = unit;
  const record = unit.record?.value as NonNullable<UnitInput["record"]>["value"];
  const above = unit.trash.reduce((highest, trash) => Math.max(highest, trash.epoch), 0);
  if (record.epoch <= above) return { steps: [{ action: "raise-epoch", unit: unit.id, epoch: above + 1 }] };
  if (local === undefined && record.restoreFrom !== undefined) {
    const back = restoring(input, unit);
    return back.length > 0 ? { steps: back } : failed([], `${record.restoreFrom} is not in this node's trash: nothing to restore from.`);
  }
  if (document === undefined) return waiting([], "its document is gone");
  if (customer === undefined || customer.deleted === true) return waiting([], `customer ${document.value.spec.customer} has no numbers yet`);
  const dataset = unitDataset(input.dataset, unit.id);
  const content: Step = { action: "populate", unit: unit.id, dataset, root: `${input.data}/${unit.id}`, sha256: document.value.spec.content.sha256, uid: customer.uid, gid: customer.gid };
  if (local !== undefined) {
    const stage = local.user["state"];
    if (record.restoreFrom === undefined && stage !== "new" && stage !== "populated") return failed(quiet(unit), `${dataset} holds data of an earlier ${unit.id} that no record names: move it away, or restore it. Nothing is made over it.`);
    const fill: Step[] = stage === "new" ? [content] : [];
    return { steps: [...take, ...opening(unit, local), ...fill, { action: "go-live", unit: unit.id, dataset }] };
  }
  const { template, version, guid } = record.origin;
  const found = input.templates.get(`${template}@${version}`);
  if (found === undefined) return waiting([], `template ${template} ${version} is not on this node yet`);
  if (guid !== "" && found !== guid) return failed([], `template ${template} ${version} has guid ${found} here, the record says ${guid}: this copy was not spread from the builder.`);
  const quota = parseSize(document.value.spec.quota, "quota").toString();
  const properties = { canmount: "noauto", mountpoint: `${input.data}/${unit.id}`, atime: "off", readonly: "off", quota, ...identity(unit), [property("customer")]: customer.name, [property("state")]: "new" };
  const snapshot = `${input.dataset}/tmpl-${template}@${version}`;
  return { steps: [...take, { action: "clone-template", unit: unit.id, snapshot, dataset, properties }, { action: "mount-writable", unit: unit.id, dataset }, content, { action: "go-live", unit: unit.id, dataset }] };
}

function planServing(input: NodeInput, unit: UnitInput, local: LocalDataset, open: Step[]): UnitPlan {
  const last = describing(unit, local);
  if (unit.document === undefined || unit.customer === undefined) return waiting([...open, ...last], "its document or customer is gone: it is kept, and not started");
  const site = siteRun(input.node, input.data, unit.record!.value, unit.document.value, unit.customer);
  const text = siteText(site);
  if (unit.configured !== serviceText(site)) return waiting([...open, ...last], "its services are not configured yet");
  // the shortest way to an answer, of this site and of all others that wait here: what is only written down comes in a later round, after the gate has opened
  if (open.length > 0 || unit.service !== "active" || unit.started !== text) return waiting([...open, { action: "start", unit: unit.id, site }, { action: "check", unit: unit.id, site }], "starts");
  const check: Step = { action: "check", unit: unit.id, site };
  if (unit.checked !== text) return waiting(grows(unit, local) ? [...last, check] : [check, ...last], "is started, and does not answer as wanted yet");
  return { steps: last, later: true };
}
