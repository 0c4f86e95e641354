import type { MetricSample } from "./replication.js";

/** Counters of one node, by name and labels. */
export class Counters {
  private readonly values = new Map<string, MetricSample>();
  public add(name: string, labels: Readonly<Record<string, string>>, amount = 1): void {
    const key = `${name}${JSON.stringify(labels)}`;
    const seen = this.values.get(key);
    this.values.set(key, { name, labels, value: (seen?.value ?? 0) + amount });
  }
  public samples(): MetricSample[] {
    return [...this.values.values()];
  }
}
