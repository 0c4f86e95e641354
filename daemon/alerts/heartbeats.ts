import type { NodeContext } from "../context.js";
import { type Heartbeat, safeReason } from "./receivers.js";
import type { Senders } from "./send.js";

/** An alert that nobody took for so long stops the heartbeat: then the switch outside tells people, ms. */
export const stuckMs = 300_000;

interface Beat { nextMs: number; running: boolean; lastOkMs: number; error: string; sent: number; failures: number }

/**
 * The dead man's switch: the leader asks an address elsewhere. It says "etcd commits, somebody leads, and alerts reach their receivers"; whoever hears it no more alarms people by other means. A beat that
 * fails is not repeated before the next is due.
 */
export class Heartbeats {
  private readonly beats = new Map<string, Beat>();
  private readonly running = new Set<Promise<void>>();
  private withheld = "";

  public constructor(private readonly context: Pick<NodeContext, "clock" | "log" | "signal">, private readonly senders: Senders) {}

  /** `undeliveredSinceMs`: since when the oldest alert waits for a receiver, UTC ms; Infinity: none waits. */
  public step(heartbeats: readonly Heartbeat[], undeliveredSinceMs: number): void {
    const { clock, log, signal } = this.context;
    const names = new Set(heartbeats.map(({ name }) => name));
    for (const name of this.beats.keys()) if (!names.has(name)) this.beats.delete(name);
    this.withheld = clock.wallMs() - undeliveredSinceMs > stuckMs ? "an alert could not be told for five minutes" : "";
    if (this.withheld !== "") return;
    for (const heartbeat of heartbeats) {
      const beat = this.beatOf(heartbeat.name);
      if (beat.running || clock.monotonicMs() < beat.nextMs) continue;
      beat.nextMs = clock.monotonicMs() + heartbeat.everyS * 1000;
      beat.running = true;
      const run = this.senders.beat(heartbeat, signal).then(
        () => {
          beat.sent += 1;
          beat.lastOkMs = clock.wallMs();
          beat.error = "";
        },
        (error: unknown) => {
          beat.failures += 1;
          if (beat.error === "") log.warn({ heartbeat: heartbeat.name, reason: safeReason(error, heartbeat) }, "the heartbeat was not taken");
          beat.error = safeReason(error, heartbeat);
        },
      ).finally(() => {
        beat.running = false;
        this.running.delete(run);
      });
      this.running.add(run);
    }
  }
  public async settled(): Promise<void> {
    await Promise.allSettled(this.running);
  }
  public report(heartbeats: readonly Heartbeat[]): { name: string; where: string; everyS: number; lastOkMs: number; error: string; withheld: string; sent: number; failures: number }[] {
    return heartbeats.map(({ name, where, everyS }) => {
      const { lastOkMs, error, sent, failures } = this.beatOf(name);
      return { name, where, everyS, lastOkMs, error, withheld: this.withheld, sent, failures };
    });
  }
  private beatOf(name: string): Beat {
    const beat = this.beats.get(name) ?? { nextMs: 0, running: false, lastOkMs: 0, error: "", sent: 0, failures: 0 };
    this.beats.set(name, beat);
    return beat;
  }
}
