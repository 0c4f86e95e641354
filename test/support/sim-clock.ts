import type { Clock } from "../../daemon/lib/clock.js";
import { HcError } from "../../daemon/lib/errors.js";

/** Simulated time: nothing passes but by `advance`. */
export class SimClock implements Clock {
  private nowMs = 0;
  private timers: { atMs: number; fire: () => void }[] = [];
  public constructor(private readonly startWallMs = Date.UTC(2030, 0, 1)) {}
  public monotonicMs(): number {
    return this.nowMs;
  }
  public wallMs(): number {
    return this.startWallMs + this.nowMs;
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
  /** Lets everything run that needs no time. */
  public async settle(): Promise<void> {
    for (let turn = 0; turn < 25; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
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
