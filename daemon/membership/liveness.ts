import type { Clock } from "../lib/clock.js";
import type { ClusterState } from "../state/cluster-state.js";

/** A node counts as away for planning and display after this silence. It is not a verdict of death: that is a write, 8 s after the last commit seen (OWNERSHIP 3, 9). */
export const awayMs = 4000;

/**
 * Everybody times everybody (OWNERSHIP 2): own monotonic clock, from the moment the last change was seen. Silence counts only
 * while one's own heartbeats commit, so a cut-off node does not take all others for dead.
 */
export class Liveness {
  private readonly seenMs = new Map<string, number>();
  /** Time for which the own session was not live, per node since it was last seen, is taken out by moving `seenMs` forward. */
  private lastTickMs: number;

  public constructor(private readonly clock: Clock, private readonly ownLive: () => boolean) {
    this.lastTickMs = clock.monotonicMs();
  }

  /** The sessions of these nodes changed just now. */
  public seen(nodes: readonly string[]): void {
    this.tick();
    const now = this.clock.monotonicMs();
    for (const node of nodes) this.seenMs.set(node, now);
  }

  /** Call about once a second: keeps time only while the own session is live. */
  public tick(): void {
    const now = this.clock.monotonicMs();
    if (!this.ownLive()) for (const [node, at] of this.seenMs) this.seenMs.set(node, at + (now - this.lastTickMs));
    this.lastTickMs = now;
  }

  /** ms since the node's session was last seen to change; Infinity when never. */
  public silentMs(node: string): number {
    this.tick();
    const at = this.seenMs.get(node);
    return at === undefined ? Number.POSITIVE_INFINITY : this.clock.monotonicMs() - at;
  }

  public isAlive(state: ClusterState, node: string): boolean {
    const session = state.sessions.get(node)?.value;
    return session !== undefined && session.dead !== true && this.silentMs(node) < awayMs;
  }

  public alive(state: ClusterState): Set<string> {
    return new Set([...state.sessions.keys()].filter((node) => this.isAlive(state, node)));
  }
}
