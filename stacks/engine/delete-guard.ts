import { HcError } from "../../daemon/lib/errors.js";
import type { PlannedStep } from "./types.js";

/** Types whose deletion takes data with it. */
export const dataTypes: readonly string[] = ["pulumi-nodejs:dynamic/hybridcluster:Site", "pulumi-nodejs:dynamic/hybridcluster:ZfsPool"];
const namesShown = 10;

/** Pure. Throws DELETE_GUARD when the plan would delete or replace more data-holding resources than `allowed`. */
export function checkDeletes(plan: readonly PlannedStep[], allowed: number): void {
  const going = plan.filter((step) => (step.op === "delete" || step.op === "replace") && dataTypes.includes(step.type));
  if (going.length <= allowed) return;
  const names = going.map((step) => `${step.type.split(":").at(-1)} ${step.name}`);
  const shown = names.length > namesShown ? `${names.slice(0, namesShown).join(", ")} and ${names.length - namesShown} more` : names.join(", ");
  throw new HcError("DELETE_GUARD", `${going.length} resources that hold data would be removed (${shown}); ${allowed} may be. Nothing was changed. If this is meant, say --allow-delete=${going.length}.`, { context: { names } });
}
