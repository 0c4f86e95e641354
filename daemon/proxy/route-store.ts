import type { BlockList } from "node:net";
import { machineMs } from "../lib/clock.js";
import { isListed, networkList } from "../lib/networks.js";
import { type Deadlines, isServable, isWithin, laterDeadlines, mayAnswer, noDeadlines } from "./gate.js";
import type { RouteTable, UnitRoute } from "./routes.js";

/** The worker's copy of the table, and the fence as data (OWNERSHIP 5): past the deadline nothing of this node's own is served. */
export class RouteStore {
  public table: RouteTable | undefined;
  /** `proxyFrom` of the table. */
  private balancers: BlockList | undefined;
  /** Addresses of the table's nodes. */
  private nodes: BlockList | undefined;
  private deadlines: Deadlines = noDeadlines;
  private holds: ReadonlyMap<string, number> = new Map();
  /** What is served may have changed; `hasMoved`: units that have another home. */
  public onChange: (hasMoved: (unit: string) => boolean) => void = () => undefined;
  /** The gate of a unit was closed: what of it runs is to end soon. */
  public onHeld: (unit: string) => void = () => undefined;
  /** Requests at other nodes, each with what ends it when its unit has another home; as many as are in flight. */
  private readonly sent = new Set<{ unit: string; epoch: number; end: () => void }>();

  public setTable(table: RouteTable): void {
    const before = this.table;
    this.table = table;
    if (JSON.stringify(before?.proxyFrom) !== JSON.stringify(table.proxyFrom)) this.balancers = networkList(table.proxyFrom ?? []);
    if (JSON.stringify(before?.nodes) !== JSON.stringify(table.nodes)) this.nodes = networkList(Object.values(table.nodes).flatMap(({ addresses }) => addresses));
    for (const request of this.sent)
      if (this.hasPassed(request.unit, request.epoch)) {
        this.sent.delete(request);
        request.end();
      }
    this.onChange((unit) => before?.units[unit]?.home !== table.units[unit]?.home);
  }

  /** `deadlineMs`, and those of `units`, by `machineMs()`; never moved back. */
  public setDeadline(deadlineMs: number, units: Readonly<Record<string, number>> = {}): void {
    const now = machineMs();
    const before = this.deadlines;
    this.deadlines = laterDeadlines(before, deadlineMs, units, now);
    const opened = (now >= before.all && now < this.deadlines.all) || [...this.deadlines.held].some(([unit, untilMs]) => untilMs > now && (before.held.get(unit) ?? 0) <= now);
    if (opened) this.onChange(() => false);
  }

  /** Units whose gate is closed, with the time until when (machineMs); `keep`: others that are closed stay so. True when one is new: the control process waits to hear what of it is in flight. */
  public setHolds(holds: Readonly<Record<string, number>> = {}, keep = false): boolean {
    const before = this.holds;
    this.holds = new Map([...(keep ? before : []), ...Object.entries(holds)]);
    if ([...before.keys()].some((unit) => !this.holds.has(unit))) this.onChange(() => false);
    const now = machineMs();
    // one that had run out, and is renewed, is a new one: requests may have begun between
    const closed = Object.keys(holds).filter((unit) => (before.get(unit) ?? 0) <= now);
    for (const unit of closed) this.onHeld(unit);
    return closed.length > 0;
  }
  public isHeld(unit: string): boolean {
    return this.holds.size > 0 && machineMs() < (this.holds.get(unit) ?? 0);
  }
  public heldUnits(): string[] {
    return [...this.holds.keys()].filter((unit) => this.isHeld(unit));
  }

  /** May what is at home here be served, as far as the sign of life goes? */
  public live(unit: string): boolean {
    return isWithin(this.deadlines, unit, machineMs());
  }

  /** Is this the address (as addressOf gives it) of a load balancer, which says first whose connection it brings? */
  public isBalancer(address: string): boolean {
    return isListed(this.balancers, address);
  }
  /** Is it the address of one of the cluster's nodes? */
  public isNode(address: string): boolean {
    return isListed(this.nodes, address);
  }

  public route(unit: string): UnitRoute | undefined {
    return this.table?.units[unit];
  }

  public mayServe(unit: string, epoch?: number): boolean {
    return !this.isHeld(unit) && this.mayPass(unit, epoch);
  }
  /** The same, but for a hold. */
  public mayPass(unit: string, epoch?: number): boolean {
    return isServable(this.table, this.deadlines, unit, machineMs(), epoch);
  }

  public mayAnswer(unit: string, epoch: number): boolean {
    return mayAnswer(this.table, this.deadlines, unit, machineMs(), epoch);
  }

  /** Is the history of this epoch one that may have been lost (a failover came since)? Then no answer of it is passed on (OWNERSHIP 8). */
  public hasPassed(unit: string, epoch: number): boolean {
    const route = this.route(unit);
    return route !== undefined && epoch < (route.since ?? route.epoch);
  }

  /** Calls `end` when the unit's epoch has passed, at most once; what is returned lets go of it. */
  public onPassed(unit: string, epoch: number, end: () => void): () => void {
    if (this.hasPassed(unit, epoch)) {
      end();
      return () => undefined;
    }
    const request = { unit, epoch, end };
    this.sent.add(request);
    return () => void this.sent.delete(request);
  }
}
