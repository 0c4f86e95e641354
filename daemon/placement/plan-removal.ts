import type { Member } from "../lib/node-config.js";
import { isSurplus } from "../agent/names.js";
import { effectiveVoters, planSeat, type SeatFacts } from "../membership/plan-voters.js";
import type { ClusterState } from "../state/cluster-state.js";
import { clusterSpecOf } from "./candidates.js";

export interface RemovalFacts {
  state: ClusterState;
  node: string;
  members: readonly Member[];
  configured: readonly string[];
  alive: ReadonlySet<string>;
  /** Living nodes whose etcd votes and is healthy. */
  voting: ReadonlySet<string>;
}
export interface Refusal { code: "NOT_FOUND" | "CONFLICT" | "NOT_READY"; why: string }

const some = (names: readonly string[]): string => `${names.slice(0, 5).join(", ")}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`;
const seatFacts = (facts: RemovalFacts): SeatFacts => {
  const { state, members, configured, alive, voting } = facts;
  return { configured, members, seats: state.voters?.value.seats ?? {}, alive, voting, drained: new Set(state.drains?.keys() ?? []), removed: new Set([...(state.removals?.keys() ?? []), facts.node]), downMs: () => 0, replaceAfterMs: 0 };
};

/** Pure: why this node is not taken out of the cluster now, undefined when it may be. Asked again while it is on its way, the answer does not change: what was begun goes on. */
export function removalRefusal(facts: RemovalFacts, dead: boolean): Refusal | undefined {
  const { state, node, members, alive } = facts;
  const member = members.find((one) => one.node === node);
  if (member === undefined && !state.nodes.has(node)) return { code: "NOT_FOUND", why: `There is no node ${JSON.stringify(node.slice(0, 60))}; nodes are ${members.map((one) => one.node).sort().join(", ")}.` };
  const lives = alive.has(node);
  const session = state.sessions.get(node)?.value;
  if (dead && (lives || (session !== undefined && session.dead !== true))) return { code: "CONFLICT", why: `${node} ${lives ? "lives" : "was not declared dead yet"}: \`hc node remove ${node}\` empties it first${lives ? "" : "; a node that is gone is declared dead after 8 s"}.` };
  if (!dead && !lives && state.removals?.get(node)?.value.dead !== true) return { code: "NOT_READY", why: `${node} gives no sign of life, so it cannot be emptied: bring it back, or, when it never comes back, \`hc node remove ${node} --dead\`.` };
  const left = members.filter((one) => one.role === "node" && one.node !== node && alive.has(one.node) && state.removals?.has(one.node) !== true && state.drains?.has(one.node) !== true);
  if (member?.role !== "witness") {
    if (left.length === 0) return { code: "CONFLICT", why: `${node} is the only living node that takes sites: they would have no place to be.` };
    const redundancy = clusterSpecOf(state)?.redundancy ?? 1;
    const others = members.filter((one) => one.role === "node" && one.node !== node && state.removals?.has(one.node) !== true);
    if (others.length < redundancy) return { code: "CONFLICT", why: `the Cluster wants ${redundancy} copies of each site (redundancy: ${redundancy}), and ${others.length} node${others.length === 1 ? "" : "s"} would be left: lower it in the program first.` };
  }
  const stranded = [...state.units.values()].map(({ value }) => value).filter(({ home }) => home === node);
  if (dead && stranded.length > 0) return { code: "CONFLICT", why: `${some(stranded.map(({ unit }) => unit).sort())} ${stranded.length === 1 ? "is" : "are"} still at home on ${node}: \`hc why ${stranded[0]?.name}\` says what the failover waits for; bring them back with \`hc promote\`, or take them out of the program.` };
  const seats = seatFacts(facts);
  if (!effectiveVoters(seats).includes(node) || planSeat(seats)?.from === node) return undefined;
  return { code: "CONFLICT", why: `${node} votes in etcd, and without it there would be no majority of voters that answer: ${[...facts.voting].sort().join(", ") || "none"} of ${effectiveVoters(seats).join(", ")} vote now. Bring the others back first.` };
}

/** `GET /v1/nodes/<node>/remove`. */
export interface RemovalState {
  node: string;
  /** Was the removal ordered? */
  ordered: boolean;
  dead: boolean;
  homes: string[];
  copies: string[];
  /** Deleted units of which this node holds a copy in its trash: they are told, and are no hindrance. */
  trash: string[];
  /** Shall it vote in etcd; is it a member still? */
  votes: boolean;
  member: boolean;
  /** It carries nothing and has no vote: the machine may be switched off, and the program changed. */
  done: boolean;
  waitsFor: string[];
}

/** Pure: how far a removal is. `etcdNodes`: nodes that are members of etcd by its own list. */
export function removalState(facts: RemovalFacts, etcdNodes: readonly string[], problems: Readonly<Record<string, string>>): RemovalState {
  const { state, node } = facts;
  const record = state.removals?.get(node)?.value;
  const units = [...state.units].sort(([a], [b]) => (a < b ? -1 : 1));
  const homes = units.filter(([, { value }]) => value.home === node).map(([unit]) => unit);
  const copies = units.filter(([, { value }]) => value.home !== node && (value.replicas.includes(node) || value.move?.target === node)).map(([unit]) => unit);
  const inTrash = [...state.trash.values()].map(({ value }) => value).filter(({ nodes }) => nodes.includes(node));
  const surplus = record?.dead === true ? [] : inTrash.filter(({ id }) => isSurplus(id)).map(({ id }) => id).sort();
  const votes = effectiveVoters(seatFacts({ ...facts, node: "" })).includes(node);
  const member = etcdNodes.includes(node);
  const waitsFor = [
    ...(homes.length > 0 ? [`${homes.length} site${homes.length === 1 ? "" : "s"} at home there (${some(homes)})`] : []),
    ...(copies.length > 0 ? [`${copies.length} cop${copies.length === 1 ? "y" : "ies"} (${some(copies)})`] : []),
    ...(surplus.length > 0 ? [`${surplus.length} old cop${surplus.length === 1 ? "y" : "ies"} to be destroyed`] : []),
    ...(votes ? ["its vote in etcd to go to another node"] : member ? ["its member of etcd to go"] : []),
    ...[...homes, ...copies].flatMap((unit) => (problems[unit] === undefined ? [] : [`${unit}: ${problems[unit]}`])).slice(0, 5),
  ];
  return { node, ordered: record !== undefined, dead: record?.dead === true, homes, copies, trash: inTrash.map(({ id }) => id).filter((id) => !isSurplus(id)).sort(), votes, member, done: record !== undefined && waitsFor.length === 0, waitsFor };
}
