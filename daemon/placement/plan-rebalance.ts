import type { UnitRecord } from "../lib/records.js";
import { type Candidate, mayHold, type PlacementWish, surplusReplicas } from "./placement.js";

/** Units that have a copy more than wished while it is being made elsewhere: so many at once in the cluster. */
export const rebalanceAtOnce = 2;
/** Copies that the fullest node has more than the emptiest before anything is copied for it. One move makes a difference of two (home there, its old home a copy): that is no reason to copy a site. */
const worthIt = 3;

/**
 * Pure: the replicas of a unit with one more, on the node with the fewest copies, when that is worth it, or undefined. The one on the fullest node is put first, so that it is the one that goes when the new
 * one is confirmed (surplusReplicas) — and only if the unit's wish agrees, else it would come back. Only copies: a home is never moved for it. The difference shrinks by two each time, so it ends.
 */
export function rebalanced(record: UnitRecord, wish: PlacementWish, nodes: readonly Candidate[], holdsAny: (node: string) => boolean): { replicas: string[]; from: string; to: string } | undefined {
  const count = wish.copies - 1;
  if (record.replicas.length !== count || count < 1) return undefined;
  const byCopies = (a: Candidate, b: Candidate): number => a.copies - b.copies || (a.node < b.node ? -1 : 1);
  const from = nodes.filter(({ node }) => record.replicas.includes(node)).sort(byCopies).at(-1);
  const to = nodes.filter((one) => mayHold(wish, one) && one.node !== record.home && !record.replicas.includes(one.node) && !holdsAny(one.node)).sort(byCopies)[0];
  if (from === undefined || to === undefined || from.copies - to.copies < worthIt) return undefined;
  const replicas = [from.node, ...record.replicas.filter((node) => node !== from.node), to.node];
  const goes = surplusReplicas(wish, nodes, record.home, replicas, count);
  return goes.length === 1 && goes[0] === from.node ? { replicas, from: from.node, to: to.node } : undefined;
}
