const minute = 60_000;
/** So far a clock may be ahead of what was believed before: it is set by the second or minute now and then. */
export const toleranceMs = 10 * minute;
/** A clock that has been ahead for so long was set right, and wrong before. */
export const believedAfterMs = 48 * 60 * minute;

/** What this process takes for the time: the wall clock of its start, and what passed since. `aheadSinceMs`: when the wall clock was first seen ahead of it, by the monotonic clock. */
export interface Believed { atMs: number; monotonicMs: number; aheadSinceMs?: number }

/**
 * Pure: believed now. A wall clock that jumps ahead is not followed before it has stayed there for two days; one that jumps back is not followed at all, because this is only what no age may go beyond (`pruneNow`), and a
 * node whose clock is behind must go on thinning out. `before`: undefined at the start.
 */
export function believe(before: Believed | undefined, wallMs: number, monotonicMs: number): Believed {
  if (before === undefined) return { atMs: wallMs, monotonicMs };
  const atMs = before.atMs + monotonicMs - before.monotonicMs;
  if (wallMs - atMs <= toleranceMs) return { atMs, monotonicMs };
  const aheadSinceMs = before.aheadSinceMs ?? monotonicMs;
  return monotonicMs - aheadSinceMs >= believedAfterMs ? { atMs: wallMs, monotonicMs } : { atMs, monotonicMs, aheadSinceMs };
}

/**
 * Pure: the time from which the ages of a unit's snapshots count: the newest one's own (it was made by its home's clock) and what has passed since that was first seen here, as far as this node believes it. One snapshot
 * of a home whose clock had jumped ahead would else make all others old, on every node.
 */
export const pruneNow = (newestAtMs: number, seenForMs: number, believed: Believed): number => Math.min(newestAtMs + seenForMs, believed.atMs + toleranceMs);
