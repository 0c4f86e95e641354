import { delay } from "./abort.js";

/** Time is injected: the monotonic clock for every decision, the wall clock only for people. */
export interface Clock {
  /** Monotonic milliseconds. */
  monotonicMs(): number;
  /** UTC milliseconds, for display and snapshot names. */
  wallMs(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
export const systemClock: Clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now(), sleep: delay };
