import type { SiteSpec } from "../lib/documents.js";

/** A node as placement sees it. */
export interface Candidate {
  node: string;
  zone: string;
  /** runtimeTag of the node. */
  runtime: string;
  alive: boolean;
  /** Is being emptied: takes nothing new. */
  drained?: boolean;
  freeBytes: bigint;
  sizeBytes: bigint;
  /** Units at home here. */
  homes: number;
  /** Copies of units here, homes included. */
  copies: number;
}
export interface PlacementWish { placement: SiteSpec["placement"]; copies: number; runtime: string }
export interface Placed { home: string; replicas: string[] }

/** Below this share of free space a node takes new copies only when all others are as full. */
const fullBelow = 0.1;

/** A wish names a node or a zone. */
const matches = (wish: string, candidate: Candidate): boolean => wish === candidate.node || wish === candidate.zone;
const isFull = (candidate: Candidate): number => (candidate.sizeBytes > 0n && Number(candidate.freeBytes) / Number(candidate.sizeBytes) < fullBelow ? 1 : 0);

/** Hard rules: the same runtime (never mixed), `require`, alive, not being emptied. */
export function mayHold(wish: PlacementWish, candidate: Candidate): boolean {
  const { require } = wish.placement;
  return candidate.alive && candidate.drained !== true && candidate.runtime === wish.runtime && (require.length === 0 || require.some((one) => matches(one, candidate)));
}

/** Lower is better; compared from left to right. The name is last, so the order is total and the same on every node. */
type Rank = readonly (number | bigint | string)[];
function compareRanks(a: Rank, b: Rank): number {
  for (let at = 0; at < a.length; at += 1) {
    const x = a[at] as number | bigint | string;
    const y = b[at] as number | bigint | string;
    if (x < y) return -1;
    if (x > y) return 1;
  }
  return 0;
}
const preference = (wish: PlacementWish, candidate: Candidate): number => {
  const at = wish.placement.prefer.findIndex((one) => matches(one, candidate));
  return at === -1 ? wish.placement.prefer.length : at;
};
const avoided = (wish: PlacementWish, candidate: Candidate): number => (wish.placement.avoid.some((one) => matches(one, candidate)) ? 1 : 0);

const homeRank = (wish: PlacementWish, candidate: Candidate): Rank => [avoided(wish, candidate), isFull(candidate), preference(wish, candidate), candidate.homes, candidate.copies, -candidate.freeBytes, candidate.node];
const replicaRank = (wish: PlacementWish, candidate: Candidate, zones: ReadonlySet<string>): Rank => [
  wish.placement.acrossZones && zones.has(candidate.zone) ? 1 : 0,
  avoided(wish, candidate),
  isFull(candidate),
  wish.placement.acrossZones ? 0 : preference(wish, candidate),
  candidate.copies,
  -candidate.freeBytes,
  candidate.node,
];
const best = (candidates: readonly Candidate[], rank: (candidate: Candidate) => Rank): Candidate | undefined => [...candidates].sort((a, b) => compareRanks(rank(a), rank(b)))[0];

/** Nodes for more copies, best first, up to `count`; spread over zones that hold none yet when `acrossZones` is wished (as far as there are zones). */
export function chooseReplicas(wish: PlacementWish, candidates: readonly Candidate[], taken: readonly string[], count: number): string[] {
  const zones = new Set(candidates.filter((candidate) => taken.includes(candidate.node)).map((candidate) => candidate.zone));
  const chosen: string[] = [];
  while (chosen.length < count) {
    const next = best(candidates.filter((candidate) => mayHold(wish, candidate) && !taken.includes(candidate.node) && !chosen.includes(candidate.node)), (candidate) => replicaRank(wish, candidate, zones));
    if (next === undefined) break;
    chosen.push(next.node);
    zones.add(next.zone);
  }
  return chosen;
}

/**
 * Pure and deterministic: home and replicas of a new unit, or why there is none. `pin` names the home; `require` bounds all copies; `prefer`
 * draws the home (and, unless spread over zones, the copies); `avoid` is used only when nothing else is left. Fewer copies than wished are
 * placed when there are fewer nodes; the planner adds the rest when nodes come.
 */
export function place(wish: PlacementWish, candidates: readonly Candidate[]): Placed | { problem: string } {
  const able = candidates.filter((candidate) => mayHold(wish, candidate));
  const { pin } = wish.placement;
  const home = best(pin === "" ? able : able.filter((candidate) => candidate.node === pin), (candidate) => homeRank(wish, candidate));
  if (home === undefined) return { problem: pin === "" ? `no living node with the runtime ${wish.runtime}${wish.placement.require.length > 0 ? ` in ${wish.placement.require.join(", ")}` : ""}` : `the pinned node ${pin} is not alive, has another runtime than ${wish.runtime}, or is not among the required ones` };
  return { home: home.node, replicas: chooseReplicas(wish, candidates, [home.node], Math.max(0, wish.copies - 1)) };
}

/**
 * Which of the present replicas go when there are too many: those on nodes that may not hold one, then those that the wish likes least. Where the wish does not
 * care, the newest stay (last in `replicas`): a move puts the old home there, which knows the unit's files best and is reached by an increment.
 */
export function surplusReplicas(wish: PlacementWish, candidates: readonly Candidate[], home: string, replicas: readonly string[], count: number): string[] {
  const holding = candidates.filter((candidate) => candidate.node === home || replicas.includes(candidate.node));
  const keep = chooseReplicas(wish, holding.map((candidate) => ({ ...candidate, copies: -replicas.indexOf(candidate.node) })), [home], count);
  const rest = replicas.filter((node) => !keep.includes(node));
  return rest.slice(0, Math.max(0, replicas.length - count));
}
