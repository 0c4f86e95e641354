import { isSurplus } from "../agent/names.js";
import { comesBack, keys } from "../lib/records.js";
import { clusterSpecOf } from "./candidates.js";
import type { PlanInput, PlannedWrite } from "./plan-cluster.js";

/**
 * Pure: what a node that is taken out leaves behind. Its surplus copies are destroyed at once, not after a day, when all copies that the record names are confirmed; and once it never comes back, or the
 * program names it no more and its identity is taken back, it stands in no trash record: else a purge would wait for it for ever.
 */
export function planRemoved({ state }: PlanInput): PlannedWrite[] {
  const writes: PlannedWrite[] = [];
  const named = clusterSpecOf(state)?.nodes;
  for (const [node, { value: removal, revision: removalRevision }] of state.removals ?? []) {
    const gone = removal.dead || (named !== undefined && !named.includes(node) && !state.sessions.has(node));
    if (gone && !removal.dead && ![...state.trash.values()].some(({ value }) => value.nodes.includes(node))) writes.push({ key: keys.removed(node), compare: [{ key: keys.removed(node), modRevision: removalRevision }], ops: [{ delete: keys.removed(node) }], why: `${node} has left` });
    for (const [id, { value, revision }] of [...state.trash].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (!value.nodes.includes(node)) continue;
      const key = keys.trash(id);
      const nodes = value.nodes.filter((one) => one !== node);
      const write = (ops: PlannedWrite["ops"], why: string, event: string): void => void writes.push({ key, compare: [{ key, modRevision: revision }], ops, why, event: { unit: value.unit, event, detail: `${id}: ${why}` } });
      if (gone) write(nodes.length === 0 ? [{ delete: key }] : [{ put: key, value: JSON.stringify({ ...value, nodes }) }], `${node} is no node any more`, "trash-left");
      else if (isSurplus(id) && value.purge !== true && nodes.length === 0 && !comesBack(state.units.get(value.unit)?.value, id, node) && complete(state, value.unit)) write([{ put: key, value: JSON.stringify({ ...value, purge: true }) }], `${node} is taken out, and all copies elsewhere are in step`, "trash-expired");
    }
  }
  return writes;
}

function complete(state: PlanInput["state"], unit: string): boolean {
  const record = state.units.get(unit)?.value;
  const home = record === undefined ? undefined : state.observedUnits.get(record.home)?.get(unit);
  return record?.state === "live" && home?.state === "serving" && record.replicas.every((node) => (home.replicas[node]?.guid ?? "") !== "" && home.replicas[node]?.error === "");
}
