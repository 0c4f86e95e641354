import type { Logger } from "../lib/log.js";
import { limits } from "./limits.js";
import type { RouteStore } from "./route-store.js";
import { TlsContexts } from "./tls-contexts.js";
import type { Upstreams } from "./upstreams.js";

export interface UnitStats { requests: number; status: Record<string, number>; held: number; errors: { atMs: number; text: string }[] }

/** What all sessions of one worker share. Everything in it is bounded. */
export class WorkerState {
  public connections = 0;
  public peerConnections = 0;
  public held = 0;
  public readonly inFlight = new Map<string, number>();
  /** The last request of a held unit has ended. */
  public onDrained: () => void = () => undefined;
  /** Certificates of the public port. */
  public readonly tls: TlsContexts;
  /** Challenges of a CA: token → answer. */
  public challenges: Readonly<Record<string, string>> = {};
  /** The key of session tickets that all workers share has come. */
  public onTickets: (key: Buffer) => void = () => undefined;
  private readonly heldBy = new Map<string, number>();
  private readonly stats = new Map<string, UnitStats>();

  public constructor(public readonly routes: RouteStore, public readonly upstreams: Upstreams, public readonly log: Logger) {
    this.tls = new TlsContexts(log);
  }

  /** Takes a place in the queue of held requests; false when it is full. */
  public hold(unit: string): boolean {
    const mine = this.heldBy.get(unit) ?? 0;
    if (this.held >= limits.heldRequests || mine >= limits.heldPerUnit) return false;
    this.held += 1;
    this.heldBy.set(unit, mine + 1);
    this.of(unit).held += 1;
    return true;
  }
  public unhold(unit: string): void {
    this.held -= 1;
    const left = (this.heldBy.get(unit) ?? 1) - 1;
    if (left <= 0) this.heldBy.delete(unit);
    else this.heldBy.set(unit, left);
  }

  /** Runs what is a request of this unit in flight: counted from before its verdict, so that a hold's barrier sees it. */
  public async during<T>(unit: string, run: () => Promise<T>): Promise<T> {
    this.begin(unit);
    try {
      return await run();
    } finally {
      this.end(unit);
    }
  }
  /** One unit must not take all of Apache's workers. */
  public full(unit: string): boolean {
    return (this.inFlight.get(unit) ?? 0) >= limits.inFlightPerUnit;
  }
  public begin(unit: string): void {
    this.inFlight.set(unit, (this.inFlight.get(unit) ?? 0) + 1);
  }
  public end(unit: string): void {
    const left = (this.inFlight.get(unit) ?? 1) - 1;
    if (left > 0) this.inFlight.set(unit, left);
    else {
      this.inFlight.delete(unit);
      if (this.routes.isHeld(unit)) this.onDrained();
    }
  }

  public count(unit: string, status: number): void {
    const stats = this.of(unit);
    stats.requests += 1;
    const kind = `${Math.floor(status / 100)}xx`;
    stats.status[kind] = (stats.status[kind] ?? 0) + 1;
  }
  public error(unit: string, text: string): void {
    const { errors } = this.of(unit);
    errors.push({ atMs: Date.now(), text: text.slice(0, 300) });
    if (errors.length > limits.errorsPerUnit) errors.shift();
  }
  /** Only units of the table are counted, so strangers cannot grow this. */
  public report(): Record<string, UnitStats> {
    for (const unit of this.stats.keys()) if (this.routes.route(unit) === undefined) this.stats.delete(unit);
    return Object.fromEntries(this.stats);
  }
  private of(unit: string): UnitStats {
    let stats = this.stats.get(unit);
    if (stats === undefined) {
      stats = { requests: 0, status: {}, held: 0, errors: [] };
      this.stats.set(unit, stats);
    }
    return stats;
  }
}
