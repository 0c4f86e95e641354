import { delay } from "./abort.js";
import { errorCode, HcError } from "./errors.js";

export interface BackoffOptions {
  /** First pause in ms (default 50). */
  firstMs?: number;
  /** Longest pause in ms (default 2000). */
  capMs?: number;
  /** Deadline for all attempts together, in ms. */
  withinMs: number;
  signal?: AbortSignal;
  random?: () => number;
  nowMs?: () => number;
}

/** The pause before attempt `n` (1-based after the first failure): full jitter over an exponential, see AWS "Exponential Backoff And Jitter". */
export function pauseMs(attempt: number, options: Pick<BackoffOptions, "firstMs" | "capMs" | "random">): number {
  const ceiling = Math.min(options.capMs ?? 2000, (options.firstMs ?? 50) * 2 ** Math.min(attempt - 1, 20));
  return ceiling / 2 + (options.random ?? Math.random)() * (ceiling / 2);
}

/**
 * Repeats `act` while it throws an error whose `retry` is "transient", until `withinMs` has passed.
 * Every retrying loop of the project is this one.
 */
export async function retry<T>(what: string, options: BackoffOptions, act: (attempt: number) => Promise<T>): Promise<T> {
  const now = options.nowMs ?? (() => performance.now());
  const end = now() + options.withinMs;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await act(attempt);
    } catch (error) {
      if (errorCode(error) === undefined || (error as HcError).retry !== "transient") throw error;
      const pause = pauseMs(attempt, options);
      if (now() + pause > end)
        throw new HcError("TIMEOUT", `${what}: gave up after ${attempt} attempts in ${options.withinMs} ms: ${(error as Error).message}`, { cause: error });
      await delay(pause, options.signal);
    }
  }
}

/** Waits until `look` returns something other than undefined; looks again after the back-off's pauses. Errors of `look` end the wait. */
export function until<T>(what: string, options: BackoffOptions, look: () => Promise<T | undefined>): Promise<T> {
  return retry(what, options, async () => {
    const seen = await look();
    if (seen === undefined) throw new HcError("NOT_READY", `${what}: not yet.`);
    return seen;
  });
}
