import type { Clock } from "../lib/clock.js";
import type { SessionRecord } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";

/** A node counts as away for planning and display after this silence. It is not a verdict of death: that is a write, 8 s after the last commit seen (OWNERSHIP 3, 9). */
export const awayMs = 4000;

/** A stretch of uninterrupted life of the own session, monotonic ms; `untilMs` is ahead while it lasts. */
export interface LiveSpan { sinceMs: number; untilMs: number }

/** Pure: ms of the own live time since a session was last seen to change; Infinity when it never was. */
export function silentFor(seenMs: number | undefined, { sinceMs, untilMs }: LiveSpan, nowMs: number): number {
  return seenMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, Math.min(nowMs, untilMs) - Math.max(seenMs, sinceMs));
}
/** Pure: for placement, election and display. */
export const countsAsAlive = (session: SessionRecord | undefined, silentMs: number): boolean => session !== undefined && session.dead !== true && silentMs < awayMs;

/**
 * Everybody times everybody (OWNERSHIP 2): own monotonic clock, from the moment the last change was seen. Silence counts only
 * while one's own heartbeats commit: from the beginning of the own live time at the earliest, and to its end. So a cut-off node
 * does not take all others for dead, and after a loss of quorum everybody is given the whole time again.
 */
export class Liveness {
  private readonly seenMs = new Map<string, number>();

  /** `ownLive`: the own session's last time of uninterrupted life, monotonic ms. */
  public constructor(private readonly clock: Clock, private readonly ownLive: () => LiveSpan) {}

  /** The sessions of these nodes changed just now. */
  public seen(nodes: readonly string[]): void {
    const now = this.clock.monotonicMs();
    for (const node of nodes) this.seenMs.set(node, now);
  }

  /** ms of the own live time since the node's session was last seen to change; Infinity when never. */
  public silentMs(node: string): number {
    return silentFor(this.seenMs.get(node), this.ownLive(), this.clock.monotonicMs());
  }

  public isAlive(state: ClusterState, node: string): boolean {
    return countsAsAlive(state.sessions.get(node)?.value, this.silentMs(node));
  }

  public alive(state: ClusterState): Set<string> {
    return new Set([...state.sessions.keys()].filter((node) => this.isAlive(state, node)));
  }
}
