/** What became of one request. `status` 0: no answer, `error` says why. `atMs`: UTC ms at which it was sent. */
export interface Outcome { atMs: number; tookMs: number; status: number; error: string; /** Of an answer of the probe site (stacks/content/probe); "" and 0 from others. */ node: string; epoch: number }

export interface Failures { what: string; count: number; firstMs: number; lastMs: number }
export interface TallyReport {
  asked: number;
  well: number;
  failed: number;
  perSecond: number;
  /** Of good answers, ms; null without one. */
  ms: { median: number; p95: number; p99: number; longest: number; longestAtMs: number } | null;
  /** Longest time in which no good answer came, and when it began. */
  gap: { ms: number; fromMs: number };
  status: Record<string, number>;
  failures: Failures[];
  /** In the order of their first answer. */
  homes: { node: string; epoch: number; firstMs: number }[];
}

/** Kinds of failure and homes that are told apart; more are counted together. */
const keptKinds = 20;
const keptHomes = 100;

/** Sums up the outcomes of one URL, in the order in which they end. Bounded: times are counted by whole milliseconds, of which there are as many as the deadline has. */
export class Tally {
  private readonly times = new Map<number, number>();
  private readonly status: Record<string, number> = {};
  private readonly failures = new Map<string, Failures>();
  private readonly homes = new Map<string, { node: string; epoch: number; firstMs: number }>();
  private asked = 0;
  private well = 0;
  private longest = { ms: -1, atMs: 0 };
  private gap = { ms: 0, fromMs: 0 };
  private lastWellMs: number;

  /** `expected`: the status that is well; 0: any below 400. */
  public constructor(private readonly startMs: number, private readonly expected: number) {
    this.lastWellMs = startMs;
    this.gap.fromMs = startMs;
  }

  public add(outcome: Outcome): void {
    this.asked += 1;
    const key = outcome.status === 0 ? "none" : String(outcome.status);
    this.status[key] = (this.status[key] ?? 0) + 1;
    const endMs = outcome.atMs + outcome.tookMs;
    const what = this.fault(outcome);
    if (what !== "") {
      this.fail(what, outcome.atMs);
      return;
    }
    this.well += 1;
    const ms = Math.round(outcome.tookMs);
    this.times.set(ms, (this.times.get(ms) ?? 0) + 1);
    if (outcome.tookMs > this.longest.ms) this.longest = { ms: outcome.tookMs, atMs: outcome.atMs };
    this.widen(endMs);
    this.lastWellMs = Math.max(this.lastWellMs, endMs);
    const home = `${outcome.node} ${outcome.epoch}`;
    if (outcome.node !== "" && !this.homes.has(home) && this.homes.size < keptHomes) this.homes.set(home, { node: outcome.node, epoch: outcome.epoch, firstMs: endMs });
  }

  public report(nowMs: number): TallyReport {
    this.widen(nowMs);
    return {
      asked: this.asked,
      well: this.well,
      failed: this.asked - this.well,
      perSecond: nowMs > this.startMs ? (this.asked * 1000) / (nowMs - this.startMs) : 0,
      ms: this.well === 0 ? null : { median: this.share(0.5), p95: this.share(0.95), p99: this.share(0.99), longest: Math.round(this.longest.ms), longestAtMs: this.longest.atMs },
      gap: { ...this.gap },
      status: { ...this.status },
      failures: [...this.failures.values()],
      homes: [...this.homes.values()],
    };
  }

  private fault({ status, error }: Outcome): string {
    if (error !== "") return status === 0 ? error : `${status}: ${error}`;
    return (this.expected === 0 ? status < 400 : status === this.expected) ? "" : String(status);
  }
  private fail(what: string, atMs: number): void {
    const key = this.failures.has(what) || this.failures.size < keptKinds ? what : "others";
    const seen = this.failures.get(key);
    if (seen === undefined) this.failures.set(key, { what: key, count: 1, firstMs: atMs, lastMs: atMs });
    else Object.assign(seen, { count: seen.count + 1, lastMs: Math.max(seen.lastMs, atMs) });
  }
  private widen(untilMs: number): void {
    if (untilMs - this.lastWellMs > this.gap.ms) this.gap = { ms: untilMs - this.lastWellMs, fromMs: this.lastWellMs };
  }
  /** Smallest time within which so large a share of the good answers came (nearest rank). */
  private share(part: number): number {
    let left = Math.max(1, Math.ceil(this.well * part));
    for (const [ms, count] of [...this.times].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left <= 0) return ms;
    }
    return 0;
  }
}
