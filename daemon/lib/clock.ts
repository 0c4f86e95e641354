import { delay } from "./abort.js";

/** Time is injected: the monotonic clock for every decision, the wall clock only for people. */
export interface Clock {
  /** Monotonic milliseconds. */
  monotonicMs(): number;
  /** UTC milliseconds, for display and snapshot names. */
  wallMs(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
/** ms until the next tick: the next whole multiple of `everyMs` that is at least half of that away. */
export function untilTick(clock: Pick<Clock, "monotonicMs">, everyMs: number): number {
  const left = everyMs - (clock.monotonicMs() % everyMs);
  return left < everyMs / 2 ? left + everyMs : left;
}
/** What a loop that looks every so often waits for between two looks: the next tick, or the signal. All loops of a process wake it together. Never throws. */
export const sleepUntilTick = (clock: Pick<Clock, "monotonicMs" | "sleep">, everyMs: number, signal: AbortSignal): Promise<void> => clock.sleep(untilTick(clock, everyMs), signal).catch(() => undefined);
export const systemClock: Clock = { monotonicMs: () => performance.now(), wallMs: () => Date.now(), sleep: delay };

/**
 * Milliseconds of the machine's monotonic clock (CLOCK_MONOTONIC, clock_gettime(2)): the same in all processes of a node, unlike
 * `performance.now()`, which counts from the start of its process. Whatever one process tells another is counted by this.
 */
export const machineMs = (): number => Math.floor(performance.now() + sinceBootMs);
/** `performance.now()` reads the same clock, without a bigint for each reading: several are asked for with each request. */
const sinceBootMs = ((): number => {
  let best = { offset: 0, width: Number.POSITIVE_INFINITY };
  // a process that stood still between the two readings would be wrong for its whole life
  for (let tries = 0; tries < 100 && best.width > 0.05; tries += 1) {
    const before = performance.now();
    const at = Number(process.hrtime.bigint()) / 1e6;
    const width = performance.now() - before;
    if (width < best.width) best = { offset: at - before, width };
  }
  return best.offset;
})();
