import type { NodeContext } from "../context.js";
import { messageOf } from "../lib/errors.js";
import { fenceMs } from "../membership/session.js";
import { asked, heldUnits, promised, quietMs } from "./plan-failsafe.js";
import { type PromiseAnswer, promiseVersion } from "./promises.js";

/** Rounds of questions while all is promised, and while something is not, ms. */
const roundMs = 1_000;
const againMs = 300;
const askMs = 900;

/** What this drives: the session's units, held over the deadline. */
export interface Holder {
  readonly generation: number;
  isStanding(): boolean;
  silentMs(): number;
  hold(generation: number, units: ReadonlyMap<string, number>): void;
}
export interface FailsafeOptions { context: Pick<NodeContext, "host" | "view" | "peers" | "clock" | "log" | "event">; session: Holder; diskProblem(): string }

/**
 * The home's side of OWNERSHIP 14: while etcd does not commit, every copy of each unit here is asked once a second for the promise not to be promoted. A unit that all have promised goes on until 5 s
 * after the question was *sent* (the promise stands for 8 s after it was received); one that lacks a promise is fenced at its own deadline.
 */
export class Failsafe {
  private state: { held: number; missing: ReadonlyMap<string, string> } | undefined;
  public rounds = 0;

  public constructor(private readonly options: FailsafeOptions) {}

  /** For people; "" while etcd commits. */
  public problem(): string {
    if (this.state === undefined) return "";
    const { held, missing } = this.state;
    const [first] = missing;
    return `${held} unit(s) at home on ${this.options.context.host.node} go on by the promise of their copies${first === undefined ? "" : `, ${missing.size} are stopped (${first[0]}: ${first[1]})`}`;
  }
  public counts(): { held: number; missing: number } {
    return { held: this.state?.held ?? 0, missing: this.state?.missing.size ?? 0 };
  }

  /** One look, and a round of questions when one is due. ms until the next. */
  public async step(signal?: AbortSignal): Promise<number> {
    const { context, session, diskProblem } = this.options;
    const { clock, host, log } = context;
    if (session.silentMs() < quietMs || !session.isStanding()) {
      if (this.state !== undefined) log.warn({ silentMs: Math.round(session.silentMs()) }, session.isStanding() ? "etcd commits again: the promises of copies are needed no more" : "nothing is held any more");
      this.state = undefined;
      return session.isStanding() ? Math.max(50, quietMs - session.silentMs()) : againMs; // etcd cannot have been silent for long enough any sooner
    }
    if (diskProblem() !== "") return againMs; // OWNERSHIP 7: who does not reach the disks must not go on
    const { generation } = session;
    const units = heldUnits(context.view.current(), host.node, generation);
    if (units.length === 0) return againMs;
    this.rounds += 1;
    const sentMs = clock.monotonicMs();
    const answers = new Map<string, { granted: ReadonlySet<string>; why(unit: string): string }>();
    await Promise.all([...asked(units)].map(async ([node, wanted]) => {
      try {
        const answer = await context.peers.call<PromiseAnswer>(node, "POST", "/peer/v1/promises", { version: promiseVersion, generation, units: wanted }, { timeoutMs: askMs, ...(signal === undefined ? {} : { signal }) });
        answers.set(node, { granted: new Set(answer.granted), why: (unit) => answer.refused[unit] ?? "no word of it" });
      } catch (error) {
        const why = messageOf(error);
        answers.set(node, { granted: new Set(), why: () => why });
      }
    }));
    const { held, missing } = promised(units, answers);
    session.hold(generation, new Map(held.map((unit) => [unit, sentMs + fenceMs])));
    this.tell(held.length, missing);
    return Math.max(50, (missing.size === 0 ? roundMs : againMs) - (clock.monotonicMs() - sentMs));
  }

  public async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options.context;
    while (!signal.aborted) {
      const pause = await this.step(signal).catch((error: unknown) => {
        log.warn({ reason: messageOf(error) }, "failsafe: round failed");
        return againMs;
      });
      await clock.sleep(pause, signal).catch(() => undefined);
    }
  }

  private tell(held: number, missing: ReadonlyMap<string, string>): void {
    const { context } = this.options;
    const before = this.state;
    this.state = { held, missing };
    if (before === undefined) context.log.warn({ held, missing: missing.size }, "etcd does not commit: units at home here need the promise of their copies");
    for (const [unit, why] of missing) if (before?.missing.has(unit) !== true) {
      context.log.warn({ unit, why }, "no promise: fenced at its deadline");
      // a copy that still sees etcd commit refuses for a moment; that is no event yet
      if (before !== undefined) context.event(unit, "promise-missing", `etcd does not commit, and ${why}`);
    }
  }
}
