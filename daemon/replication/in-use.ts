/** Snapshots that a running send reads, counted: two sends may read the same one. Never pruned (DESIGN invariant 5). */
export class InUse {
  private readonly counts = new Map<string, number>();
  /** Returns the function that ends the use. */
  public use(names: readonly string[]): () => void {
    for (const name of names) this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    return () => {
      for (const name of names) {
        const left = (this.counts.get(name) ?? 1) - 1;
        if (left === 0) this.counts.delete(name);
        else this.counts.set(name, left);
      }
    };
  }
  public has(name: string): boolean {
    return this.counts.has(name);
  }
}
