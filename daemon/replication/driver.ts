import { pauseMs } from "../lib/backoff.js";
import type { Clock } from "../lib/clock.js";
import { HcError } from "../lib/errors.js";

/** Knows attempts, order, back-off and limits; nothing of ZFS (zrepl's split). */
export interface DriverOptions {
  /** One attempt to bring `node` up to date with `unit`. */
  attempt(unit: string, node: string, signal: AbortSignal): Promise<void>;
  onFailure(unit: string, node: string, error: unknown, failures: number): void;
  clock: Clock;
  /** Sends that may run at once on this node (default 4). */
  maxConcurrent?: number;
  /** First and longest pause after a failure, ms (default 500 and 30 000). */
  backoff?: { firstMs: number; capMs: number };
  random?: () => number;
  signal: AbortSignal;
}

interface Pair {
  unit: string;
  node: string;
  wanted: boolean;
  /** Order of asking: the longest waiting goes first. */
  wantedAt: number;
  notBeforeMs: number;
  failures: number;
  running: Promise<unknown> | undefined;
  forgotten: boolean;
}

/**
 * Invariants: 1. at most one attempt a (unit, node) at a time, `exclusive` included; 2. at most `maxConcurrent` attempts in all; 3. an attempt never begins for a
 * paused unit; 4. a wish that comes while an attempt runs leads to another attempt; 5. after a failure the pair waits, others go on.
 */
export class Driver {
  private readonly pairs = new Map<string, Pair>();
  private readonly paused = new Set<string>();
  private readonly limit: number;
  private running = 0;
  private order = 0;
  private wakeAtMs = Number.POSITIVE_INFINITY;
  public constructor(private readonly options: DriverOptions) {
    this.limit = options.maxConcurrent ?? 4;
  }

  public get runningCount(): number {
    return this.running;
  }
  public get waitingCount(): number {
    return [...this.pairs.values()].filter((pair) => pair.wanted && pair.running === undefined).length;
  }

  private pair(unit: string, node: string): Pair {
    const key = `${unit}\0${node}`;
    let pair = this.pairs.get(key);
    if (pair === undefined) {
      pair = { unit, node, wanted: false, wantedAt: 0, notBeforeMs: 0, failures: 0, running: undefined, forgotten: false };
      this.pairs.set(key, pair);
    }
    return pair;
  }
  public has(unit: string, node: string): boolean {
    return this.pairs.has(`${unit}\0${node}`);
  }
  /** There is something to send. `now` forgets the pause after failures. */
  public want(unit: string, node: string, options: { now?: boolean } = {}): void {
    const pair = this.pair(unit, node);
    if (!pair.wanted) {
      pair.wanted = true;
      this.order += 1;
      pair.wantedAt = this.order;
    }
    if (options.now === true) pair.notBeforeMs = 0;
    this.pump();
  }
  /** Keeps only the pairs that `wanted` names; one that runs ends by itself and is not repeated. */
  public retain(wanted: (unit: string, node: string) => boolean): void {
    for (const [key, pair] of this.pairs)
      if (!wanted(pair.unit, pair.node)) {
        pair.forgotten = true;
        if (pair.running === undefined) this.pairs.delete(key);
      } else pair.forgotten = false;
  }
  /** Nodes that this unit is being sent to. */
  public sendingTo(unit: string): string[] {
    return [...this.pairs.values()].filter((pair) => pair.unit === unit && pair.running !== undefined).map(({ node }) => node);
  }
  public async pause(unit: string): Promise<void> {
    this.paused.add(unit);
    await Promise.allSettled([...this.pairs.values()].filter((pair) => pair.unit === unit).map((pair) => pair.running));
  }
  public resume(unit: string): void {
    this.paused.delete(unit);
    this.pump();
  }
  public isPaused(unit: string): boolean {
    return this.paused.has(unit);
  }

  /** Runs `act` when no attempt for the pair runs, and keeps others away meanwhile. */
  public async exclusive<T>(unit: string, node: string, act: () => Promise<T>): Promise<T> {
    const pair = this.pair(unit, node);
    while (pair.running !== undefined) await Promise.allSettled([pair.running]);
    if (this.options.signal.aborted) throw new HcError("ABORTED", "Replication is stopping.");
    const run = act();
    this.occupy(pair, run);
    return await run;
  }
  private occupy(pair: Pair, run: Promise<unknown>): void {
    const settled = run.then(
      () => undefined,
      () => undefined,
    );
    pair.running = settled.then(() => {
      pair.running = undefined;
      if (pair.forgotten) this.pairs.delete(`${pair.unit}\0${pair.node}`);
      this.pump();
    });
  }

  private pump(): void {
    if (this.options.signal.aborted) return;
    const now = this.options.clock.monotonicMs();
    const ready = [...this.pairs.values()].filter((pair) => pair.wanted && !pair.forgotten && pair.running === undefined && !this.paused.has(pair.unit));
    ready.sort((a, b) => a.wantedAt - b.wantedAt);
    let nextMs = Number.POSITIVE_INFINITY;
    for (const pair of ready) {
      if (pair.notBeforeMs > now) nextMs = Math.min(nextMs, pair.notBeforeMs);
      else if (this.running < this.limit) this.begin(pair);
    }
    if (nextMs < this.wakeAtMs) this.wake(nextMs);
  }
  private wake(atMs: number): void {
    this.wakeAtMs = atMs;
    this.options.clock.sleep(Math.max(1, atMs - this.options.clock.monotonicMs()), this.options.signal).then(
      () => {
        if (this.wakeAtMs === atMs) this.wakeAtMs = Number.POSITIVE_INFINITY;
        this.pump();
      },
      () => undefined, // stopping
    );
  }
  private begin(pair: Pair): void {
    pair.wanted = false;
    this.running += 1;
    const run = (async () => {
      try {
        await this.options.attempt(pair.unit, pair.node, this.options.signal);
        pair.failures = 0;
        pair.notBeforeMs = 0;
      } catch (error) {
        if (this.options.signal.aborted) return;
        pair.failures += 1;
        const backoff = this.options.backoff ?? { firstMs: 500, capMs: 30_000 };
        pair.notBeforeMs = this.options.clock.monotonicMs() + pauseMs(pair.failures, { ...backoff, ...(this.options.random === undefined ? {} : { random: this.options.random }) });
        if (!pair.wanted) {
          pair.wanted = true;
          this.order += 1;
          pair.wantedAt = this.order;
        }
        this.options.onFailure(pair.unit, pair.node, error, pair.failures);
      } finally {
        this.running -= 1;
      }
    })();
    this.occupy(pair, run);
  }
  /** Resolves when nothing runs any more (after the signal has fired). */
  public async idle(): Promise<void> {
    await Promise.allSettled([...this.pairs.values()].map((pair) => pair.running));
  }
}
