import { comesBack } from "../lib/records.js";
import { localEpoch } from "./epochs.js";
import type { NodeInput } from "./model.js";
import { isSurplus, trashDataset } from "./names.js";
import type { KeyedSteps } from "./steps.js";

/**
 * Pure: purges that were ordered, and the taking off of this node's name where nothing
 * of that trash lies here any more. A copy with no trash record is kept: a person decides. One that comes back is kept whatever was ordered.
 */
export function planTrash(input: NodeInput): KeyedSteps[] {
  const held = new Map(input.units.map((unit) => [unit.id, unit]));
  const work: KeyedSteps[] = [];
  for (const [id, local] of input.trashed) {
    const record = input.trash.get(id)?.value;
    const unit = held.get(local.user["unit"] ?? "");
    if (unit?.local === undefined && comesBack(unit?.record?.value, id, input.node)) continue;
    if (local.user["trash"] === id && record?.purge === true && record.nodes.includes(input.node)) work.push({ key: `trash:${id}`, steps: [{ action: "purge", id, dataset: trashDataset(input.dataset, id) }] });
  }
  for (const [id, { value: record }] of input.trash) {
    if (!record.nodes.includes(input.node) || input.trashed.has(id)) continue;
    const unit = held.get(record.unit);
    const restored = unit?.record?.value.restoreFrom === id && (unit.local !== undefined || unit.record.value.state === "live");
    // what is still under its own name is renamed first (plan-unit), and only then may the name be taken off
    const pending = !isSurplus(id) && unit?.local !== undefined && localEpoch(unit.local) <= record.epoch;
    if (restored || (record.purge === true && !pending)) work.push({ key: `trash:${id}`, steps: [{ action: "leave-trash", id }] });
  }
  return work.sort((a, b) => (a.key < b.key ? -1 : 1));
}
