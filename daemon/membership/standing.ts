import type { SessionRecord } from "../lib/records.js";

/** OWNERSHIP 5: a session is live so long after the *sending* of the last heartbeat that committed, ms. */
export const fenceMs = 5000;

/** Where a session stands, by the own monotonic clock. What may follow is decided here, without a clock and without etcd, so that test/model drives the very rules that session.ts goes by. */
export interface Standing {
  generation: number;
  deadlineMs: number;
  /** Final: this generation never renews. */
  lost: boolean;
  /** unit → until when all its copies have promised (daemon/failsafe). */
  promises: ReadonlyMap<string, number>;
}
export const noStanding: Standing = { generation: 0, deadlineMs: Number.NEGATIVE_INFINITY, lost: true, promises: new Map() };

export const isLive = ({ lost, deadlineMs }: Standing, nowMs: number): boolean => !lost && nowMs < deadlineMs;
export const ownsUnit = ({ lost, deadlineMs, promises }: Standing, unit: string, nowMs: number): boolean => !lost && nowMs < Math.max(deadlineMs, promises.get(unit) ?? 0);
/** Units whose promises reach beyond the deadline. */
export const heldBy = ({ lost, deadlineMs, promises }: Standing, nowMs: number): ReadonlyMap<string, number> => (lost ? new Map() : new Map([...promises].filter(([, untilMs]) => untilMs > deadlineMs && nowMs < untilMs)));
/** Live, or held by promises: this generation may still renew. */
export const isStanding = (standing: Standing, nowMs: number): boolean => !standing.lost && nowMs < lastDeadline(standing);

function lastDeadline({ deadlineMs, promises }: Standing): number {
  let last = deadlineMs;
  for (const untilMs of promises.values()) if (untilMs > last) last = untilMs;
  return last;
}

/** A heartbeat of `generation` has committed. `late`: seen too late to be of use, which is final. Else `standing` is what it leads to, once the fencer knows its deadline. */
export function afterCommit(before: Standing, generation: number, sentAtMs: number, nowMs: number): { late: boolean; standing: Standing } {
  const deadlineMs = sentAtMs + fenceMs;
  const fresh = generation !== before.generation;
  const late = nowMs >= (fresh ? deadlineMs : lastDeadline(before));
  const promises: Standing["promises"] = fresh ? new Map() : before.promises;
  return { late, standing: late ? { ...before, generation, lost: true, promises: new Map() } : { generation, deadlineMs, lost: false, promises } };
}

/** All copies of these units have promised; undefined: too late for this generation. What its copies did not promise in time stays lost until they promise anew, and that is a new start of the unit, not of the deadline. */
export function afterPromises(before: Standing, generation: number, units: ReadonlyMap<string, number>, nowMs: number): Standing | undefined {
  if (generation !== before.generation || !isStanding(before, nowMs) || units.size === 0) return undefined;
  const promises = new Map([...before.promises].filter(([, untilMs]) => nowMs < untilMs));
  for (const [unit, untilMs] of units) promises.set(unit, Math.max(untilMs, promises.get(unit) ?? 0));
  return { ...before, promises };
}

export const afterLoss = (before: Standing): Standing => ({ ...before, lost: true, promises: new Map() });

/** Above every generation that anybody knows of. */
export const nextGeneration = (...known: (number | undefined)[]): number => Math.max(...known.map((one) => one ?? 0)) + 1;

/** May a control process go on with the generation of the one before it? While that one's deadline is ahead, when etcd still has it and the fencer has not ended it. */
export const mayInherit = (before: { generation: number; deadlineMs: number }, session: Pick<SessionRecord, "generation" | "dead">, fenced: number, nowMs: number): boolean => session.generation === before.generation && session.dead !== true && before.generation > fenced && nowMs < before.deadlineMs;
