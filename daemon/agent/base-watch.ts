import type { NodeContext } from "../context.js";
import { pauseMs } from "../lib/backoff.js";
import { sleepUntilTick } from "../lib/clock.js";
import { messageOf } from "../lib/errors.js";

const everyMs = 5_000;
/** Looks in a row without an answer before something is done: a reload or a busy moment is no crash. */
const patience = 2;
const backoff = { firstMs: 5_000, capMs: 120_000 };

/**
 * The web server that all sites of this node share. A crashed one is started by its supervisor; this sees the one that is stopped, hangs, or listens no more, and starts it anew, with a growing pause.
 * While that does not help, `onBroken` is told at each try: the sites' own checks then fail, and are counted (troubles.ts).
 */
export class BaseWatch {
  public repairs = 0;
  private missed = 0;
  private tries = 0;
  private notBeforeMs = 0;
  private text = "";

  public constructor(private readonly options: { context: Pick<NodeContext, "services" | "clock" | "log" | "event" | "host">; onBroken(): void }) {}

  /** What a person should know, "" when it answers. */
  public problem(): string {
    return this.text;
  }

  public async run(signal: AbortSignal): Promise<void> {
    if (this.options.context.services.baseAnswers === undefined) return;
    while (!signal.aborted) {
      await this.look().catch((error: unknown) => this.options.context.log.warn({ reason: messageOf(error) }, "the web server could not be looked at"));
      await sleepUntilTick(this.options.context.clock, everyMs, signal);
    }
  }

  /** One look; true when it answers. */
  public async look(): Promise<boolean> {
    const { context, onBroken } = this.options;
    if ((await context.services.baseAnswers?.()) !== false) {
      if (this.tries > 0) context.log.info({ tries: this.tries }, "the web server answers again");
      this.missed = 0;
      this.tries = 0;
      this.text = "";
      return true;
    }
    this.missed += 1;
    if (this.missed < patience || context.clock.monotonicMs() < this.notBeforeMs) return false;
    this.tries += 1;
    this.repairs += 1;
    this.notBeforeMs = context.clock.monotonicMs() + pauseMs(this.tries, backoff);
    context.log.warn({ tries: this.tries }, "the web server does not answer: it is started anew");
    context.event("", "web-server-restarted", `${context.host.node}: it did not answer for ${(this.missed * everyMs) / 1000} s`);
    try {
      await context.services.repairBase?.();
      this.text = "";
    } catch (error) {
      this.text = `the web server does not answer after ${this.tries} restarts: ${messageOf(error)}`;
      onBroken();
    }
    return false;
  }
}
