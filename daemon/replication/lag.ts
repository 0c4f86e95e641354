import type { ReplicaReport } from "./replication.js";

/** More than this many snapshots behind are counted as "as old as the oldest of these". */
const maxHistory = 512;

interface UnitLag {
  /** Since when this unit is looked after; the age of what a replica lacks that has never confirmed anything. */
  trackedSinceMs: number;
  /** When the oldest write since the newest snapshot was seen; undefined = nothing written. */
  dirtySinceMs: number | undefined;
  /** Snapshots made while some replica was behind, oldest first, with the time of the oldest write in them. */
  history: { name: string; sinceMs: number }[];
  replicas: Map<string, { guid: string; snapshot: string; confirmedAtMs: number; error: string }>;
}

/** Who has confirmed what, and how old the oldest write is that a replica lacks. Plain data; times are monotonic ms (confirmedAtMs is wall time, for people). */
export class LagBook {
  private readonly units = new Map<string, UnitLag>();
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
  /** Something was written since the newest snapshot. */
  public written(id: string): void {
    const unit = this.unit(id);
    unit.dirtySinceMs ??= this.nowMs();
  }
  /** A snapshot was made; it holds every write seen before. */
  public snapshot(id: string, name: string): void {
    const unit = this.unit(id);
    unit.history.push({ name, sinceMs: unit.dirtySinceMs ?? this.nowMs() });
    unit.dirtySinceMs = undefined;
    if (unit.history.length > maxHistory) unit.history.splice(1, 1); // the oldest stays: it carries the age
  }
  public confirmed(id: string, node: string, what: { guid: string; snapshot: string }, wallMs: number): void {
    const unit = this.unit(id);
    unit.replicas.set(node, { ...what, confirmedAtMs: wallMs, error: "" });
    this.forgetOld(unit);
  }
  public failed(id: string, node: string, error: string): void {
    const unit = this.unit(id);
    const seen = unit.replicas.get(node) ?? { guid: "", snapshot: "", confirmedAtMs: 0 };
    unit.replicas.set(node, { ...seen, error });
  }
  /** guid that `node` confirmed last, "" when not known. */
  public confirmedGuid(id: string, node: string): string {
    return this.units.get(id)?.replicas.get(node)?.guid ?? "";
  }
  public confirmedSnapshots(id: string): Set<string> {
    return new Set([...(this.units.get(id)?.replicas.values() ?? [])].map((replica) => replica.snapshot));
  }
  /** Snapshots that every replica has are no longer needed for an age. */
  private forgetOld(unit: UnitLag): void {
    const positions = [...unit.replicas.values()].map((replica) => unit.history.findIndex((item) => item.name === replica.snapshot));
    const first = Math.min(...positions);
    if (first > 0) unit.history.splice(0, first);
  }
  private lagMs(unit: UnitLag, snapshot: string, nowMs: number): number {
    const at = unit.history.findIndex((item) => item.name === snapshot);
    if (snapshot === "") return nowMs - (unit.history[0]?.sinceMs ?? unit.trackedSinceMs);
    // a confirmed snapshot that is older than all of ours (or none): everything in the history is missing there
    const missing = unit.history[at + 1];
    const since = missing?.sinceMs ?? unit.dirtySinceMs;
    return since === undefined ? 0 : Math.max(0, nowMs - since);
  }
  public report(): Map<string, Record<string, ReplicaReport>> {
    const nowMs = this.nowMs();
    return new Map(
      [...this.units].map(([id, unit]) => [
        id,
        Object.fromEntries([...unit.replicas].map(([node, replica]) => [node, { ...replica, lagS: Math.round(this.lagMs(unit, replica.snapshot, nowMs)) / 1000 }])),
      ]),
    );
  }
}
