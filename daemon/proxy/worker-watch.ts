import { pauseMs } from "../lib/backoff.js";

/** Beats of the control process, ms. Silence is counted in them, not in time: while the control process itself stands still, it hears nobody. */
export const beatMs = 250;
/** A worker reports every 2 s: one that was silent for so many beats (10 s) hangs. */
export const silentBeats = 40;
/** So long (30 s) none needs to be connected: one that starts on a busy node. */
export const absentBeats = 120;
/** After so many beats (10 min) without a restart the next one is the first again: longer than the longest pause. */
const calmBeats = 2_400;
const backoff = { firstMs: 20_000, capMs: 300_000 };

/** Finds workers that hang, or never come: a crashed one is started by its supervisor, which does not see those. */
export class WorkerWatch<Worker> {
  public restarts = 0;
  private readonly silent = new Map<Worker, number>();
  private absent = 0;
  private rest = 0;
  private tries = 0;
  private calm = 0;
  private busy = false;

  /** `restart` ends all workers, whatever state they are in, and starts them anew. It tells of its own failure. */
  public constructor(private readonly restart: (why: string) => Promise<void>) {}

  public joined(worker: Worker): void {
    this.silent.set(worker, 0);
    this.absent = 0;
  }
  public heard(worker: Worker): void {
    this.silent.set(worker, 0);
  }
  public left(worker: Worker): void {
    this.silent.delete(worker);
  }

  public beat(): void {
    for (const [worker, beats] of this.silent) this.silent.set(worker, beats + 1);
    this.absent = this.silent.size === 0 ? this.absent + 1 : 0;
    this.rest = Math.max(0, this.rest - 1);
    this.calm += 1;
    if (this.calm >= calmBeats) this.tries = 0;
    if (this.busy || this.rest > 0) return;
    const longest = Math.max(0, ...this.silent.values());
    const why = longest >= silentBeats ? `gave no sign for ${(longest * beatMs) / 1000} s` : this.absent >= absentBeats ? `was not there for ${(this.absent * beatMs) / 1000} s` : "";
    if (why === "") return;
    this.busy = true;
    this.calm = 0;
    this.tries += 1;
    this.restarts += 1;
    void this.restart(why).finally(() => {
      this.busy = false;
      this.absent = 0;
      this.rest = Math.ceil(pauseMs(this.tries, backoff) / beatMs);
    });
  }
}
