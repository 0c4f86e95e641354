/** Length of a tick, ms: time-outs of links are looked at so often, and are late by at most so much. */
const tickMs = 250;

export interface Ticked {
  /** Looks whether its time is over. */
  look(now: number): void;
  destroy(): void;
}

/** One coarse clock for all links of a worker: a timer for each socket costs more than what it guards. */
export class Ticker {
  public now = 0;
  private readonly links = new Set<Ticked>();
  private readonly timer = setInterval(() => this.tick(), tickMs);

  public constructor(private readonly each: () => void = () => undefined) {}

  public ticks(ms: number): number {
    return Math.ceil(ms / tickMs);
  }
  public add(link: Ticked): void {
    this.links.add(link);
  }
  public delete(link: Ticked): void {
    this.links.delete(link);
  }
  public get size(): number {
    return this.links.size;
  }
  public stop(): void {
    clearInterval(this.timer);
  }
  /** Ends all links. */
  public destroyAll(): void {
    for (const link of this.links) link.destroy();
  }

  private tick(): void {
    this.now += 1;
    for (const link of this.links) link.look(this.now);
    this.each();
  }
}
