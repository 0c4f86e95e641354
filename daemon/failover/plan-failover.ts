import { siteDefaults } from "../lib/documents.js";
import type { UnitRecord } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";
import type { Choice } from "./choose.js";

/** A unit whose home was declared dead. */
export interface Victim { unit: string; record: UnitRecord; revision: string; /** The dead session: its generation is what copies are sealed after. */ session: { generation: number; revision: string }; /** Nodes that may hold a copy and live. */ copies: string[] }

/** Pure: units that need another home, those with the fewest copies first. One that was never live is placed anew by the planner. */
export function victims(state: ClusterState, isAlive: (node: string) => boolean): Victim[] {
  const found: Victim[] = [];
  for (const [unit, { value: record, revision }] of state.units) {
    const session = state.sessions.get(record.home);
    if (record.state !== "live" || session?.value.dead !== true) continue;
    const holders = new Set([...record.replicas, ...(record.move === undefined ? [] : [record.move.target])]);
    found.push({ unit, record, revision, session: { generation: session.value.generation, revision: session.revision }, copies: [...holders].filter((node) => node !== record.home && isAlive(node)) });
  }
  return found.sort((a, b) => a.copies.length - b.copies.length || (a.unit < b.unit ? -1 : 1));
}

const hourMs = 3_600_000;
/** Without another word in the program (`settings.failoversPerHour`): so many in an hour are bad luck; before the next one the unit waits. */
export const defaultFailoversPerHour = 5;
const firstRestMs = 60_000;
const longestRestMs = 600_000;
const keptFailovers = 32;

/** Pure: a unit that failed over again and again waits, so that its home may come back and keep it: 1 min after the last failover when `most` were in the last hour, twice as long each further time, at most 10 min. `most` 0: never. `leftMs` 0: now. */
export function failoverRest({ failovers = [] }: Pick<UnitRecord, "failovers">, atMs: number, most: number): { count: number; restMs: number; leftMs: number } {
  // one of the future was written by a clock that was ahead, or this one is behind: it tells nothing of the last hour
  const recent = failovers.filter((at) => at <= atMs && atMs - at < hourMs);
  const restMs = most === 0 || recent.length < most ? 0 : Math.min(longestRestMs, firstRestMs * 2 ** (recent.length - most));
  const since = atMs - (recent.at(-1) ?? 0);
  return { count: recent.length, restMs, leftMs: restMs === 0 ? 0 : Math.max(0, restMs - since) };
}

/** Pure: the record after a failover. The dead home stays a replica: when it comes back, its copy is made one again. `told`: what people are told of it. */
export function promoted(record: UnitRecord, choice: Extract<Choice, { kind: "chosen" }>, told: { generation: number; atMs: number; lossS: number; fenced?: boolean }): UnitRecord {
  const { move, ...rest } = record;
  const holders = new Set([...record.replicas, ...(move === undefined ? [] : [move.target]), record.home]);
  holders.delete(choice.node);
  // a move's target was a copy only for the move
  if (move !== undefined && !record.replicas.includes(move.target)) holders.delete(move.target);
  return { ...rest, home: choice.node, homeGeneration: 0, epoch: record.epoch + 1, epochStartGuid: choice.last.guid, replicas: [...holders], failovers: [...(record.failovers ?? []), told.atMs].slice(-keptFailovers), failover: { from: record.home, epoch: record.epoch + 1, ...told } };
}

export interface FailoverPolicy { policy: "safe" | "manual" | "force"; maxLossS: number }
/** Of documents that say nothing. */
export const defaultPolicy: FailoverPolicy = siteDefaults.failover;

/** Pure: "" when a failover with this possible loss may happen by itself, else why it waits for a person. */
export function refusal({ policy, maxLossS }: FailoverPolicy, lossS: number, name: string): string {
  if (policy === "force") return "";
  const how = `\`hc promote ${name}\``;
  if (policy === "manual") return `its policy is manual: ${how} brings it back, with at most ${lossS} s of writes missing`;
  return lossS <= maxLossS ? "" : `up to ${lossS} s of writes may be missing on the best copy, more than maxLoss (${maxLossS} s): bring its home back, or accept it by ${how}`;
}
