/**
 * A control process that comes up again has no live session for a moment, and must not stop what its predecessor left serving: that one's
 * last sign of life is at most 5 s old when it is fenced by its workers, others promote 8 s after it (OWNERSHIP 5, 9).
 */
export const startGraceMs = 3_000;

/** Pure: does the agent know by now whether this node lives, so that it may act on it? `missed`: the predecessor's deadline has passed (daemon/fencer): nothing of it serves, and whatever still runs here may have another home. */
export const knowsStanding = ({ live, wasLive, sinceStartMs, missed }: { live: boolean; wasLive: boolean; sinceStartMs: number; missed: boolean }): boolean => live || wasLive || missed || sinceStartMs > startGraceMs;
