import { delay } from "../lib/abort.js";
import { machineMs } from "../lib/clock.js";
import { messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { WatchdogSign } from "./parse-fence.js";
import { againMs, askedS, type Leaving, planWatchdog, type Sight, type Stake, stakeOf, watchMs } from "./plan-watchdog.js";
import type { WatchdogDevice } from "./watchdog-device.js";

/** Without an order it is asked so often whether units are mounted all the same, ms. */
const strayMs = 2_000;

export interface WatchdogOptions {
  name: string;
  device: WatchdogDevice;
  /** What the fencer knows now; read anew at each call. */
  sight(): Sight;
  /** Are units mounted here, whatever the order says? */
  strays(): Promise<boolean>;
  log: Logger;
  nowMs?: () => number;
}

/**
 * Feeds the machine's watchdog as plan-watchdog.ts says, beside the fencer's own loop: a fence that waits for a command does not keep it from looking. Invariants: 1. What is decided is done before the next look, and
 * one thing at a time: a device that hangs gets no second write. 2. Nothing throws: what fails is told, and not feeding is the safe side.
 */
export class Watchdog {
  private state: "closed" | "open" = "closed";
  private timeoutMs = askedS * 1000;
  private identity = "";
  private fed = 0;
  private fedMs: number | undefined;
  private why = "it has just started";
  private refusedUntilMs = Number.NEGATIVE_INFINITY;
  private refused = false;
  private failure = "";
  private stray: { found: boolean; atMs: number } | undefined;
  private leaving: Leaving | undefined;
  private left = false;
  private readonly nowMs: () => number;
  private readonly afterReset: boolean;

  public constructor(private readonly options: WatchdogOptions) {
    this.nowMs = options.nowMs ?? machineMs;
    this.afterReset = options.device.wasReset();
    if (this.afterReset) options.log.warn({ device: options.name }, "this boot came after a reset by the watchdog");
  }

  /** Until `signal`, or until it was left. */
  public async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.left) await delay(await this.step(), signal).catch(() => undefined);
  }

  /** What is left then is armed and closed, or disarmed: see plan-watchdog.ts. Settles when the device is closed, which takes until all is ended when the machine goes down. */
  public leave(leaving: Leaving): void {
    this.leaving = leaving;
  }
  public hasLeft(): boolean {
    return this.left;
  }

  /** One look, and what follows. ms until the next. */
  public async step(): Promise<number> {
    const { device, name, log } = this.options;
    try {
      const stake = await this.stake();
      const input = { open: this.state === "open", timeoutMs: this.timeoutMs, nowMs: this.nowMs(), stake, leaving: this.leaving };
      const step = planWatchdog(input);
      switch (step) {
        case "wait":
          if (this.state === "closed" && !this.refused) this.why = stake.kind === "unknown" ? "units are mounted that no order of hcd names" : "no sign of life has committed yet";
          break;
        case "open": await this.arm(); break;
        case "feed": await this.feed(); break;
        case "release":
        case "hand-on":
          // a closing without the magic letter is fed once more by the kernel: the next fencer has the whole timeout
          log[step === "release" && stake.kind === "none" ? "info" : "warn"]({ device: name, heir: this.leaving?.heir, atStake: stake.kind !== "none" }, step === "release" ? "the watchdog is disarmed" : "the watchdog runs on: the next fencer has to feed it");
          this.state = "closed";
          await device.close(step === "release");
          this.left = true;
          break;
        case "done": this.left = true; break;
      }
      this.failure = "";
    } catch (error) {
      const reason = messageOf(error);
      if (reason !== this.failure) log.error({ device: name, reason }, "the watchdog could not be fed");
      this.failure = reason;
    }
    return watchMs;
  }

  /** For the control process, in the fencer's sign. */
  public sign(): WatchdogSign {
    const { name } = this.options;
    return { device: name, state: this.state === "open" ? "on" : this.refused ? "refused" : "off", why: this.failure || (this.state === "open" ? "" : this.why), identity: this.identity, timeoutMs: this.timeoutMs, fed: this.fed, fedMs: this.fedMs ?? null, afterReset: this.afterReset };
  }

  private async arm(): Promise<void> {
    const { device, name, log } = this.options;
    if (this.nowMs() < this.refusedUntilMs) return;
    const prepared = await device.prepare();
    if (prepared.kind === "refused") return this.refuse(prepared.why);
    this.timeoutMs = prepared.timeoutMs;
    this.identity = prepared.identity;
    // the preparation took its time
    if (planWatchdog({ open: false, timeoutMs: this.timeoutMs, nowMs: this.nowMs(), stake: await this.stake(), leaving: this.leaving }) !== "open") return;
    try {
      await device.open();
    } catch (error) {
      const busy = (error as NodeJS.ErrnoException).code === "EBUSY";
      return this.refuse(busy ? "another program holds it (systemd's RuntimeWatchdogSec=, watchdog(8)); only one can feed it" : messageOf(error));
    }
    this.state = "open";
    this.refused = false;
    log.info({ device: name, identity: this.identity, timeoutMs: this.timeoutMs }, "the watchdog is armed");
    await this.feed();
  }

  private async feed(): Promise<void> {
    // counted from before the write: a slow one is no later than it looks
    const atMs = this.nowMs();
    await this.options.device.feed();
    this.fed += 1;
    this.fedMs = atMs;
  }

  private refuse(why: string): void {
    if (!this.refused || this.why !== why) this.options.log.error({ device: this.options.name, reason: why }, "the watchdog is not used");
    this.refused = true;
    this.why = why;
    this.refusedUntilMs = this.nowMs() + againMs;
  }

  private async stake(): Promise<Stake> {
    const sight = this.options.sight();
    if (sight.order !== undefined) this.stray = undefined;
    else if (this.stray === undefined || this.nowMs() - this.stray.atMs >= strayMs) this.stray = { found: await this.options.strays(), atMs: this.nowMs() };
    return stakeOf(sight, this.stray?.found);
  }
}
