import { runtimeTag } from "../lib/documents.js";
import { HcError } from "../lib/errors.js";
import { maintenanceOf, restoreOf } from "../lib/records.js";
import { formatSize } from "../lib/sizes.js";
import { type ClusterState, desiredOf } from "../state/cluster-state.js";

/** Free space that is left on the target beyond the unit's own, bytes. */
const slackBytes = 64n * 1024n * 1024n;

/**
 * Pure: may this unit move there now? Returns false when it is there already. Throws NOT_FOUND, INVALID_INPUT, IMPOSSIBLE_CHANGE, CONFLICT, NOT_READY, LIMIT_EXCEEDED,
 * each with the reason and what to do.
 */
export function checkMove(state: ClusterState, unit: string, target: string, alive: (node: string) => boolean, nowMs = Date.now()): boolean {
  const record = state.units.get(unit)?.value;
  if (record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
  const node = state.nodes.get(target)?.value;
  if (node === undefined) throw new HcError("INVALID_INPUT", `to: there is no node ${JSON.stringify(target)}; nodes are ${[...state.nodes.keys()].sort().join(", ")}.`);
  const document = desiredOf(state, "site", record.name)?.value;
  if (document === undefined || record.state === "deleting") throw new HcError("CONFLICT", `${unit} is being deleted.`, { retry: "never" });
  if (record.home === target && record.move === undefined) return false;
  if (record.state !== "live") throw new HcError("NOT_READY", `${unit} is still being made; move it when it serves.`);
  if (record.move !== undefined) throw new HcError("CONFLICT", `${unit} is moving to ${record.move.target} already (${record.move.phase}).`);
  if (maintenanceOf(record, nowMs) !== undefined) throw new HcError("CONFLICT", `${unit} is held for maintenance (\`hc release ${record.name}\`); move it afterwards.`, { retry: "never" });
  if (restoreOf(record) !== undefined) throw new HcError("CONFLICT", `${unit} is being restored to ${record.restore?.snapshot}; move it afterwards.`, { retry: "never" });
  if (node.role === "witness") throw new HcError("IMPOSSIBLE_CHANGE", `to: ${target} is a witness and holds no units.`);
  if (!alive(target)) throw new HcError("NOT_READY", `to: ${target} is not alive.`);
  const { pin, require } = document.spec.placement;
  if (pin !== "" && pin !== target) throw new HcError("IMPOSSIBLE_CHANGE", `${unit} is pinned to ${pin} by placement.pin of its program: change it there, then run \`hc up\`.`);
  if (require.length > 0 && !require.includes(target) && !require.includes(node.zone)) throw new HcError("IMPOSSIBLE_CHANGE", `placement.require of ${unit} allows ${require.join(", ")} only; ${target} (zone ${node.zone}) is none of them.`);
  if (runtimeTag(node.runtime) !== runtimeTag(record.runtime)) throw new HcError("IMPOSSIBLE_CHANGE", `${unit} runs on ${runtimeTag(record.runtime)}, ${target} has ${runtimeTag(node.runtime)}.`);
  const pool = state.observedNodes.get(target)?.pool;
  if (pool === undefined || pool === null) throw new HcError("NOT_READY", `to: ${target} reports no pool.`);
  const holds = state.observedUnits.get(target)?.has(unit) === true;
  const used = BigInt(state.observedUnits.get(record.home)?.get(unit)?.usedBytes ?? "0");
  if (BigInt(pool.freeBytes) < slackBytes + (holds ? 0n : used)) throw new HcError("LIMIT_EXCEEDED", `to: ${target} has ${formatSize(pool.freeBytes)} free, ${unit} needs ${formatSize(used)} and some slack.`, { retry: "never" });
  return true;
}
