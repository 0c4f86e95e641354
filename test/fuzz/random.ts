/** Seeded random numbers (mulberry32), so that a run can be repeated from its seed. */
export class Random {
  public constructor(private state: number) {}

  /** From 0 to below 1. */
  public next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }
  /** A whole number below `limit`. */
  public below(limit: number): number {
    return Math.floor(this.next() * limit);
  }
  public chance(probability: number): boolean {
    return this.next() < probability;
  }
  public pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}
