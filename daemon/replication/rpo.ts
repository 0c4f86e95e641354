import { defaultRpoS } from "../lib/documents.js";
import { clusterSpecOf } from "../placement/candidates.js";
import { type ClusterState, desiredOf } from "../state/cluster-state.js";

/** A wish that a look each second fulfils anyhow, seconds: nothing waits then, however a look falls. */
export const eachLookS = 10;

/** Pure: unit → its recovery point objective in seconds: the site's own, else the cluster's, else (no document says anything) the default. The cluster's document is looked for once, however many units are asked for. */
export function rpoOf(state: ClusterState): (unit: string) => number {
  const clusterS = clusterSpecOf(state)?.settings.rpoS ?? defaultRpoS;
  return (unit) => {
    const record = state.units.get(unit)?.value;
    return (record === undefined ? undefined : desiredOf(state, "site", record.name)?.value.spec.replication?.rpoS) ?? clusterS;
  };
}

/** Pure: how long what is written may wait for its snapshot, ms: a tenth of the wish, and nine tenths are left for the next look and for the sending; 0 = it never waits. */
export const waitMs = (rpoS: number): number => (rpoS > eachLookS ? rpoS * 100 : 0);

/** Pure: does what was written become a snapshot at this look? When the oldest write in it has waited for so long. `sinceMs`, `nowMs`: monotonic. */
export const isDue = (sinceMs: number, nowMs: number, rpoS: number): boolean => waitMs(rpoS) === 0 || nowMs - sinceMs >= waitMs(rpoS);
