import { type Clock, sleepUntilTick } from "../lib/clock.js";
import type { Logger } from "../lib/log.js";
import { type EventRecord, keys, recordVersion } from "../lib/records.js";
import type { Store } from "../state/store.js";

/** History for people, bounded: what is queued here, and what stands in etcd (trimmed by the leader), in all and of one unit: one that flaps does not push out the history of others. */
export const eventLimit = 1000;
export const eventsPerUnit = 200;
const queueLimit = 200;
const detailLimit = 500;
/** Below etcd's limit of 128 operations. */
const batchLimit = 50;

/** Writes events in the background, oldest first; without quorum up to 200 wait, then the oldest are dropped and counted. */
export class EventWriter {
  private readonly queue: EventRecord[] = [];
  private number = 0;
  private running = false;
  private added: (() => void) | undefined;
  public dropped = 0;

  public constructor(private readonly store: Store, private readonly node: string, private readonly clock: Clock, private readonly log: Logger) {}

  public add(unit: string, event: string, detail: string): void {
    this.log.info({ unit, event, detail }, "event");
    this.queue.push({ version: recordVersion, atMs: this.clock.wallMs(), node: this.node, unit, event, detail: detail.slice(0, detailLimit) });
    if (this.queue.length > queueLimit) {
      this.queue.shift();
      this.dropped += 1;
    }
    this.added?.();
  }

  public get waiting(): number {
    return this.queue.length;
  }

  /** Empties the queue once; stops at the first failure. */
  public async flush(): Promise<void> {
    if (this.running) return;
    this.running = true;
    try {
      while (this.queue.length > 0) {
        // a node that dies leaves an event of each of its units: one transaction of many is written in the time of one
        const batch = this.queue.slice(0, batchLimit);
        const ops = batch.map((event) => {
          this.number += 1;
          return { put: keys.event(`${String(event.atMs).padStart(13, "0")}-${this.node}-${String(this.number).padStart(6, "0")}`), value: JSON.stringify(event) };
        });
        await this.store.txn([], ops);
        // the oldest may have been dropped meanwhile
        while (this.queue[0] !== undefined && batch.includes(this.queue[0])) this.queue.shift();
      }
    } catch (error) {
      this.log.debug({ err: error }, "events wait for quorum");
    } finally {
      this.running = false;
    }
  }

  public async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => this.added?.();
    signal.addEventListener("abort", stop, { once: true });
    while (!signal.aborted) {
      await this.flush();
      if (this.queue.length === 0 && !signal.aborted) await new Promise<void>((resolve) => (this.added = resolve));
      this.added = undefined;
      // more may come at once, and what etcd has not taken waits
      await sleepUntilTick(this.clock, 250, signal);
    }
    signal.removeEventListener("abort", stop);
    await this.flush();
  }
}

const prefix = "/hc/event/";
/** `id` sorts by time; it names the event for whoever asks again. */
export interface ListedEvent extends EventRecord { id: string }

/** Newest last; `sinceMs`: not older than that, UTC ms. */
export async function readEvents(store: Store, options: { unit: string | null; limit: number; sinceMs?: number }): Promise<ListedEvent[]> {
  const { items } = await store.list(prefix);
  const all = items.map((item): ListedEvent => ({ ...(JSON.parse(item.value) as EventRecord), id: item.key.slice(prefix.length) }));
  return all.filter((event) => (options.unit === null || event.unit === options.unit) && event.atMs >= (options.sinceMs ?? 0)).slice(-options.limit);
}

/** The leader's part: keys of the events that are too many. */
export async function surplusEvents(store: Store): Promise<string[]> {
  return planTrim((await store.list(prefix)).items);
}

/** Pure: oldest first in, the keys that go. Events of no unit are the cluster's, and count as one. */
export function planTrim(items: readonly { key: string; value: string }[]): string[] {
  const perUnit = new Map<string, number>();
  const kept: string[] = [];
  const gone: string[] = [];
  for (const { key, value } of [...items].reverse()) {
    const { unit } = JSON.parse(value) as EventRecord;
    const seen = (perUnit.get(unit) ?? 0) + 1;
    perUnit.set(unit, seen);
    (seen > (unit === "" ? eventLimit : eventsPerUnit) || kept.length >= eventLimit ? gone : kept).push(key);
  }
  return gone;
}
