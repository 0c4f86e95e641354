import { type ClusterSpec, runtimeTag } from "../lib/documents.js";
import type { Candidate } from "./placement.js";
import type { PlanInput } from "./plan-cluster.js";

export const clusterSpecOf = (state: PlanInput["state"]): ClusterSpec | undefined => [...state.desired.values()].find(({ value }) => value.kind === "cluster")?.value.spec as ClusterSpec | undefined;

/** Nodes that belong to the cluster and carry data, by name; alive only with a pool that takes writes. */
export function candidates({ state, alive }: PlanInput): Candidate[] {
  const members = clusterSpecOf(state)?.nodes;
  const homes = new Map<string, number>();
  const copies = new Map<string, number>();
  const add = (counts: Map<string, number>, node: string): void => void counts.set(node, (counts.get(node) ?? 0) + 1);
  for (const { value } of state.units.values()) {
    add(homes, value.home);
    for (const node of [value.home, ...value.replicas]) add(copies, node);
  }
  const found: Candidate[] = [];
  for (const [node, { value }] of state.nodes) {
    // one that never comes back is no place for anything, and what it holds is no copy
    if (value.role !== "node" || (members !== undefined && !members.includes(node)) || state.removals?.get(node)?.value.dead === true) continue;
    const pool = state.observedNodes.get(node)?.pool ?? null;
    const usable = pool !== null && (pool.health === "ONLINE" || pool.health === "DEGRADED");
    found.push({
      node, zone: value.zone, runtime: runtimeTag(value.runtime), alive: alive.has(node) && usable, drained: state.drains?.has(node) === true || state.removals?.has(node) === true,
      freeBytes: BigInt(pool?.freeBytes ?? "0"), sizeBytes: BigInt(pool?.sizeBytes ?? "0"), homes: homes.get(node) ?? 0, copies: copies.get(node) ?? 0,
    });
  }
  return found.sort((a, b) => (a.node < b.node ? -1 : 1));
}
