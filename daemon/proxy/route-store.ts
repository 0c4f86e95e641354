import { machineMs } from "../lib/clock.js";
import type { RouteTable, UnitRoute } from "./routes.js";

/** The worker's copy of the table, and the fence as data (OWNERSHIP 5): past the deadline nothing of this node's own is served. */
export class RouteStore {
  public table: RouteTable | undefined;
  private deadline = 0;
  private readonly waiting = new Set<() => void>();

  public setTable(table: RouteTable): void {
    this.table = table;
    this.wake();
  }

  /** `deadlineMs` by `machineMs()`; never moved back. */
  public setDeadline(deadlineMs: number): void {
    const wasPast = !this.live();
    if (deadlineMs > this.deadline) this.deadline = deadlineMs;
    if (wasPast && this.live()) this.wake();
  }

  public live(): boolean {
    return machineMs() < this.deadline;
  }

  public route(unit: string): UnitRoute | undefined {
    return this.table?.units[unit];
  }

  public mayServe(unit: string, epoch?: number): boolean {
    const route = this.route(unit);
    return route?.open === true && route.home === this.table?.node && this.live() && (epoch === undefined || epoch === route.epoch);
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
