import { isAwaited, keys } from "../lib/records.js";
import { agreedMs } from "../state/agreed-time.js";
import type { PlanInput, PlannedWrite } from "./plan-cluster.js";

/** Copies in the trash whose time is over, and that no unit gets back, are marked; the agents of their nodes destroy them. Where the unit's own copy lies already, the one in the trash is not awaited any more. */
export function planTrash({ state, atMs }: PlanInput): PlannedWrite[] {
  const nowMs = agreedMs(state, atMs);
  return [...state.trash]
    .filter(([, { value }]) => value.purge !== true && value.expiresAtMs <= nowMs && !isAwaited(value, state.units.get(value.unit)?.value, state.observedUnits))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, { value, revision }]) => ({
      key: keys.trash(id),
      // the unit's record too: a restore writes that one, and changes nothing of the trash
      compare: [{ key: keys.trash(id), modRevision: revision }, { key: keys.unit(value.unit), modRevision: state.units.get(value.unit)?.revision ?? "0" }],
      ops: [{ put: keys.trash(id), value: JSON.stringify({ ...value, purge: true }) }], why: `trash ${id} has expired`, event: { unit: value.unit, event: "trash-expired", detail: id },
    }));
}
