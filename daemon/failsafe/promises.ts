import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { failuresText, validate } from "../lib/schema.js";
import type { Seal } from "../replication/seal.js";
import { promiseMs, refusal, seesQuorum, standingPromise } from "./plan-failsafe.js";

export const promiseVersion = 1;
/** Units of one question. */
const maxUnits = 10_000;
const schema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "generation", "units"],
  properties: {
    version: { type: "integer", minimum: 1, maximum: promiseVersion },
    generation: { type: "integer", minimum: 1 },
    units: { type: "array", maxItems: maxUnits, items: { type: "object", additionalProperties: false, required: ["unit", "epoch"], properties: { unit: { type: "string", pattern: "^[a-z][a-z0-9-]{1,40}$" }, epoch: { type: "integer", minimum: 0 } } } },
  },
} as const;

/** Answer to `POST /peer/v1/promises`: units that this node will not let be promoted for 8 s, and why not the others. */
export interface PromiseAnswer { version: number; granted: string[]; refused: Record<string, string> }

/**
 * The copy's side of OWNERSHIP 14. A promise and a seal exclude each other: both are decided in this process, in one turn of its loop.
 * Promises are kept in memory; that those of an earlier process are not known is what `graceMs` is for.
 */
export class Promises {
  private readonly given = new Map<string, number>();
  private readonly startedMs: number;
  public constructor(private readonly context: Pick<NodeContext, "host" | "view" | "session" | "clock">, private readonly sealOf: (unit: string) => Seal | undefined) {
    this.startedMs = context.clock.monotonicMs();
  }

  /** `POST /peer/v1/promises`, from a home that etcd does not answer. Throws INVALID_INPUT. */
  public answer(body: unknown, from: string): PromiseAnswer {
    const failures = validate(schema, body);
    if (failures.length > 0) throw new HcError("INVALID_INPUT", `This question for promises cannot be used: ${failuresText(failures)}`);
    const { generation, units } = body as { generation: number; units: { unit: string; epoch: number }[] };
    const { host, view, session, clock } = this.context;
    const nowMs = clock.monotonicMs();
    const answer: PromiseAnswer = { version: promiseVersion, granted: [], refused: {} };
    const quorum = seesQuorum(session.silentMs()) ? `etcd commits on ${host.node}` : "";
    for (const [unit, untilMs] of this.given) if (untilMs <= nowMs) this.given.delete(unit);
    const state = view.current();
    for (const { unit, epoch } of units) {
      const why = quorum || refusal(state, host.node, { unit, epoch, from, generation }, this.sealOf(unit));
      if (why !== "") {
        answer.refused[unit] = why;
        continue;
      }
      this.given.set(unit, nowMs + promiseMs);
      answer.granted.push(unit);
    }
    return answer;
  }

  /** Throws PROMISED while this unit's home may still count on this copy. */
  public assertNone(unit: string): void {
    const stands = standingPromise(this.given.get(unit), this.startedMs, this.context.clock.monotonicMs());
    if (stands === undefined) return;
    const { node } = this.context.host;
    const left = `another ${Math.max(0.1, stands.leftMs / 1000).toFixed(1)} s`;
    throw new HcError("PROMISED", stands.why === "promised" ? `${node} has promised the home of ${unit} not to take it for ${left}.` : `hcd on ${node} has just started, and may have promised ${unit} to its home before: ${left}.`);
  }

  /** Promises that stand. */
  public count(): number {
    const nowMs = this.context.clock.monotonicMs();
    return [...this.given.values()].filter((untilMs) => untilMs > nowMs).length;
  }
}
