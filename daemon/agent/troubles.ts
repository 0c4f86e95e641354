import type { ObservedUnit } from "../lib/records.js";

/** Troubles older than this do not count, ms. */
export const troubleWindowMs = 600_000;
/** Times that are kept of a unit: what comes on top says nothing more. */
const keptTimes = 50;

/**
 * What went wrong with the units at home here in the last ten minutes: a step to bring one up failed, or its container ended by itself. The repair is the agent's own (it starts what is not
 * running, with the runner's one back-off); the leader reads the count, and moves a unit away when that does not help (placement/plan-relief.ts). Of this process; times are monotonic.
 */
export class Troubles {
  private readonly units = new Map<string, { times: number[]; last: string }>();
  public total = 0;

  public constructor(private readonly nowMs: () => number) {}

  public add(unit: string, why: string): void {
    const now = this.nowMs();
    const seen = this.units.get(unit) ?? { times: [], last: "" };
    seen.times = [...seen.times.filter((at) => now - at < troubleWindowMs), now].slice(-keptTimes);
    seen.last = why.slice(0, 300);
    this.units.set(unit, seen);
    this.total += 1;
  }

  /** Of this unit, undefined when there were none; what is over is forgotten here. */
  public of(unit: string): ObservedUnit["trouble"] {
    const seen = this.units.get(unit);
    const now = this.nowMs();
    const times = seen?.times.filter((at) => now - at < troubleWindowMs) ?? [];
    const [first] = times;
    if (seen === undefined || first === undefined) return void this.units.delete(unit);
    return { count: times.length, spanS: Math.round(((times.at(-1) as number) - first) / 1000), last: seen.last };
  }

  public retain(units: ReadonlySet<string>): void {
    for (const unit of this.units.keys()) if (!units.has(unit)) this.units.delete(unit);
  }

  public counts(): Map<string, number> {
    return new Map([...this.units.keys()].flatMap((unit) => {
      const count = this.of(unit)?.count;
      return count === undefined ? [] : [[unit, count] as const];
    }));
  }
}
