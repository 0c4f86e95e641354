import { pauseMs } from "../lib/backoff.js";
import type { Clock } from "../lib/clock.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { Action, KeyedSteps, Step } from "./steps.js";

/*
 * Invariants of the runner: 1. one sequence a key at a time; 2. at most `limit` sequences at once, services and stops aside (a long copy never keeps a site from being stopped);
 * 3. a step begins only after the one before it ended well; 4. after a failure the same wish waits (back-off), another wish of the key does not;
 * 5. a wish that was granted and comes again at once is slowed down: a step without effect never makes a busy loop;
 * 6. `abort` ends what runs, and nothing is begun in a stopped runner;
 * 7. what is for later waits while a site is brought to its visitors or waits for its turn, 30 s at most; one that waits because it failed keeps nobody.
 */
export interface RunnerOptions {
  execute(step: Step, signal: AbortSignal): Promise<void>;
  /** Called after each sequence: something may have changed. */
  onEnd(item: KeyedSteps): void;
  /** A step failed. */
  onFail?(key: string, step: Step, text: string): void;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  limit?: number;
  random?: () => number;
}
interface Failure { wish: string; attempts: number; notBeforeMs: number; text: string }

/**
 * Steps that need not be waited for when everything is to stop: they wait for others (etcd, peers, answers) or work inside a dataset, and each looks at the session
 * again before it writes. Short commands on disk and services are waited for, so that what follows sees them done.
 */
const abandoned: ReadonlySet<Action> = new Set(["take-home", "raise-epoch", "go-live", "populate", "check", "bury", "leave-trash", "forget-record", "build-template", "publish-template"]);

function orAborted(act: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new HcError("ABORTED", "The step was cancelled."));
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    act.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** Steps at whose end visitors are answered. */
const serving: ReadonlySet<Action> = new Set(["start", "check"]);
/** Longest wait of what is for later, ms. */
const laterMs = 30_000;

const isAwaited = ({ steps }: KeyedSteps): boolean => steps.some(({ action }) => serving.has(action));

const firstPauseMs = 250;
const longestPauseMs = 15_000;

export class Runner {
  private readonly running = new Map<string, { abort: AbortController; ended: Promise<void>; awaited: boolean }>();
  /** What is for later and has not begun, by key: since when. */
  private readonly postponed = new Map<string, number>();
  private readonly failed = new Map<string, Failure>();
  /** What was done last, by key: a wish that comes again although it was granted. */
  private readonly granted = new Map<string, { wish: string; times: number; atMs: number }>();
  public readonly limit: number;
  public constructor(private readonly options: RunnerOptions) {
    this.limit = options.limit ?? 8;
  }

  /** What went wrong last, by key, while it is not mended. */
  public failures(): Map<string, string> {
    return new Map([...this.failed].map(([key, failure]) => [key, failure.text]));
  }
  public busyKeys(): Set<string> {
    return new Set(this.running.keys());
  }
  public isBusy(key: string): boolean {
    return this.running.has(key);
  }
  public get busyCount(): number {
    return this.running.size;
  }

  /** Begins what can begin now, but for the keys in `stale`; returns the ms until the next repeat of something that failed, or undefined. */
  public dispatch(work: readonly KeyedSteps[], stale: ReadonlySet<string> = new Set()): number | undefined {
    if (this.options.signal.aborted) return undefined;
    const wanted = new Set(work.map((item) => item.key));
    for (const key of this.failed.keys()) if (!wanted.has(key) && !this.running.has(key)) this.failed.delete(key);
    const now = this.options.clock.monotonicMs();
    let soonest: number | undefined;
    let awaited = [...this.running.values()].some((one) => one.awaited);
    for (const key of this.postponed.keys()) if (!wanted.has(key)) this.postponed.delete(key);
    for (const item of [...work.filter(({ later }) => later !== true), ...work.filter(({ later }) => later === true)]) {
      if (this.running.has(item.key) || stale.has(item.key)) continue;
      const wish = JSON.stringify(item.steps);
      const failure = this.failed.get(item.key);
      if (failure !== undefined && failure.wish === wish && failure.notBeforeMs > now) {
        soonest = Math.min(soonest ?? Number.POSITIVE_INFINITY, failure.notBeforeMs - now);
        continue;
      }
      const free = item.key === "node:services" || item.steps.every((step) => step.action === "stop" || step.action === "unmount");
      const granted = this.granted.get(item.key);
      const quietMs = granted?.wish === wish && granted.times > 1 ? granted.atMs + Math.min(firstPauseMs * granted.times, longestPauseMs) - now : 0;
      if (!free && quietMs > 0) {
        soonest = Math.min(soonest ?? Number.POSITIVE_INFINITY, quietMs);
        continue;
      }
      awaited ||= isAwaited(item);
      if (item.later === true && awaited) {
        const sinceMs = this.postponed.get(item.key) ?? now;
        this.postponed.set(item.key, sinceMs);
        if (now - sinceMs < laterMs) {
          soonest = Math.min(soonest ?? Number.POSITIVE_INFINITY, sinceMs + laterMs - now);
          continue;
        }
      }
      if (!free && this.running.size >= this.limit) continue;
      this.postponed.delete(item.key);
      this.begin(item, wish);
    }
    return soonest;
  }

  private begin(item: KeyedSteps, wish: string): void {
    const abort = new AbortController();
    const signal = AbortSignal.any([this.options.signal, abort.signal]);
    const ended = this.sequence(item, wish, signal).finally(() => {
      this.running.delete(item.key);
      this.options.onEnd(item);
    });
    this.running.set(item.key, { abort, ended, awaited: isAwaited(item) });
  }

  private async sequence({ key, steps }: KeyedSteps, wish: string, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options;
    for (const step of steps) {
      if (signal.aborted) return;
      const began = clock.monotonicMs();
      try {
        const act = this.options.execute(step, signal);
        await (abandoned.has(step.action) ? orAborted(act, signal) : act);
        log.debug({ task: key, step: step.action, durationMs: Math.round(clock.monotonicMs() - began) }, "step done");
      } catch (error) {
        if (signal.aborted) return;
        this.fail(key, wish, step, error);
        return;
      }
    }
    this.failed.delete(key);
    const before = this.granted.get(key);
    const atMs = clock.monotonicMs();
    const again = before?.wish === wish && atMs - before.atMs < longestPauseMs * 2;
    this.granted.set(key, { wish, times: again ? before.times + 1 : 1, atMs });
    if (this.granted.size > 10_000) this.granted.clear();
  }

  private fail(key: string, wish: string, step: Step, error: unknown): void {
    const before = this.failed.get(key);
    const attempts = before?.wish === wish ? before.attempts + 1 : 1;
    const pause = pauseMs(attempts, { firstMs: firstPauseMs, capMs: longestPauseMs, ...(this.options.random === undefined ? {} : { random: this.options.random }) });
    this.failed.set(key, { wish, attempts, notBeforeMs: this.options.clock.monotonicMs() + pause, text: messageOf(error) });
    this.options.onFail?.(key, step, messageOf(error));
    if (attempts === 1 || attempts % 10 === 0) this.options.log.warn({ task: key, step: step.action, code: errorCode(error), reason: messageOf(error), attempts }, "step failed");
  }

  /** Ends everything that runs but the sequences that only stop. Resolves when all have ended. */
  public async abort(): Promise<void> {
    const all = [...this.running.values()];
    for (const { abort } of all) abort.abort();
    await Promise.allSettled(all.map(({ ended }) => ended));
  }
}
