import type { Request } from "./asker.js";
import { AtApache, mayRepeat } from "./at-apache.js";
import { AtPeer, type Client } from "./at-peer.js";
import { fenced } from "./exchange.js";
import type { Waiting } from "./hold-queue.js";
import { limits } from "./limits.js";
import type { OwnCall } from "./own-calls.js";
import type { WorkerState } from "./worker-state.js";

/** Brings one request to the home of its unit, wherever that is; where nobody can take it now, it waits here at the edge (bounded) for the next picture. */
export class Run implements Waiting, OwnCall {
  private at: AtApache | AtPeer | undefined;
  private epoch = 0;
  /** Where it was sent last; "" = nowhere yet. */
  public home = "";
  /** When it was taken, performance.now(). */
  private takenMs: number | undefined;
  private queued = false;
  /** When it began to wait: however often it is taken and comes back, it waits for so long and no longer. */
  private sinceMs: number | undefined;
  private over = false;
  /** It may be the site's own, and pass its hold. */
  private offered = false;

  public constructor(private readonly worker: WorkerState, private readonly unit: string, private readonly request: Request, private readonly client: Client) {}

  /** How long it has waited here for a home, ms. */
  public get heldMs(): number {
    return this.sinceMs === undefined ? 0 : (this.takenMs ?? performance.now()) - this.sinceMs;
  }
  public start(): void {
    if (this.worker.held.waits(this.unit)) this.wait();
    else this.attempt();
  }
  /** Nobody waits for the answer any more. */
  public abort(): void {
    if (this.over) return;
    this.over = true;
    if (this.queued) this.worker.held.remove(this.unit, this);
    this.at?.abort();
  }
  public expire(): void {
    this.queued = false;
    this.own(503);
  }

  /** The control process lets it through the hold of its unit (own-calls.ts): it leaves the queue, and ends as soon as it can, as all that run do. */
  public pass(): void {
    const { worker, unit } = this;
    const route = worker.routes.route(unit);
    if (this.over || !this.queued || this.at !== undefined || route === undefined || !worker.routes.mayPass(unit)) return;
    this.leave();
    this.epoch = route.epoch;
    this.home = route.home;
    const at = new AtApache(worker, unit, this.request, this);
    this.at = at;
    at.absorb();
    at.start();
  }

  public attempt(): void {
    const { worker, unit, request, client } = this;
    const { routes } = worker;
    const route = routes.route(unit);
    const { table } = routes;
    if (route === undefined || table === undefined) {
      this.leave();
      return void this.own(503);
    }
    this.epoch = route.epoch;
    this.home = route.home;
    if (routes.mayServe(unit)) {
      if (worker.full(unit)) return void this.wait();
      const at = new AtApache(worker, unit, request, this);
      this.at = at;
      return void at.start();
    }
    if (route.home === table.node) return void this.wait();
    const at = new AtPeer(worker, unit, route, request, client, this);
    this.at = at;
    at.start(table);
  }

  public mayAnswer(): boolean {
    return this.worker.routes.mayAnswer(this.unit, this.epoch);
  }
  public onAccepted(): void {
    if (this.sinceMs !== undefined) this.takenMs = performance.now();
    if (!this.queued) return;
    this.queued = false;
    this.worker.held.accepted(this.unit, this);
  }
  public onRefused(): void {
    this.at = undefined;
    this.wait();
  }
  public onAnswered(status: number): void {
    this.over = true;
    this.worker.count(this.unit, status);
  }
  public onFailed(message: string, answered: boolean, run = true): void {
    const { worker, unit, request } = this;
    this.at = undefined;
    worker.error(unit, `${request.head.method} ${request.head.target.slice(0, 100)}: ${message}`);
    // not reached at all: surely not run. Lost after it was sent: repeated only where it may run twice and its home is one no more
    if (!run || (!answered && mayRepeat(request) && (message === fenced || worker.routes.hasPassed(unit, this.epoch)))) return void this.wait();
    this.leave();
    if (!answered) return void this.own(502);
    this.over = true;
    worker.count(unit, 502);
    worker.failed(unit);
    request.asker.cut();
  }

  private wait(): void {
    const { held, ownCalls } = this.worker;
    if (this.queued) held.refused(this.unit, this);
    else {
      this.sinceMs ??= performance.now();
      this.takenMs = undefined;
      if (performance.now() - this.sinceMs > limits.holdMs) return void this.own(503);
      this.queued = held.add(this.unit, this, this.sinceMs);
      if (!this.queued) return void this.own(503);
    }
    // a WebSocket would have to end at once
    if (!this.offered && !this.request.head.upgrade) this.offered = ownCalls.offer(this.unit, this.client.socket, this);
  }
  private leave(): void {
    if (!this.queued) return;
    this.queued = false;
    this.worker.held.remove(this.unit, this);
  }
  private own(status: 502 | 503): void {
    this.over = true;
    this.worker.count(this.unit, status);
    this.worker.failed(this.unit);
    this.request.asker.own(status);
  }
}
