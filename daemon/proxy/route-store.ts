import { machineMs } from "../lib/clock.js";
import type { RouteTable, UnitRoute } from "./routes.js";

/** The worker's copy of the table, and the fence as data (OWNERSHIP 5): past the deadline nothing of this node's own is served. */
export class RouteStore {
  public table: RouteTable | undefined;
  private deadline = 0;
  private held: ReadonlyMap<string, number> = new Map();
  private readonly waiting = new Set<() => void>();

  public setTable(table: RouteTable): void {
    this.table = table;
    this.wake();
  }

  /** `deadlineMs`, and those of `units`, by `machineMs()`; never moved back. */
  public setDeadline(deadlineMs: number, units: Readonly<Record<string, number>> = {}): void {
    const now = machineMs();
    const wasPast = now >= this.deadline;
    if (deadlineMs > this.deadline) this.deadline = deadlineMs;
    const held = new Map([...this.held].filter(([, untilMs]) => untilMs > now));
    for (const [unit, untilMs] of Object.entries(units)) held.set(unit, Math.max(untilMs, held.get(unit) ?? 0));
    const opened = [...held].some(([unit, untilMs]) => untilMs > now && (this.held.get(unit) ?? 0) <= now);
    this.held = held;
    if ((wasPast && now < this.deadline) || opened) this.wake();
  }

  /** May what is at home here be served, as far as the sign of life goes? */
  public live(unit: string): boolean {
    const now = machineMs();
    return now < this.deadline || now < (this.held.get(unit) ?? 0);
  }

  public route(unit: string): UnitRoute | undefined {
    return this.table?.units[unit];
  }

  public mayServe(unit: string, epoch?: number): boolean {
    const route = this.route(unit);
    return route?.open === true && route.home === this.table?.node && this.live(unit) && (epoch === undefined || epoch === route.epoch);
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
