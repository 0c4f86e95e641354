import type { ClusterState } from "./cluster-state.js";

/** So far a node's clock may be ahead of the others' and still be followed, ms; what nodes publish of themselves is some minutes old at most. */
const toleranceMs = 3_600_000;

/**
 * Pure: the time by which something that cannot be made again is given up (trash, group snapshots), UTC ms: this node's clock, but not later than an hour past the middle one of what the living nodes say (of an even
 * number the earlier of both). One clock that jumps ahead (a wrong RTC before its NTP, a typed date) destroys nothing then, nor does one that stands still stop it for ever. A node alone has nobody to ask.
 */
export function agreedMs(state: Pick<ClusterState, "observedNodes" | "sessions">, wallMs: number): number {
  const told = [...state.observedNodes].filter(([node]) => state.sessions.get(node)?.value.dead !== true).map(([, { atMs }]) => atMs).sort((a, b) => a - b);
  const middle = told[(told.length - 1) >> 1];
  return middle === undefined ? wallMs : Math.min(wallMs, middle + toleranceMs);
}
