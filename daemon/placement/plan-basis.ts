import type { ObservedNode } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";

/** What a plan was made from, as far as it does not go by the calendar. */
export interface PlanBasis { parts: readonly unknown[]; text: string }

/** Parts of the picture that each sign of life replaces: they count by what they say. */
const spoken: ReadonlySet<keyof ClusterState> = new Set(["revision", "sessions", "observedNodes"]);

/** Of what a node tells of itself the ages and measured values are left out from which nothing is placed. */
function lasting(node: ObservedNode): object {
  const { atMs: _told, unitsAtMs: _looked, load: _load, memory: _memory, etcd, links, ...rest } = node;
  return [rest, etcd.role, etcd.healthy, Object.keys(links).sort()];
}

/** Pure. `standing`: who leads, lives, is gone, cannot be reached, … */
export function basisOf(state: ClusterState, standing: readonly (string | ReadonlySet<string>)[]): PlanBasis {
  // maps and records are replaced when they change (state/apply.ts)
  const parts = (Object.keys(state) as (keyof ClusterState)[]).sort().filter((part) => !spoken.has(part)).map((part) => state[part]);
  const sessions = [...state.sessions].map(([node, { value }]) => [node, value.generation, value.dead]);
  return { parts, text: JSON.stringify([standing.map((one) => (typeof one === "string" ? one : [...one].sort())), sessions, [...state.observedNodes.values()].map(lasting)]) };
}

/** Pure: would both give the same plan, but for what expires meanwhile? */
export const sameBasis = (a: PlanBasis | undefined, b: PlanBasis): boolean => a !== undefined && a.text === b.text && a.parts.length === b.parts.length && a.parts.every((part, at) => part === b.parts[at]);
