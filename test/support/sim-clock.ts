import type { Clock } from "../../daemon/lib/clock.js";
import { HcError } from "../../daemon/lib/errors.js";

/** Simulated time: nothing passes but by `advance`. */
export class SimClock implements Clock {
  private nowMs = 0;
  private timers: { atMs: number; fire: () => void }[] = [];
  public constructor(private startWallMs = Date.UTC(2030, 0, 1)) {}
  public monotonicMs(): number {
    return this.nowMs;
  }
  public wallMs(): number {
    return this.startWallMs + this.nowMs;
  }
  /** The wall clock alone is set ahead or back. */
  public jump(ms: number): void {
    this.startWallMs += ms;
  }
  /** Sleeps that have not ended. */
  public waiting(): number {
    return this.timers.length;
  }
  public sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return void reject(new HcError("ABORTED", "The wait was cancelled."));
      const timer = { atMs: this.nowMs + Math.max(0, ms), fire: (): void => { signal?.removeEventListener("abort", onAbort); resolve(); } };
      const onAbort = (): void => {
        this.timers = this.timers.filter((other) => other !== timer);
        reject(new HcError("ABORTED", "The wait was cancelled."));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.timers.push(timer);
    });
  }
  /**
   * Lets time pass until `work` is done: whenever nothing is left that needs no time, the next timer fires. The same seeds give the same run, as fast as the machine is.
   * Throws when nothing is waited for any more, or after `capMs` of simulated time.
   */
  public async drive<T>(work: Promise<T>, capMs: number): Promise<T> {
    let done = false;
    const ended = work.finally(() => {
      done = true;
    });
    ended.catch(() => undefined);
    const endMs = this.nowMs + capMs;
    for (;;) {
      await this.settle(6);
      if (done) return ended;
      const next = this.timers.reduce<{ atMs: number; fire: () => void } | undefined>((first, timer) => (first === undefined || timer.atMs < first.atMs ? timer : first), undefined);
      if (next === undefined || this.nowMs > endMs) throw new Error(next === undefined ? "the simulation waits for nothing" : `the simulation is not over after ${capMs} ms`);
      this.timers.splice(this.timers.indexOf(next), 1);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.fire();
    }
  }
  /** Lets everything run that needs no time. */
  public async settle(turns = 25): Promise<void> {
    for (let turn = 0; turn < turns; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  public async advance(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    await this.settle();
    for (;;) {
      const next = this.timers.reduce<{ atMs: number; fire: () => void } | undefined>((first, timer) => (first === undefined || timer.atMs < first.atMs ? timer : first), undefined);
      if (next === undefined || next.atMs > end) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.fire();
      await this.settle();
    }
    this.nowMs = end;
    await this.settle();
  }
}
