import { limits } from "./limits.js";
import type { Spool } from "./spool.js";

/** Pure: must a body make place, which keeps so many bytes where room is scarce, and of which so many came within so long? It does when it would need more than `spoolTurnMs` to fill its room again at that pace. */
export const makesPlace = (scarceBytes: number, cameBytes: number, tookMs: number): boolean => cameBytes * limits.spoolTurnMs < scarceBytes * tookMs;

/** Lets the sender of a body wait while too much of it lies before the disk. */
export function holdBack(spool: Pick<Spool, "congested" | "onChange">, pace: Pace, sender: { pause(): void; resume(): void }): void {
  if (!spool.congested) return;
  sender.pause();
  pace.pause();
  spool.onChange(() => {
    pace.resume();
    sender.resume();
  });
}

/**
 * How fast a body comes that is being gathered, in turns of `paceMs`: while room is scarce one that trickles must not keep it from all others. It is asked with each piece and needs no clock of its own: whose
 * pieces come more seldom than every `bodyIdleMs` is ended by that, so nobody keeps scarce room for longer than the two times together.
 */
export class Pace {
  /** Of this turn, by performance.now() as all times here. */
  private sinceMs: number;
  private sizeBefore = 0;
  private pausedMs = 0;

  public constructor(private readonly spool: Pick<Spool, "size" | "scarceBytes">, nowMs = performance.now()) {
    this.sinceMs = nowMs;
  }
  /** We make the sender wait: until `resume` the time is not his. */
  public pause(nowMs = performance.now()): void {
    this.pausedMs = nowMs;
  }
  public resume(nowMs = performance.now()): void {
    this.sinceMs += nowMs - this.pausedMs;
  }
  /** A piece has come. */
  public isTooSlow(nowMs = performance.now()): boolean {
    const { spool, sizeBefore } = this;
    const tookMs = nowMs - this.sinceMs;
    if (tookMs < limits.paceMs) return false;
    this.sinceMs = nowMs;
    this.sizeBefore = spool.size;
    return makesPlace(spool.scarceBytes, spool.size - sizeBefore, tookMs);
  }
}
