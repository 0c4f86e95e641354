import type { Logger } from "../lib/log.js";
import { accessLine, type Visit } from "./access-line.js";
import type { AccessLog } from "./access-log.js";
import { HeldRequests } from "./held-requests.js";
import { limits } from "./limits.js";
import { OwnCalls } from "./own-calls.js";
import type { RouteStore } from "./route-store.js";
import { SocketOwners } from "./socket-owners.js";
import type { SpoolRoom } from "./spool.js";
import type { Ticker } from "./ticker.js";
import { TlsContexts } from "./tls-contexts.js";
import type { Upstreams } from "./upstreams.js";
import { Waits, type WaitSecond } from "./waits.js";

/** Upper bounds of the classes in which times of answers are counted, s; one more is for what took longer. */
export const secondsBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
export interface UnitStats {
  /** Through this node, whether they ran here or at another one. */
  requests: number;
  status: Record<string, number>;
  held: number;
  errors: { atMs: number; text: string }[];
  /** What ran here: answers in each class of `secondsBounds`, seconds in all, bytes of bodies sent. */
  served: { classes: number[]; seconds: number; bytes: number };
  /** Missing from a worker of the version before. */
  waits?: WaitSecond[];
}
/** A request that runs at this node's Apache. */
export interface InFlight {
  /** Its unit is to be left: it ends as soon as its backend has done its part. */
  absorb(): void;
}

/** What all sessions of one worker share. Everything in it is bounded. */
export class WorkerState {
  public connections = 0;
  public peerConnections = 0;
  /** This worker is to end: no connection is kept for another request. */
  public leaving = false;
  public readonly held: HeldRequests;
  public readonly ownCalls: OwnCalls;
  /** HTTP/2 connections. */
  public readonly sessions = new Set<{ close(): void; destroy(): void }>();
  /** The last request of a held unit has ended. */
  public onDrained: () => void = () => undefined;
  /** Certificates of the public port. */
  public readonly tls: TlsContexts;
  /** Challenges of a CA: token → answer. */
  public challenges: Readonly<Record<string, string>> = {};
  /** Missing: no request is logged. */
  public accessLog: AccessLog | undefined;
  /** Connections of load balancers without a sound PROXY header. */
  public refusedHeaders = 0;
  /** The key of session tickets that all workers share has come. */
  public onTickets: (key: Buffer) => void = () => undefined;
  private readonly running = new Map<string, Set<InFlight>>();
  private readonly stats = new Map<string, UnitStats>();
  private readonly waits = new Map<string, Waits>();

  public constructor(public readonly routes: RouteStore, public readonly upstreams: Upstreams, public readonly ticker: Ticker, public readonly spoolRoom: SpoolRoom, public readonly log: Logger) {
    this.tls = new TlsContexts(log);
    this.ownCalls = new OwnCalls(this, new SocketOwners());
    this.held = new HeldRequests((unit) => {
      this.of(unit).held += 1;
    }, (unit, ms) => this.waitsOf(unit).held(ms, Date.now()));
    routes.onChange = (hasMoved) => this.held.pokeAll(hasMoved);
    routes.onHeld = (unit) => {
      for (const request of [...(this.running.get(unit) ?? [])]) request.absorb();
    };
  }

  /** Requests of a unit that run at this node's Apache: from before their verdict, so that a hold's barrier sees them. */
  public inFlight(unit: string): number {
    return this.running.get(unit)?.size ?? 0;
  }
  public allInFlight(): Record<string, number> {
    return Object.fromEntries([...this.running].map(([unit, requests]) => [unit, requests.size]));
  }
  /** One unit must not take all of Apache's workers. */
  public full(unit: string): boolean {
    return this.inFlight(unit) >= limits.inFlightPerUnit;
  }
  public begin(unit: string, request: InFlight): void {
    const requests = this.running.get(unit);
    if (requests === undefined) this.running.set(unit, new Set([request]));
    else requests.add(request);
  }
  /** `hasRoom`: whoever waits for the unit may try. */
  public end(unit: string, request: InFlight, hasRoom = true): void {
    const requests = this.running.get(unit);
    if (requests === undefined || !requests.delete(request)) return;
    if (requests.size === 0) {
      this.running.delete(unit);
      if (this.routes.isHeld(unit)) this.onDrained();
    }
    if (hasRoom) this.held.poke(unit);
  }

  /** Are the requests of this unit written down at their end? */
  public logs(unit: string): boolean {
    return this.accessLog !== undefined && this.routes.route(unit)?.accessLog !== false;
  }
  /** A request that is to be written down has ended. `status` 0: no answer had begun; `beganMs`: when its head was whole, performance.now(); `run`: what became of it, unless it was answered here. */
  public visited(unit: string, visit: Pick<Visit, "client" | "head" | "version" | "status" | "bytes"> & { beganMs: number; run: Pick<Visit, "heldMs" | "home"> | undefined }): void {
    const { client, head, version, status, bytes, beganMs, run } = visit;
    this.accessLog?.add(unit, accessLine({
      client, head, version, status: status === 0 ? 499 : status, bytes,
      tookMs: performance.now() - beganMs, heldMs: run?.heldMs ?? 0, home: run?.home ?? "", edge: this.routes.table?.node ?? "", endedMs: Date.now(),
    }));
  }

  public count(unit: string, status: number): void {
    const stats = this.of(unit);
    stats.requests += 1;
    const kind = classes[Math.floor(status / 100)] ?? "5xx";
    stats.status[kind] = (stats.status[kind] ?? 0) + 1;
  }
  /** A request that ran here was answered, from its verdict to its last byte. */
  public served(unit: string, ms: number, bytes: number): void {
    const { served } = this.of(unit);
    let at = 0;
    while (at < secondsBounds.length && ms > (secondsBounds[at] as number) * 1000) at += 1;
    served.classes[at] = (served.classes[at] ?? 0) + 1;
    served.seconds += ms / 1000;
    served.bytes += bytes;
  }
  public error(unit: string, text: string): void {
    const { errors } = this.of(unit);
    errors.push({ atMs: Date.now(), text: text.slice(0, 300) });
    if (errors.length > limits.errorsPerUnit) errors.shift();
  }
  /** A request that got no answer but this proxy's own. */
  public failed(unit: string): void {
    this.waitsOf(unit).failed(Date.now());
  }
  /** Only units of the table are counted, so strangers cannot grow this. */
  public report(): Record<string, UnitStats> {
    for (const unit of this.stats.keys()) if (this.routes.route(unit) === undefined) this.stats.delete(unit);
    for (const unit of this.waits.keys()) if (!this.stats.has(unit)) this.waits.delete(unit);
    return Object.fromEntries([...this.stats].map(([unit, stats]) => [unit, { ...stats, waits: this.waits.get(unit)?.report(Date.now()) ?? [] }]));
  }
  private waitsOf(unit: string): Waits {
    let waits = this.waits.get(unit);
    if (waits === undefined) {
      waits = new Waits();
      this.waits.set(unit, waits);
    }
    return waits;
  }
  private of(unit: string): UnitStats {
    let stats = this.stats.get(unit);
    if (stats === undefined) {
      stats = { requests: 0, status: {}, held: 0, errors: [], served: { classes: Array.from({ length: secondsBounds.length + 1 }, () => 0), seconds: 0, bytes: 0 } };
      this.stats.set(unit, stats);
    }
    return stats;
  }
}
const classes = ["", "1xx", "2xx", "3xx", "4xx", "5xx"];
