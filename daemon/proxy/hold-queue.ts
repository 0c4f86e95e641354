import { limits } from "./limits.js";

/** A request that waits for its unit. */
export interface Waiting {
  /** Tries again: `accepted` or `refused` of its queue follows, or `left`, at once or later. */
  attempt(): void;
  /** It has waited for too long. */
  expire(): void;
}
interface Place { request: Waiting; order: number; sinceMs: number }

/**
 * Requests of one unit that nobody takes at the moment, in their order. While the unit is shut the first of them asks alone; once it is accepted the others follow, some at a time.
 * Time comes from outside: `poke` when something has changed, and every now and then.
 */
export class HoldQueue {
  private readonly places: Place[] = [];
  private readonly trying = new Map<Waiting, Place>();
  private shut = true;
  private orders = 0;
  private busy = false;
  /** Attempts since `nextTurn`; one more was asked for and had to wait for it. */
  private begun = 0;
  private postponed = false;

  /** `onSlice`: attempts are being made; `nextTurn` is to be called when others than this unit's have had their turn, for no more are made at once than `limits.begunAtOnce`. Missing: as many as there are. */
  public constructor(private readonly onSlice?: () => void) {}

  /** All that are in it: waiting, or asking. */
  public get size(): number {
    return this.places.length + this.trying.size;
  }
  public get waiting(): number {
    return this.places.length;
  }
  /** `sinceMs`: when it began to wait, for the first time. */
  public add(request: Waiting, sinceMs: number): void {
    this.orders += 1;
    this.places.push({ request, order: this.orders, sinceMs });
  }
  /** Its asker has gone, or it has ended otherwise. */
  public remove(request: Waiting): void {
    if (this.trying.delete(request)) return;
    const at = this.places.findIndex((place) => place.request === request);
    if (at >= 0) this.places.splice(at, 1);
  }
  /** Something may have changed: the first one asks, unless one does already. `moved`: the unit has another home; whoever asks the old one need not be waited for. */
  public poke(moved = false): void {
    if (this.trying.size === 0 || (moved && this.trying.size < limits.tryingPerUnit)) this.next();
  }
  /** All others have had their turn. Where nobody takes anything nothing goes on: the first one asks when it is poked. */
  public nextTurn(): void {
    const goesOn = this.postponed;
    this.begun = 0;
    this.postponed = false;
    if (goesOn) this.next();
    this.follow();
  }
  /** Since when one that asks has waited, by the clock of `add`; undefined: it does not ask. */
  public since(request: Waiting): number | undefined {
    return this.trying.get(request)?.sinceMs;
  }
  /** It has been taken, and has left the queue. */
  public accepted(request: Waiting): void {
    this.trying.delete(request);
    this.shut = false;
    this.follow();
  }
  /** It was not, and goes to its place again. */
  public refused(request: Waiting): void {
    const place = this.trying.get(request);
    this.shut = true;
    if (place === undefined) return;
    this.trying.delete(request);
    const at = this.places.findIndex((other) => other.order > place.order);
    this.places.splice(at < 0 ? this.places.length : at, 0, place);
  }
  /** Ends what has waited for too long; returns how many. */
  public expire(nowMs: number): number {
    // one that came back to the end of the queue may have waited for longer than those before it
    const isOver = ({ sinceMs }: Place): boolean => nowMs - sinceMs > limits.holdMs;
    const over = this.places.filter(isOver);
    if (over.length === 0) return 0;
    this.places.splice(0, this.places.length, ...this.places.filter((place) => !isOver(place)));
    for (const { request } of over) request.expire();
    return over.length;
  }

  private next(): void {
    if (this.begun === limits.begunAtOnce) {
      this.postponed = true;
      return;
    }
    const place = this.places.shift();
    if (place === undefined) return;
    if (this.onSlice !== undefined) {
      this.begun += 1;
      if (this.begun === 1) this.onSlice();
    }
    this.trying.set(place.request, place);
    place.request.attempt();
  }
  /** In a loop, not by recursion: at home an attempt is decided at once. */
  private follow(): void {
    if (this.busy) return;
    this.busy = true;
    while (!this.shut && !this.postponed && this.places.length > 0 && this.trying.size < limits.tryingPerUnit) this.next();
    this.busy = false;
  }
}
