import type { Member } from "../lib/node-config.js";
import { peerUrl, type RawMember } from "./etcd-commands.js";

/** Without another word in the program (`settings.etcd.replaceAfterS`): a voter that is away this long gives its vote to another node, ms. */
export const defaultReplaceAfterMs = 600_000;

/** Who votes by the program (`configured`, a seat each), and who sits there instead (`/hc/voters`); "" = nobody: its node was taken out, and there was no other. */
export interface VoterWish { configured: readonly string[]; members: readonly Pick<Member, "node">[]; seats: Readonly<Record<string, string>> }

const holderOf = ({ configured, seats, members }: VoterWish, seat: string): string => {
  const by = seats[seat];
  // a node that the program itself made a voter meanwhile holds its own seat
  if (by === undefined || configured.includes(by)) return seat;
  return by === "" || members.some(({ node }) => node === by) ? by : seat;
};

/** Pure: the nodes that shall vote now. Where a seat is empty their number is made odd again: an even one stands no more losses and needs one node more. */
export function effectiveVoters(wish: VoterWish): string[] {
  const holders = [...new Set(wish.configured.map((seat) => holderOf(wish, seat)))];
  const left = holders.filter((node) => node !== "");
  return left.length < holders.length && left.length % 2 === 0 ? left.slice(0, -1) : left;
}

export interface SeatFacts extends VoterWish {
  members: readonly Pick<Member, "node" | "zone" | "role">[];
  /** Nodes that were taken out of the cluster (`hc node remove`): they lose their seat at once. */
  removed: ReadonlySet<string>;
  /** Nodes that take no new work (`hc node drain`). */
  drained: ReadonlySet<string>;
  alive: ReadonlySet<string>;
  /** Living nodes whose etcd votes and is healthy. */
  voting: ReadonlySet<string>;
  /** ms for which this node has been no voting one, as the leader saw it. */
  downMs(node: string): number;
  /** 0: never. */
  replaceAfterMs: number;
}
export interface SeatChange { seats: Record<string, string>; seat: string; from: string; to: string }

/** Pure: the node that takes a vote over: alive, not being emptied, not voting; the seat's own node first, then one in a zone without a voter, then one with a pool, then by name. */
export function spareFor(facts: Omit<SeatFacts, "downMs" | "replaceAfterMs" | "voting">, seat: string): string | undefined {
  const holders = facts.configured.map((one) => holderOf(facts, one)).filter((node) => node !== holderOf(facts, seat));
  const zones = new Set(facts.members.filter(({ node }) => holders.includes(node)).map(({ zone }) => zone));
  const rank = (member: SeatFacts["members"][number]): string => `${member.node === seat ? 0 : 1}${zones.has(member.zone) ? 1 : 0}${member.role === "node" ? 0 : 1}${member.node}`;
  const able = facts.members.filter(({ node }) => node !== holderOf(facts, seat) && !holders.includes(node) && facts.alive.has(node) && !facts.drained.has(node) && !facts.removed.has(node));
  return able.sort((a, b) => (rank(a) < rank(b) ? -1 : 1))[0]?.node;
}

/**
 * Pure: the next seat that is given to another node, or undefined. One at a time, and only while the other seats' holders alone are a majority of all seats: a vote is
 * never moved on the word of a minority, and the members that join and leave are never two (OWNERSHIP 16).
 */
export function planSeat(facts: SeatFacts): SeatChange | undefined {
  const need = Math.floor(effectiveVoters(facts).length / 2) + 1;
  for (const seat of facts.configured) {
    const from = holderOf(facts, seat);
    const left = from === "" || facts.removed.has(from);
    const dead = !left && facts.replaceAfterMs > 0 && !facts.voting.has(from) && facts.downMs(from) >= facts.replaceAfterMs;
    if (!left && !dead) continue;
    const others = facts.configured.filter((one) => one !== seat).map((one) => holderOf(facts, one));
    const steady = others.filter((node) => facts.voting.has(node)).length;
    // the leaving node itself votes until the new one does
    if (steady + (left && facts.voting.has(from) ? 1 : 0) < need) return undefined;
    const to = spareFor(facts, seat) ?? (left && from !== "" ? "" : undefined);
    if (to === undefined) continue;
    const seats = Object.fromEntries(Object.entries(facts.seats).filter(([one, by]) => one !== seat && facts.configured.includes(one) && !facts.configured.includes(by)));
    // a voter of the program that was replaced, and is back, sits in its own seat again; who sat there takes this one
    const guest = to === seat ? undefined : seats[to];
    if (guest !== undefined) delete seats[to];
    if (to !== seat) seats[seat] = guest ?? to;
    // an empty seat makes the voters fewer: those that are left have to vote already
    const after = effectiveVoters({ ...facts, seats });
    if (to === "" && after.filter((node) => facts.voting.has(node)).length < Math.floor(after.length / 2) + 1) return undefined;
    return { seats, seat, from, to };
  }
  return undefined;
}

/** Pure: why this member must not be taken out of etcd now, "" when it may: those that stay and vote are a majority of those that stay. A learner has no vote. */
export function removalProblem(etcd: readonly RawMember[], id: string, nodeOf: (member: RawMember) => string, voting: ReadonlySet<string>): string {
  if (etcd.find((member) => member.ID === id)?.isLearner === true) return "";
  const staying = etcd.filter((member) => member.ID !== id && member.isLearner !== true);
  const up = staying.filter((member) => voting.has(nodeOf(member))).length;
  const need = Math.floor(staying.length / 2) + 1;
  return up >= need ? "" : `without it ${up} of ${staying.length} voters would vote, and ${need} are needed`;
}

/** A member has no name until it has started: then its peer URL tells whose it is. */
export const memberNode = (members: readonly Member[]) => (raw: RawMember): string => ((raw.name ?? "") !== "" ? (raw.name as string) : (members.find((member) => raw.peerURLs?.includes(peerUrl(member)) === true)?.node ?? ""));

export interface MembershipFacts { etcd: readonly RawMember[]; nodeOf(member: RawMember): string; effective: readonly string[]; alive: ReadonlySet<string>; voting: ReadonlySet<string> }

/** Pure: the next member that has no seat any more and may go, dead ones first; only when all that shall vote do, but for one that only learns. */
export function memberToRemove({ etcd, nodeOf, effective, alive, voting }: MembershipFacts): { id: string; node: string } | { why: string } | undefined {
  const extra = etcd.filter((member) => !effective.includes(nodeOf(member))).sort((a, b) => Number(alive.has(nodeOf(a))) - Number(alive.has(nodeOf(b))) || ((a.ID ?? "") < (b.ID ?? "") ? -1 : 1));
  const [first] = extra;
  if (first?.ID === undefined) return undefined;
  // one that only learns has no vote that anybody could miss, and keeps all others from joining
  const learner = extra.find((member) => member.isLearner === true && member.ID !== undefined);
  if (learner !== undefined) return { id: learner.ID as string, node: nodeOf(learner) };
  const late = effective.find((node) => !voting.has(node) || !etcd.some((member) => nodeOf(member) === node && member.isLearner !== true));
  if (late !== undefined) return { why: `${late} does not vote yet` };
  const why = removalProblem(etcd, first.ID, nodeOf, voting);
  return why === "" ? { id: first.ID, node: nodeOf(first) } : { why };
}
