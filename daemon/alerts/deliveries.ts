import type { NodeContext } from "../context.js";
import { pauseMs } from "../lib/backoff.js";
import type { AlertRecord } from "../lib/records.js";
import { keys } from "../lib/records.js";
import type { Versioned } from "../state/cluster-state.js";
import type { Compare } from "../state/store.js";
import { messageOf } from "./alert-text.js";
import { type Delivery, nextDelivery, undelivered } from "./plan-alerts.js";
import { type Receiver, safeReason } from "./receivers.js";
import type { Senders } from "./send.js";

/** Pauses after failures: 1 s, 2 s, … 5 min. */
const backoff = { firstMs: 1_000, capMs: 300_000 };

interface Line { running: boolean; attempts: number; notBeforeMs: number; error: string; lastOkMs: number; sent: number; failures: number; /** Sent, but not noted in etcd yet: "<alert>/<state>". */ noted: Set<string> }
export interface LineReport { receiver: string; kind: Receiver["kind"]; where: string; waiting: number; waitingSinceMs: number; lastOkMs: number; error: string; sent: number; failures: number }

/**
 * The leader's sending: one message at a time to each receiver, oldest alert first, back-off per receiver. What was sent is noted in the alert's record, guarded by the election. Between a receiver's
 * answer and that note lies the one moment in which a new leader sends a second time; the message carries the same id then.
 */
export class Deliveries {
  private readonly lines = new Map<string, Line>();
  private readonly running = new Set<Promise<void>>();
  public givenUp = 0;

  public constructor(private readonly context: Pick<NodeContext, "store" | "clock" | "log" | "signal" | "cluster">, private readonly senders: Senders, private readonly wrote: (revision: string) => void) {}

  /** Starts what is due; never waits for a receiver. */
  public step(records: ReadonlyMap<string, Versioned<AlertRecord>>, receivers: readonly Receiver[], guard: Compare): void {
    const names = new Set(receivers.map(({ name }) => name));
    for (const name of this.lines.keys()) if (!names.has(name)) this.lines.delete(name);
    const { clock } = this.context;
    for (const receiver of receivers) {
      const line = this.lineOf(receiver.name);
      if (line.running || line.notBeforeMs > clock.monotonicMs()) continue;
      const next = nextDelivery([...records.values()].map(({ value }) => value), receiver.name, clock.wallMs());
      const record = next === undefined ? undefined : records.get(next.id);
      if (next === undefined || record === undefined) continue;
      line.running = true;
      const run = this.deliver(receiver, line, next, record, guard).finally(() => {
        line.running = false;
        this.running.delete(run);
      });
      this.running.add(run);
    }
  }
  public async settled(): Promise<void> {
    await Promise.allSettled(this.running);
  }

  public report(records: Iterable<AlertRecord>, receivers: readonly Receiver[]): LineReport[] {
    const all = [...records];
    return receivers.map(({ name, kind, where }) => {
      const { attempts, error, lastOkMs, sent, failures } = this.lineOf(name);
      const { count, sinceMs } = undelivered(all, name);
      return { receiver: name, kind, where, waiting: count, waitingSinceMs: Number.isFinite(sinceMs) ? sinceMs : 0, lastOkMs, error: attempts === 0 ? "" : error, sent, failures };
    });
  }

  private lineOf(name: string): Line {
    const line = this.lines.get(name) ?? { running: false, attempts: 0, notBeforeMs: 0, error: "", lastOkMs: 0, sent: 0, failures: 0, noted: new Set<string>() };
    this.lines.set(name, line);
    return line;
  }

  private async deliver(receiver: Receiver, line: Line, { id, state }: Delivery, { value, revision }: Versioned<AlertRecord>, guard: Compare): Promise<void> {
    const { store, clock, log, signal, cluster } = this.context;
    const mark = `${id}/${state}`;
    try {
      if (state === "given-up") {
        this.givenUp += 1;
        log.warn({ alert: id, receiver: receiver.name }, "an alert was given up: its receiver did not take it for a day");
      } else if (!line.noted.has(mark)) {
        await this.senders.tell(receiver, messageOf(cluster.cluster, value, state), signal);
        line.noted.add(mark);
        line.sent += 1;
        line.lastOkMs = clock.wallMs();
        log.info({ alert: id, receiver: receiver.name, state }, "alert sent");
      }
      line.attempts = 0;
    } catch (error) {
      line.failures += 1;
      line.attempts += 1;
      line.error = safeReason(error, receiver);
      line.notBeforeMs = clock.monotonicMs() + pauseMs(line.attempts, backoff);
      if (line.attempts <= 2 || line.attempts % 20 === 0) log.warn({ alert: id, receiver: receiver.name, attempts: line.attempts, reason: line.error }, "an alert could not be sent");
      return;
    }
    const key = keys.alert(id);
    const record: AlertRecord = { ...value, told: { ...value.told, [receiver.name]: { state, atMs: clock.wallMs() } } };
    const done = await store.txn([guard, { key, modRevision: revision }], [{ put: key, value: JSON.stringify(record) }]).catch(() => undefined);
    // lost or overtaken: the next look notes it, without sending it again
    if (done?.succeeded !== true) return;
    this.wrote(done.revision);
    line.noted.delete(mark);
  }
}
