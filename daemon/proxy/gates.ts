import type { Clock } from "../lib/clock.js";
import { HcError } from "../lib/errors.js";

/** A hold at a worker ends by itself so long after the control process told of it last, ms: who dies while it holds leaves no closed gate behind. Longer than the fence (5 s): a control process that stood
 * still until a hold ended has lost its session, and announces no stop upon it. */
export const holdLeaseMs = 8_000;

/** Whose hold it is: a unit has one at a time, and only who closed its gate opens it again. */
export type Holder = "move" | "person";
interface Hold {
  readonly by: Holder;
  /** A worker says up to which round it has heard: what it said before says nothing of this hold. */
  readonly round: number;
  /** `hold` has its answer, drained or not: from here on no further request may run. */
  settled: boolean;
  /** Nothing is in flight. */
  drained(): void;
}

/**
 * Holds of single units at all proxy workers of this node (DESIGN §8, "holding" and "draining"). A held unit gets no new request: they wait at the edges; what runs goes on.
 * It is drained when each worker has said since the hold that nothing of it is in flight: that is the barrier, for a worker that has answered begins nothing more, unless `passes` lets it.
 */
export class Gates {
  /** By unit. */
  private readonly holds = new Map<string, Hold>();
  /** worker → unit → requests in flight, as it has said while the unit was held. */
  private readonly workers = new Map<object, Map<string, number>>();
  /** Number of the last hold. */
  private round = 0;
  private attached = false;
  private expected = 1;
  private tell: () => void = () => undefined;
  private onServing: () => Promise<void> = () => Promise.resolve();
  private hasAdopted = false;
  /** unit → the epoch in which it serves here, as this process has seen by itself; 0: it does not. Missing: it was not looked at yet. Replaced when it changes. */
  public serving: ReadonlyMap<string, number> = new Map();

  public constructor(private readonly clock: Pick<Clock, "sleep">) {}

  /**
   * Closes the gate of a unit, which stays so until `release`. Settles when nothing of it is in flight at any worker, or after `withinMs`, with the number of requests that still are
   * (1 for each worker that has not answered, or is not connected). Rejects with ABORTED when the signal fires: the hold is released then.
   */
  public async hold(unit: string, withinMs: number, signal: AbortSignal, by: Holder = "move"): Promise<number> {
    if (this.holds.has(unit)) throw new HcError("CONFLICT", `${unit} is held already.`);
    this.round += 1;
    const hold: Hold = { by, round: this.round, settled: false, drained: () => undefined };
    const drained = new Promise<void>((resolve) => {
      hold.drained = resolve;
    });
    this.holds.set(unit, hold);
    this.tell();
    this.look();
    const timer = new AbortController();
    try {
      await Promise.race([drained, this.clock.sleep(withinMs, AbortSignal.any([signal, timer.signal]))]);
      hold.settled = true; // in the same turn as the count
      return this.inFlight(unit);
    } catch (error) {
      this.release(unit, by);
      throw error;
    } finally {
      timer.abort();
    }
  }

  /** Ends the hold of `by`; nothing happens when it has none: a move that is undone must not open what a person has closed meanwhile. */
  public release(unit: string, by: Holder = "move"): void {
    if (this.holds.get(unit)?.by !== by) return;
    this.holds.delete(unit);
    for (const said of this.workers.values()) said.delete(unit);
    this.tell();
  }

  /** What the process before this one held is held again, or let go. Until then workers go on with what they were told last. */
  public adopted(): void {
    if (this.hasAdopted) return;
    this.hasAdopted = true;
    this.tell();
  }
  public get isAdopted(): boolean {
    return this.hasAdopted;
  }

  /** The unit is up, and has answered as wanted. Settles as `stops` does. */
  public async serves(unit: string, epoch: number): Promise<void> {
    if (this.serving.get(unit) !== epoch) this.serving = new Map(this.serving).set(unit, epoch);
    await this.onServing();
  }
  /** The unit is about to be stopped, or was found not to serve. Settles when the workers were told, and a process after this one would know; never rejects. */
  public stops(unit: string): Promise<void> {
    return this.serves(unit, 0);
  }
  /** Forgets all units but these. */
  public retain(units: ReadonlySet<string>): void {
    if ([...this.serving.keys()].some((unit) => !units.has(unit))) this.serving = new Map([...this.serving].filter(([unit]) => units.has(unit)));
  }

  public get lastRound(): number {
    return this.round;
  }
  /** Units whose gate is closed, for the workers. */
  public held(): string[] {
    return [...this.holds.keys()];
  }
  /** Those of them whose `hold` has no answer yet: a request of the site to itself may pass. */
  public draining(): string[] {
    return [...this.holds].flatMap(([unit, { settled }]) => (settled ? [] : [unit]));
  }

  /** The side of the workers' line. `tell`: what is held has changed. `expected`: so many workers may be running, whether their lines are there or not. `onServing`: `serving` may have changed; never rejects. */
  public attach(tell: () => void, expected: number, onServing: () => Promise<void> = () => Promise.resolve()): void {
    this.tell = tell;
    this.onServing = onServing;
    this.expected = expected;
    this.attached = true;
    this.look();
  }
  public joined(worker: object): void {
    this.workers.set(worker, new Map());
  }
  public left(worker: object): void {
    this.workers.delete(worker);
    this.look();
  }
  /** `round`: of the last hold that it had heard of; undefined: a worker of the version before. What it said before a hold says nothing of it: requests may have begun between two. */
  public said(worker: object, inFlight: Readonly<Record<string, number>>, round?: number): void {
    const known = this.workers.get(worker);
    if (known === undefined) return;
    for (const [unit, count] of Object.entries(inFlight)) {
      const hold = this.holds.get(unit);
      if (hold !== undefined && (round ?? hold.round) >= hold.round) known.set(unit, count);
    }
    this.look();
  }
  /**
   * May one request more of a held unit begin at this worker? It counts it already: `inFlight` is with it, and what it says from now on is too, until that request has ended or was given up. Yes only
   * while the hold that it has heard of (`round`, as in `said`) has not settled, which it cannot any more before the worker has said 0. After `hold` has answered: never.
   */
  public passes(worker: object, unit: string, inFlight: number, round: number): boolean {
    const known = this.workers.get(worker);
    const hold = this.holds.get(unit);
    if (known === undefined || hold === undefined || hold.settled || !(round >= hold.round) || !(inFlight > 0)) return false;
    known.set(unit, inFlight);
    return true;
  }

  private inFlight(unit: string): number {
    // before a worker's line is there, or while it is cut, those of the process before may serve all the same
    if (!this.attached) return this.expected;
    let sum = Math.max(0, this.expected - this.workers.size);
    for (const said of this.workers.values()) sum += said.get(unit) ?? 1;
    return sum;
  }
  private look(): void {
    for (const [unit, hold] of this.holds) {
      if (hold.settled || this.inFlight(unit) > 0) continue;
      hold.settled = true; // at once: a question may follow in the same turn
      hold.drained();
    }
  }
}
