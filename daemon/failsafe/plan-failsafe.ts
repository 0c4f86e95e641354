import type { UnitRecord } from "../lib/records.js";
import { keepsOut, type Seal } from "../replication/seal.js";
import { type ClusterState, isRecovering } from "../state/cluster-state.js";

/** A home asks for promises, and a copy gives them, when etcd has not committed the own sign of life for so long, ms. */
export const quietMs = 2_000;
/** A promise stands for so long after it was given, by its giver's clock, ms (OWNERSHIP "Numbers"). */
export const promiseMs = 8_000;
/** So long after its start a copy's hcd seals nothing: it does not know what the process before it has promised, ms. */
export const graceMs = 10_000;

/** A unit that may be held over the deadline, and who must promise. */
export interface Held { unit: string; epoch: number; holders: string[] }

/**
 * Pure: the units at home here that this session has taken, with every node that may hold a copy. One that leaves (the target may own it already) is not among them, and none of a session that was declared dead.
 */
export function heldUnits(state: ClusterState, node: string, generation: number): Held[] {
  const session = state.sessions.get(node)?.value;
  if (session?.dead === true && session.generation >= generation) return [];
  return [...state.units].flatMap(([unit, { value: record }]) => {
    if (record.home !== node || record.homeGeneration !== generation || record.state !== "live" || record.move?.phase === "stopping") return [];
    return [{ unit, epoch: record.epoch, holders: holders(record) }];
  });
}
function holders(record: UnitRecord): string[] {
  return [...new Set([...record.replicas, ...(record.move === undefined ? [] : [record.move.target])])].filter((node) => node !== record.home);
}

/** Pure: what each node is to be asked. */
export function asked(units: readonly Held[]): Map<string, { unit: string; epoch: number }[]> {
  const found = new Map<string, { unit: string; epoch: number }[]>();
  for (const { unit, epoch, holders: nodes } of units) for (const node of nodes) found.set(node, [...(found.get(node) ?? []), { unit, epoch }]);
  return found;
}

/** Pure: units that all their holders have promised (one without other copies needs nobody), and why each of the others is not held. */
export function promised(units: readonly Held[], answers: ReadonlyMap<string, { granted: ReadonlySet<string>; why: (unit: string) => string }>): { held: string[]; missing: Map<string, string> } {
  const held: string[] = [];
  const missing = new Map<string, string>();
  for (const { unit, holders: nodes } of units) {
    const lacking = nodes.find((node) => answers.get(node)?.granted.has(unit) !== true);
    if (lacking === undefined) held.push(unit);
    else missing.set(unit, `${lacking}: ${answers.get(lacking)?.why(unit) ?? "no answer"}`);
  }
  return { held, missing };
}

/** What a home asks for: its unit, as its record has it. */
export interface Asking { unit: string; epoch: number; from: string; generation: number }

/** Pure: why a copy does not promise; "" when it does. What it has sealed it has given away. */
export function refusal(state: ClusterState, me: string, asking: Asking, seal: Seal | undefined): string {
  const { unit, epoch, from, generation } = asking;
  if (isRecovering(state)) return `${me} recovers from a break in etcd's history: no record is trusted`;
  const record = state.units.get(unit)?.value;
  if (record === undefined) return `${me} knows no record of ${unit}`;
  if (record.home !== from || record.epoch !== epoch || record.homeGeneration !== generation) return `its record says ${record.home}, epoch ${record.epoch}, generation ${record.homeGeneration}`;
  const session = state.sessions.get(from)?.value;
  if (session?.dead === true && session.generation >= generation) return `${from} was declared dead (generation ${session.generation})`;
  if (keepsOut(seal, { epoch, generation })) return `${me} has sealed ${unit} after that owner`;
  return "";
}

/** Pure: may a home still count on this copy? "promised" until when, "started" when this process does not know what the one before it has promised, with the ms that are left. */
export function standingPromise(untilMs: number | undefined, startedMs: number, nowMs: number): { why: "promised" | "started"; leftMs: number } | undefined {
  if (untilMs !== undefined && untilMs > nowMs) return { why: "promised", leftMs: untilMs - nowMs };
  return startedMs + graceMs > nowMs ? { why: "started", leftMs: startedMs + graceMs - nowMs } : undefined;
}
/** Pure: does etcd commit here? Then its word counts and not a promise: a home that is cut off from it is replaced. */
export const seesQuorum = (silentMs: number): boolean => silentMs < quietMs;
