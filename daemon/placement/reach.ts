import type { ClusterState } from "../state/cluster-state.js";

/** A link counts as gone 10 s after its last answer (membership/links.ts) and is published within 2 s; with this a node is relieved that most cannot reach for 15 s (OWNERSHIP 24). */
const unreachableMs = 4_000;
/** A node that has just come back to life has to be found again by the others first: they ask each 3 s, wait 2 s and tell it within 2 s. */
const foundAgainMs = 15_000;
/** A node that was fenced for it is let in again when most have reached it for so long. */
const steadyMs = 60_000;
/** A copy that gets nothing, although home and replica live, is made again elsewhere after this time. */
export const brokenMs = 300_000;

/** Pure: nodes that most of the other living nodes cannot reach, by what those publish. Two others have to say something: of two nodes nobody knows which is cut off. */
export function hardToReach(state: ClusterState, alive: ReadonlySet<string>): Set<string> {
  const found = new Set<string>();
  for (const [node, { value }] of state.nodes) {
    if (value.role !== "node") continue;
    const others = [...alive].filter((other) => other !== node && state.observedNodes.has(other));
    const without = others.filter((other) => state.observedNodes.get(other)?.links[node] === undefined).length;
    if (others.length >= 2 && without * 2 > others.length) found.add(node);
  }
  return found;
}

/** Pure: `unit/node` of copies that their home cannot bring up to date, although both nodes live. */
export function failingCopies(state: ClusterState, alive: ReadonlySet<string>): Set<string> {
  const found = new Set<string>();
  for (const [unit, { value: record }] of state.units) {
    if (record.state !== "live" || record.move !== undefined || !alive.has(record.home)) continue;
    const home = state.observedUnits.get(record.home)?.get(unit);
    for (const node of record.replicas) if (alive.has(node) && (home?.replicas[node]?.error ?? "") !== "") found.add(`${unit}/${node}`);
  }
  return found;
}

/** Which of these have been so for long enough. Of the leader; a new one counts anew. */
class Since {
  private readonly at = new Map<string, number>();
  public constructor(private readonly forMs: number) {}
  public look(now: ReadonlySet<string>, nowMs: number): Set<string> {
    for (const key of this.at.keys()) if (!now.has(key)) this.at.delete(key);
    for (const key of now) if (!this.at.has(key)) this.at.set(key, nowMs);
    return new Set([...this.at].filter(([, at]) => nowMs - at >= this.forMs).map(([key]) => key));
  }
  public clear(): void {
    this.at.clear();
  }
}

/** What the leader remembers between two plans: since when. */
export class Reach {
  private readonly away = new Since(unreachableMs);
  private readonly living = new Since(foundAgainMs);
  private readonly back = new Since(steadyMs);
  private readonly broken = new Since(brokenMs);

  public look(state: ClusterState, alive: ReadonlySet<string>, nowMs: number): { unreachable: Set<string>; steady: Set<string>; broken: Set<string> } {
    const hard = hardToReach(state, alive);
    const easy = new Set([...state.nodes.keys()].filter((node) => !hard.has(node)));
    const living = this.living.look(alive, nowMs);
    const unreachable = new Set([...this.away.look(hard, nowMs)].filter((node) => living.has(node)));
    return { unreachable, steady: this.back.look(easy, nowMs), broken: this.broken.look(failingCopies(state, alive), nowMs) };
  }
  public clear(): void {
    for (const part of [this.away, this.living, this.back, this.broken]) part.clear();
  }
}
