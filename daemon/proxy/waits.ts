/** Requests of a unit that had waited (a hold, a move, a failover) and ended their wait within one second (UTC, by the wall clock), and those that this proxy itself failed in it. */
export interface WaitSecond { second: number; held: number; longestMs: number; failed: number }

/** So many seconds are remembered of each unit: a move is asked about right after it. */
const keptSeconds = 180;

/** What waited lately, second by second; only those in which something did. Bounded. */
export class Waits {
  private readonly seconds: WaitSecond[] = [];

  public held(ms: number, nowMs: number): void {
    const of = this.at(nowMs);
    of.held += 1;
    of.longestMs = Math.max(of.longestMs, Math.round(ms));
  }
  public failed(nowMs: number): void {
    this.at(nowMs).failed += 1;
  }
  public report(nowMs: number): WaitSecond[] {
    this.prune(nowMs);
    return this.seconds.map((of) => ({ ...of }));
  }

  private at(nowMs: number): WaitSecond {
    const second = Math.floor(nowMs / 1000);
    let last = this.seconds.at(-1);
    // a clock that steps back counts where it was
    if (last === undefined || last.second < second) {
      last = { second, held: 0, longestMs: 0, failed: 0 };
      this.seconds.push(last);
      this.prune(nowMs);
    }
    return last;
  }
  private prune(nowMs: number): void {
    const oldest = Math.floor(nowMs / 1000) - keptSeconds;
    while (this.seconds.length > keptSeconds || (this.seconds[0] !== undefined && this.seconds[0].second < oldest)) this.seconds.shift();
  }
}

export interface WaitSum { held: number; longestMs: number; failed: number }
/** Pure: all of them since a moment (the second in which it lies counts whole). */
export function sumWaits(seconds: readonly WaitSecond[], sinceMs: number): WaitSum {
  const from = Math.floor(sinceMs / 1000);
  const sum: WaitSum = { held: 0, longestMs: 0, failed: 0 };
  for (const { second, held, longestMs, failed } of seconds) {
    if (second < from) continue;
    sum.held += held;
    sum.longestMs = Math.max(sum.longestMs, longestMs);
    sum.failed += failed;
  }
  return sum;
}
