import { pauseMs } from "../lib/backoff.js";

/** Beats of the control process, ms. Silence is counted in them, not in time: while the control process itself stands still, it hears nobody. */
export const beatMs = 250;
/** A worker reports every 2 s: one that was silent for so many beats (10 s) hangs. */
export const silentBeats = 40;
/** So long (30 s) one needs not be connected: it starts on a busy node. */
export const absentBeats = 120;
/** After so many beats (10 min) without a restart the next one is the first again: longer than the longest pause. */
const calmBeats = 2_400;
const backoff = { firstMs: 20_000, capMs: 300_000 };

interface Place { absent: number; rest: number; tries: number; calm: number; busy: boolean }

/** Finds workers that hang, or never come: a crashed one is started by its supervisor, which does not see those. */
export class WorkerWatch<Worker> {
  public restarts = 0;
  private readonly silent = new Map<Worker, { beats: number; name: string }>();
  private readonly places: ReadonlyMap<string, Place>;

  /** `names`: of the workers' services. `restart` ends one, whatever state it is in, and starts it anew. It tells of its own failure. */
  public constructor(names: readonly string[], private readonly restart: (name: string, why: string) => Promise<void>) {
    this.places = new Map(names.map((name) => [name, { absent: 0, rest: 0, tries: 0, calm: 0, busy: false }]));
  }

  public joined(worker: Worker, name: string): void {
    this.silent.set(worker, { beats: 0, name });
  }
  public heard(worker: Worker): void {
    const seen = this.silent.get(worker);
    if (seen !== undefined) seen.beats = 0;
  }
  public left(worker: Worker): void {
    this.silent.delete(worker);
  }

  public beat(): void {
    const longest = new Map<string, number>();
    for (const seen of this.silent.values()) {
      seen.beats += 1;
      longest.set(seen.name, Math.max(seen.beats, longest.get(seen.name) ?? 0));
    }
    for (const [name, place] of this.places) this.look(name, place, longest.get(name));
  }

  private look(name: string, place: Place, silent: number | undefined): void {
    place.absent = silent === undefined ? place.absent + 1 : 0;
    place.rest = Math.max(0, place.rest - 1);
    place.calm += 1;
    if (place.calm >= calmBeats) place.tries = 0;
    if (place.busy || place.rest > 0) return;
    const why = silent !== undefined && silent >= silentBeats ? `gave no sign for ${(silent * beatMs) / 1000} s` : place.absent >= absentBeats ? `was not there for ${(place.absent * beatMs) / 1000} s` : "";
    if (why === "") return;
    place.busy = true;
    place.calm = 0;
    place.tries += 1;
    this.restarts += 1;
    void this.restart(name, why).finally(() => {
      place.busy = false;
      place.absent = 0;
      place.rest = Math.ceil(pauseMs(place.tries, backoff) / beatMs);
    });
  }
}
