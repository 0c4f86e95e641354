import { HoldQueue, type Waiting } from "./hold-queue.js";
import { limits } from "./limits.js";

/** A move's last second is over before this matters, a failover's ten are not: then hundreds of units may wait, each with a first one that asks. */
const pauseGrowth = 1.05;

/** Requests that are held at this worker, by unit. Bounded by count and time; their bodies by the spools' room. */
export class HeldRequests {
  private readonly queues = new Map<string, HoldQueue>();
  private readonly timers = new Map<string, NodeJS.Timeout>();
  /** How often the first of a unit asks again, ms: less and less while nobody takes it. */
  private readonly pauses = new Map<string, number>();
  private count = 0;

  /** `onHeld`: one more, of this unit. `onTaken`: one has been taken, after so long, ms. */
  public constructor(private readonly onHeld: (unit: string) => void, private readonly onTaken: (unit: string, ms: number) => void = () => undefined) {}

  public get size(): number {
    return this.count;
  }
  public of(unit: string): number {
    return this.queues.get(unit)?.size ?? 0;
  }
  /** Others were first: a new request takes its place behind them. */
  public waits(unit: string): boolean {
    return this.queues.size > 0 && this.queues.has(unit);
  }
  /** `sinceMs`: when it began to wait, for the first time (performance.now). False: there is no room. */
  public add(unit: string, request: Waiting, sinceMs: number): boolean {
    const queue = this.queues.get(unit) ?? this.newQueue();
    if (this.count >= limits.heldRequests || queue.size >= limits.heldPerUnit) return false;
    queue.add(request, sinceMs);
    this.queues.set(unit, queue);
    this.count += 1;
    this.onHeld(unit);
    this.again(unit);
    return true;
  }
  public accepted(unit: string, request: Waiting): void {
    const queue = this.queues.get(unit);
    if (queue === undefined) return;
    this.count -= 1;
    const sinceMs = queue.since(request);
    if (sinceMs !== undefined) this.onTaken(unit, performance.now() - sinceMs);
    queue.accepted(request);
    this.settle(unit, queue);
  }
  public refused(unit: string, request: Waiting): void {
    this.queues.get(unit)?.refused(request);
    this.again(unit);
  }
  public remove(unit: string, request: Waiting): void {
    const queue = this.queues.get(unit);
    if (queue === undefined) return;
    this.count -= 1;
    queue.remove(request);
    this.settle(unit, queue);
  }
  /** Something of this unit may have changed. */
  public poke(unit: string): void {
    if (this.queues.size > 0) this.queues.get(unit)?.poke();
  }
  /** The picture has changed. */
  public pokeAll(hasMoved: (unit: string) => boolean): void {
    for (const [unit, queue] of [...this.queues]) {
      const moved = hasMoved(unit);
      if (moved) this.pauses.delete(unit);
      queue.poke(moved);
      if (moved && this.queues.has(unit)) this.soon(unit);
    }
  }
  public expire(): void {
    const now = performance.now();
    for (const [unit, queue] of [...this.queues]) {
      const ended = queue.expire(now); // which may add others
      this.count -= ended;
      this.settle(unit, queue);
    }
  }
  public stop(): void {
    for (const timer of this.timers.values()) clearTimeout(timer);
  }

  private newQueue(): HoldQueue {
    const queue: HoldQueue = new HoldQueue(() => void setImmediate(() => queue.nextTurn()));
    return queue;
  }
  private soon(unit: string): void {
    clearTimeout(this.timers.get(unit));
    this.timers.delete(unit);
    this.again(unit);
  }
  /** A home tells nobody that its gate has opened: the first one asks again soon. */
  private again(unit: string): void {
    if (this.timers.has(unit)) return;
    const pauseMs = this.pauses.get(unit) ?? limits.retryHeldMs;
    this.timers.set(unit, setTimeout(() => {
      this.timers.delete(unit);
      this.pauses.set(unit, Math.min(pauseGrowth * pauseMs, limits.retryHeldCapMs));
      const queue = this.queues.get(unit);
      if (queue === undefined) return void this.pauses.delete(unit);
      queue.poke();
      if (this.queues.has(unit)) this.again(unit);
    }, pauseMs));
  }
  private settle(unit: string, queue: HoldQueue): void {
    if (queue.size > 0 || this.queues.get(unit) !== queue) return;
    this.queues.delete(unit);
    this.pauses.delete(unit);
  }
}
