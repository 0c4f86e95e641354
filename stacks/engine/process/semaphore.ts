/** At most `size` at a time, in the order of asking. */
export class Semaphore {
  private running = 0;
  private readonly waiting: (() => void)[] = [];
  public constructor(private readonly size: number) {}

  public async run<T>(act: () => Promise<T>): Promise<T> {
    if (this.running >= this.size) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running += 1;
    try {
      return await act();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running -= 1;
      else next();
    }
  }
}
