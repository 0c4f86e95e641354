import type { ReplicaReport } from "./replication.js";

/** Snapshots whose times are remembered; a replica that is further behind keeps the age it had. */
const maxHistory = 512;
const waitStepS = 10;

interface ReplicaLag {
  guid: string;
  snapshot: string;
  /** Wall time, for people. */
  confirmedAtMs: number;
  error: string;
  paused: boolean;
  /** Time of the oldest write in a snapshot that it lacks; undefined = it has them all. */
  missingSinceMs: number | undefined;
}
interface UnitLag {
  /** Since when this unit is looked after; the age of what a replica lacks that has never confirmed anything. */
  trackedSinceMs: number;
  /** No write since the newest snapshot is older; undefined = nothing written. */
  dirtySinceMs: number | undefined;
  /** Newest snapshots, oldest first, each with the time of the oldest write in it. */
  history: { name: string; sinceMs: number }[];
  replicas: Map<string, ReplicaLag>;
  /** Why no snapshot could be made of what was written; undefined = the last one could. */
  stalled?: { error: string; paused: boolean } | undefined;
}

/** Who has confirmed what, and how old the oldest write is that a replica lacks. Plain data; times are monotonic ms. */
export class LagBook {
  private readonly units = new Map<string, UnitLag>();
  /** When the last look began whose findings are all here: what it did not see was written since, or a little before (failover/possible-loss.ts). */
  private lookedMs: number | undefined;
  public constructor(private readonly nowMs: () => number) {}
  private unit(id: string): UnitLag {
    let unit = this.units.get(id);
    if (unit === undefined) {
      unit = { trackedSinceMs: this.nowMs(), dirtySinceMs: undefined, history: [], replicas: new Map() };
      this.units.set(id, unit);
    }
    return unit;
  }
  /** Keeps only these units, and of them only these replicas. */
  public retain(wanted: ReadonlyMap<string, readonly string[]>): void {
    for (const [id, unit] of this.units) {
      const nodes = wanted.get(id);
      if (nodes === undefined) this.units.delete(id);
      else for (const node of unit.replicas.keys()) if (!nodes.includes(node)) unit.replicas.delete(node);
    }
  }
  /** A look that began then has been taken down. */
  public looked(beganMs: number): void {
    this.lookedMs = beganMs;
  }
  /** Something was written since the newest snapshot: `ageMs` ago, or later; without it, since the look before: looks may be seconds apart, and take long on a busy machine. */
  public written(id: string, ageMs?: number): void {
    this.unit(id).dirtySinceMs ??= ageMs === undefined ? (this.lookedMs ?? this.nowMs()) : this.nowMs() - ageMs;
  }
  /** Since when something is written that no snapshot holds, monotonic ms; undefined = nothing that was seen. */
  public dirtySinceMs(id: string): number | undefined {
    return this.units.get(id)?.dirtySinceMs;
  }
  /** A snapshot was made; it holds every write seen before. */
  public snapshot(id: string, name: string): void {
    const unit = this.unit(id);
    const sinceMs = unit.dirtySinceMs ?? this.lookedMs ?? this.nowMs();
    unit.dirtySinceMs = undefined;
    unit.stalled = undefined;
    unit.history.push({ name, sinceMs });
    if (unit.history.length > maxHistory) unit.history.shift();
    // what the first look of a process finds written may be older than the failure of the first attempt to send
    for (const replica of unit.replicas.values()) replica.missingSinceMs = Math.min(replica.missingSinceMs ?? sinceMs, sinceMs);
  }
  /** `upTo`: names of the snapshots that the home has up to that one, which may be one that we did not make (a person's). */
  public confirmed(id: string, node: string, what: { guid: string; snapshot: string }, wallMs: number, upTo: readonly string[] = [what.snapshot]): void {
    const unit = this.unit(id);
    const there = new Set(upTo);
    // -1, none of ours: it was made before this process began, and everything we know of came later
    const at = unit.history.findLastIndex(({ name }) => there.has(name));
    // said again: what it lacks since was taken down as it came, and our own snapshots before it may have been pruned
    const known = unit.replicas.get(node);
    const missingSinceMs = known !== undefined && known.guid === what.guid ? known.missingSinceMs : unit.history[at + 1]?.sinceMs;
    unit.replicas.set(node, { guid: what.guid, snapshot: what.snapshot, confirmedAtMs: wallMs, error: "", paused: false, missingSinceMs });
  }
  /** No snapshot could be made. `paused`: there is no room; it goes on by itself. True when that is news. */
  public stalled(id: string, error: string, paused: boolean): boolean {
    const unit = this.unit(id);
    const isNew = unit.stalled === undefined;
    unit.stalled = { error, paused };
    return isNew;
  }
  public failed(id: string, node: string, error: string, paused = false): void {
    const unit = this.unit(id);
    const seen = unit.replicas.get(node) ?? { guid: "", snapshot: "", confirmedAtMs: 0, missingSinceMs: unit.history[0]?.sinceMs ?? unit.trackedSinceMs };
    unit.replicas.set(node, { ...seen, error, paused });
  }
  /** guid that `node` confirmed last, "" when not known. */
  public confirmedGuid(id: string, node: string): string {
    return this.units.get(id)?.replicas.get(node)?.guid ?? "";
  }
  /** Names of the newest snapshots that replicas have confirmed. */
  public confirmedSnapshots(id: string): Set<string> {
    return new Set([...(this.units.get(id)?.replicas.values() ?? [])].map((replica) => replica.snapshot));
  }
  public report(): Map<string, Record<string, ReplicaReport>> {
    const nowMs = this.nowMs();
    const lagS = (unit: UnitLag, replica: ReplicaLag): number => {
      const since = replica.missingSinceMs === undefined || unit.dirtySinceMs === undefined ? (replica.missingSinceMs ?? unit.dirtySinceMs) : Math.min(replica.missingSinceMs, unit.dirtySinceMs);
      const lag = since === undefined ? 0 : Math.max(0, Math.round(nowMs - since)) / 1000;
      // a write that waits for its snapshot (rpo.ts) is told in steps, and never too little: a report that differs each second would keep the whole cluster's busy
      return replica.missingSinceMs === undefined && lag > waitStepS ? Math.ceil(lag / waitStepS) * waitStepS : lag;
    };
    const trouble = (unit: UnitLag, replica: ReplicaLag): { error: string; paused?: boolean } => {
      const { error, paused } = replica.error === "" && unit.stalled !== undefined ? unit.stalled : replica;
      return { error, ...(paused ? { paused } : {}) };
    };
    return new Map(
      [...this.units].map(([id, unit]) => [
        id,
        Object.fromEntries([...unit.replicas].map(([node, replica]) => [node, { guid: replica.guid, snapshot: replica.snapshot, confirmedAtMs: replica.confirmedAtMs, lagS: lagS(unit, replica), ...trouble(unit, replica) }])),
      ]),
    );
  }
}

/** Pure: what is told while replication waits for room. Nothing is destroyed to make some. */
export const noRoom = (unit: string, node: string, what: string): string => `${unit}: replication is paused: the pool of ${node} has no room ${what}; it goes on by itself when there is`;
