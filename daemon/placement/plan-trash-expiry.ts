import { keys } from "../lib/records.js";
import type { PlanInput, PlannedWrite } from "./plan-cluster.js";

/** Copies in the trash whose time is over are marked; the agents of their nodes destroy them. */
export function planTrash({ state, atMs }: PlanInput): PlannedWrite[] {
  return [...state.trash]
    .filter(([, { value }]) => value.purge !== true && value.expiresAtMs <= atMs)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, { value, revision }]) => ({ key: keys.trash(id), compare: [{ key: keys.trash(id), modRevision: revision }], ops: [{ put: keys.trash(id), value: JSON.stringify({ ...value, purge: true }) }], why: `trash ${id} has expired`, event: { unit: value.unit, event: "trash-expired", detail: id } }));
}
