import type { NodeContext } from "../context.js";
import type { DesiredDocument } from "../lib/documents.js";
import { siteUnit } from "../lib/documents.js";
import { HcError } from "../lib/errors.js";
import { isAwaited, keys, recordVersion, type TrashRecord, type UnitRecord } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";

/**
 * Pure: the record with which a deleted unit comes back. Home is the node that was home (the first of `nodes`) when it lives, else another living holder;
 * the epoch is above all trash of the unit, so that copies of the old one can never be taken for the new. Throws CONFLICT, NOT_READY.
 */
export function restoredRecord(state: ClusterState, trash: TrashRecord, alive: (node: string) => boolean): UnitRecord {
  if (trash.purge === true) throw new HcError("CONFLICT", `${trash.id} is being purged.`, { retry: "never" });
  const name = trash.document.name;
  const unit = siteUnit(name);
  if (state.units.has(unit)) throw new HcError("ALREADY_EXISTS", `${unit} exists: delete or rename it first, then restore ${trash.id}.`);
  if (state.desired.has(`site/${name}`)) throw new HcError("ALREADY_EXISTS", `A site ${name} is declared: remove it first, then restore ${trash.id}.`);
  const taken = [...state.desired.values()].find(({ value }) => value.kind === "site" && (value as DesiredDocument<"site">).spec.hostnames.some((host) => trash.document.spec.hostnames.includes(host)));
  if (taken !== undefined) throw new HcError("ALREADY_EXISTS", `A hostname of ${name} is used by site ${taken.value.name} now: remove it there first.`);
  if (!state.desired.has(`customer/${trash.document.spec.customer}`)) throw new HcError("CONFLICT", `The customer ${trash.document.spec.customer} of ${name} is gone: declare it again first.`, { retry: "never" });
  const home = trash.nodes.find(alive);
  if (home === undefined) throw new HcError("NOT_READY", `No node that holds ${trash.id} is alive (${trash.nodes.join(", ")}).`);
  // who is away now brings its copy back later
  const replicas = trash.nodes.filter((node) => node !== home);
  const epoch = Math.max(...[...state.trash.values()].filter(({ value }) => value.unit === unit).map(({ value }) => value.epoch), trash.epoch) + 1;
  const runtime = state.nodes.get(home)?.value.runtime;
  if (runtime === undefined) throw new HcError("NOT_READY", `${home} has not told its runtime yet.`);
  // the template is not needed: the copies in the trash carry their own blocks
  return { version: recordVersion, unit, kind: "site", name, home, homeGeneration: 0, epoch, epochStartGuid: "", replicas, state: "creating", runtime, origin: { template: trash.document.spec.template, version: "", guid: "" }, restoreFrom: trash.id };
}

type Alive = (state: ClusterState, node: string) => boolean;

/** `GET /v1/trash`, restore and purge. They only write records; the agents of all holders do the rest, whenever they are there. */
export function registerTrashRoutes(context: Pick<NodeContext, "apiRoutes" | "store" | "view" | "event">, isAlive: Alive): void {
  const { apiRoutes, store, view } = context;
  const named = (id: string | undefined): TrashRecord => {
    const found = view.current().trash.get(id ?? "")?.value;
    if (found === undefined) throw new HcError("NOT_FOUND", `There is no ${JSON.stringify(id ?? "")} in the trash.`);
    return found;
  };
  apiRoutes.route("GET", "/v1/trash", async () => ({ trash: [...view.current().trash.values()].map(({ value }) => value).sort((a, b) => b.deletedAtMs - a.deletedAtMs) }));
  apiRoutes.route("POST", "/v1/trash/:id/restore", async ({ params }) => {
    const state = view.current();
    const trash = named(params["id"]);
    // asked a second time, e.g. after a lost answer: it is so already
    const present = state.units.get(trash.unit)?.value;
    if (present?.restoreFrom === trash.id) return { unit: present.unit, home: present.home, epoch: present.epoch };
    const record = restoredRecord(state, trash, (node) => isAlive(state, node));
    const document: DesiredDocument<"site"> = { ...trash.document, origin: "api" };
    const revision = state.trash.get(trash.id)?.revision ?? "0";
    const { succeeded } = await store.txn(
      [{ key: keys.trash(trash.id), modRevision: revision }, { key: keys.unit(record.unit), modRevision: "0" }, { key: keys.desired("site", record.name), modRevision: "0" }],
      [{ put: keys.unit(record.unit), value: JSON.stringify(record) }, { put: keys.desired("site", record.name), value: JSON.stringify(document) }],
    );
    if (!succeeded) throw new HcError("CONFLICT", `${trash.id}, or a site ${record.name}, changed meanwhile; try again.`);
    context.event(record.unit, "restored", `from ${trash.id}, home ${record.home}, epoch ${record.epoch}`);
    return { unit: record.unit, home: record.home, epoch: record.epoch };
  });
  /** False: its unit gets it back (and has no copy there yet; the agent looks at its disk once more). Both keys are compared: a restore writes the unit's record, and changes nothing of the trash. */
  const purge = async (id: string): Promise<boolean> => {
    const found = await store.get(keys.trash(id));
    if (found === undefined) return true;
    const trash = JSON.parse(found.value) as TrashRecord;
    const unit = await store.get(keys.unit(trash.unit));
    const record = unit === undefined ? undefined : (JSON.parse(unit.value) as UnitRecord);
    if (isAwaited(trash, record, view.current().observedUnits)) return false;
    if (trash.purge === true) return true;
    const { succeeded } = await store.txn([{ key: found.key, modRevision: found.modRevision }, { key: keys.unit(trash.unit), modRevision: unit?.modRevision ?? "0" }], [{ put: found.key, value: JSON.stringify({ ...trash, purge: true }) }]);
    if (!succeeded) throw new HcError("CONFLICT", `${id}, or ${trash.unit}, changed meanwhile; try again.`);
    return true;
  };
  apiRoutes.route("POST", "/v1/trash/:id/purge", async ({ params }) => {
    const trash = named(params["id"]);
    if (!(await purge(trash.id))) throw new HcError("CONFLICT", `${trash.unit} is being restored from ${trash.id}.`);
    context.event(trash.unit, "purging", trash.id);
    return { id: trash.id };
  });
  apiRoutes.route("POST", "/v1/trash/purge", async () => {
    const ids: string[] = [];
    for (const id of view.current().trash.keys()) if (await purge(id)) ids.push(id);
    return { ids };
  });
}
