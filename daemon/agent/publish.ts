import type { NodeContext } from "../context.js";
import { messageOf } from "../lib/errors.js";
import { keys, type ObservedUnit, type ObservedUnits, recordVersion, shards, unitShard } from "../lib/records.js";
import type { Op } from "../state/store.js";

/** At most one write a second, with all shards that changed since. */
const minGapMs = 1_000;

/** Publishes what this node holds, in shards (etcd's load grows with nodes and changes, not with units). */
export class Publisher {
  private wanted: ReadonlyMap<string, ObservedUnit> | undefined;
  private published: Map<number, string> | undefined;
  private lastMs = Number.NEGATIVE_INFINITY;
  private urgent = "";
  private busy: Promise<void> | undefined;
  private offeredAtMs = 0;
  private currentAtMs = 0;
  public constructor(private readonly context: Pick<NodeContext, "store" | "view" | "cluster" | "clock" | "log" | "signal">) {}

  /** The newest picture; written soon. A change of a unit's state or error is written at once, the rest within a second. */
  public offer(units: ReadonlyMap<string, ObservedUnit>): void {
    this.wanted = units;
    this.offeredAtMs = this.context.clock.wallMs();
    const facts = JSON.stringify([...units].map(([id, unit]) => [id, unit.state, unit.epoch, unit.error, unit.appliedRevision]));
    if (facts !== this.urgent) this.lastMs = Number.NEGATIVE_INFINITY;
    this.urgent = facts;
    this.busy ??= this.run().finally(() => {
      this.busy = undefined;
    });
  }
  /** It is as it was offered last: what etcd holds is right until now, when that has been written. */
  public still(): void {
    const atMs = this.context.clock.wallMs();
    if (this.wanted !== undefined || this.busy !== undefined) return;
    this.offeredAtMs = atMs;
    this.currentAtMs = atMs;
  }
  /** UTC ms at which what etcd holds was last as it really is; 0 = never yet. */
  public publishedAtMs(): number {
    return this.currentAtMs;
  }
  public async settled(): Promise<void> {
    await this.busy;
  }

  private texts(units: ReadonlyMap<string, ObservedUnit>): Map<number, string> {
    const { node } = this.context.cluster;
    const grouped = new Map<number, Record<string, ObservedUnit>>();
    for (const [id, unit] of [...units].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const shard = unitShard(id);
      const of = grouped.get(shard) ?? {};
      of[id] = unit;
      grouped.set(shard, of);
    }
    return new Map([...grouped].map(([shard, of]) => [shard, JSON.stringify({ version: recordVersion, node, shard, units: of } satisfies ObservedUnits)]));
  }

  private async run(): Promise<void> {
    const { clock, signal, cluster, store } = this.context;
    while (this.wanted !== undefined && !signal.aborted) {
      const wait = this.lastMs + minGapMs - clock.monotonicMs();
      if (wait > 0) await clock.sleep(Math.min(wait, 200), signal).catch(() => undefined);
      if (wait > 200) continue; // something urgent may have come meanwhile
      const units = this.wanted;
      const atMs = this.offeredAtMs;
      this.wanted = undefined;
      this.lastMs = clock.monotonicMs();
      try {
        this.published ??= new Map([...this.texts(this.context.view.current().observedUnits.get(cluster.node) ?? new Map())]);
        const next = this.texts(units);
        const ops = Array.from({ length: shards }, (_, shard) => shard).flatMap((shard): Op[] => {
          const text = next.get(shard);
          const key = keys.observedUnits(cluster.node, shard);
          if (text === this.published?.get(shard)) return [];
          return text === undefined ? [{ delete: key }] : [{ put: key, value: text }];
        });
        if (ops.length > 0) await store.txn([], ops);
        this.published = next;
        this.currentAtMs = atMs;
      } catch (error) {
        this.published = undefined; // what etcd has now is not known
        this.wanted ??= units;
        this.context.log.warn({ reason: messageOf(error) }, "what this node holds could not be published");
        await clock.sleep(minGapMs, signal).catch(() => undefined);
      }
    }
  }
}
