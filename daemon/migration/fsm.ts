/**
 * A planned move as a table (DESIGN §8, OWNERSHIP 17–19), seen from the source. Pure.
 * Invariants: 1. before "handing-over" every way out is "undoing"; 2. after "handed" there is no way back; 3. out of "undoing" only a write of our own leads
 * ("undone"), or a look that finds that another's came first; 4. an answer that was lost, or a compare that failed (something else of the record may have changed), leads to a look, never to an assumption.
 */
export const moveStates = ["presync", "announcing", "quieting", "finalizing", "handing-over", "looking", "starting", "undoing", "done", "failed"] as const;
export type MoveStateName = (typeof moveStates)[number];

export const moveEvents = [
  /** The step of this state was done. */
  "ok",
  /** It failed, or was given up at its deadline, with no doubt about the record. */
  "error",
  /** A transaction's answer was lost: it may have been committed, or may still be. */
  "unsure",
  /** The record is not as this move left it: another write came first. */
  "lost",
  /** The record shows the target as home at our epoch + 1. */
  "handed",
] as const;
export type MoveEvent = (typeof moveEvents)[number];

const final = { ok: undefined, error: undefined, unsure: undefined, lost: undefined, handed: undefined };

/** "handed" is possible everywhere before: a promotion of the target by others looks the same, and means the same.
 * state → event → next state; undefined = cannot happen there, and is a defect. */
export const moveTable: Readonly<Record<MoveStateName, Readonly<Record<MoveEvent, MoveStateName | undefined>>>> = {
  // increments until the rest is small; the record says presync
  presync: { ok: "announcing", error: "undoing", unsure: undefined, lost: "failed", handed: "starting" },
  // record: presync → stopping
  announcing: { ok: "quieting", error: "undoing", unsure: "undoing", lost: "undoing", handed: "starting" },
  // the agent stops and unmounts
  quieting: { ok: "finalizing", error: "undoing", unsure: undefined, lost: "failed", handed: "starting" },
  // last snapshot, sent, confirmed by its guid
  finalizing: { ok: "handing-over", error: "undoing", unsure: undefined, lost: "failed", handed: "starting" },
  // record: home = target, epoch + 1, no move
  "handing-over": { ok: "starting", error: "undoing", unsure: "looking", lost: "looking", handed: "starting" },
  looking: { ok: "undoing", error: "looking", unsure: "looking", lost: "failed", handed: "starting" },
  // only watched: the target's agent does it; a dead target is an ordinary failover
  starting: { ok: "done", error: "failed", unsure: undefined, lost: "failed", handed: undefined },
  // record: move removed, home unchanged. Any doubt: try again, the compare makes it safe
  undoing: { ok: "failed", error: "undoing", unsure: "undoing", lost: "looking", handed: "starting" },
  done: final,
  failed: final,
};

export const isFinal = (state: MoveStateName): boolean => state === "done" || state === "failed";

export function nextState(state: MoveStateName, event: MoveEvent): MoveStateName {
  const next = moveTable[state][event];
  if (next === undefined) throw new Error(`a move in state ${state} cannot see the event ${event}`);
  return next;
}
