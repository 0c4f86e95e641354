import { machineMs } from "../lib/clock.js";
import { type Deadlines, isServable, isWithin, laterDeadlines, noDeadlines } from "./gate.js";
import type { RouteTable, UnitRoute } from "./routes.js";

/** The worker's copy of the table, and the fence as data (OWNERSHIP 5): past the deadline nothing of this node's own is served. */
export class RouteStore {
  public table: RouteTable | undefined;
  private deadlines: Deadlines = noDeadlines;
  private readonly waiting = new Set<() => void>();

  public setTable(table: RouteTable): void {
    this.table = table;
    this.wake();
  }

  /** `deadlineMs`, and those of `units`, by `machineMs()`; never moved back. */
  public setDeadline(deadlineMs: number, units: Readonly<Record<string, number>> = {}): void {
    const now = machineMs();
    const before = this.deadlines;
    this.deadlines = laterDeadlines(before, deadlineMs, units, now);
    const opened = (now >= before.all && now < this.deadlines.all) || [...this.deadlines.held].some(([unit, untilMs]) => untilMs > now && (before.held.get(unit) ?? 0) <= now);
    if (opened) this.wake();
  }

  /** May what is at home here be served, as far as the sign of life goes? */
  public live(unit: string): boolean {
    return isWithin(this.deadlines, unit, machineMs());
  }

  public route(unit: string): UnitRoute | undefined {
    return this.table?.units[unit];
  }

  public mayServe(unit: string, epoch?: number): boolean {
    return isServable(this.table, this.deadlines, unit, machineMs(), epoch);
  }

  /** Settles at the next change of the table, or after `ms`. */
  public changed(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.waiting.add(done);
    });
  }

  private wake(): void {
    for (const done of [...this.waiting]) done();
  }
}
