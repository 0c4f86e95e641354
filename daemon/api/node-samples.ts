import { livingCopies } from "../alerts/find-conditions.js";
import { stateOf } from "./status.js";
import type { ClusterState } from "../state/cluster-state.js";
import type { Sample } from "./metrics.js";

/** Pure: what the picture says of this node: its pool, who it sees, the units at home here. Nothing before the first picture. */
export function pictureSamples(node: string, state: ClusterState, alive: ReadonlySet<string>): Sample[] {
  const samples: Sample[] = [...state.nodes.keys()].map((name) => ({ name: "hc_node_up", labels: { node: name }, value: alive.has(name) ? 1 : 0 }));
  const pool = state.observedNodes.get(node)?.pool;
  if (pool != null) {
    samples.push({ name: "hc_pool_size_bytes", labels: { pool: pool.name }, value: Number(pool.sizeBytes) }, { name: "hc_pool_free_bytes", labels: { pool: pool.name }, value: Number(pool.freeBytes) });
    samples.push({ name: "hc_pool_online", labels: { pool: pool.name }, value: pool.health === "ONLINE" ? 1 : 0 });
  }
  const states = new Map<string, number>();
  for (const [unit, { value: record }] of state.units) {
    if (record.home !== node) continue;
    const home = state.observedUnits.get(node)?.get(unit);
    const seen = stateOf({ state, alive }, record, home);
    states.set(seen, (states.get(seen) ?? 0) + 1);
    samples.push({ name: "hc_unit_copies", labels: { unit }, value: livingCopies({ alive }, record, home).length });
  }
  for (const [seen, value] of states) samples.push({ name: "hc_units", labels: { state: seen }, value });
  return samples;
}
