import { silenceOf } from "../failover/plan-death.js";
import { sleepUntilTick } from "../lib/clock.js";
import { surplusEvents } from "../api/events.js";
import type { NodeContext } from "../context.js";
import type { Leader } from "../membership/leader.js";
import type { Liveness } from "../membership/liveness.js";
import { isRecovering } from "../state/cluster-state.js";
import { basisOf, type PlanBasis, sameBasis } from "./plan-basis.js";
import { type ClusterPlan, planCluster, type PlannedWrite } from "./plan-cluster.js";
import { Reach } from "./reach.js";

/** Writes of one round and at once: the rest comes in the next round, from a fresh picture. */
const roundLimit = 64;
const parallel = 8;
const tickMs = 1000;
/** A picture from which nothing was to be done is planned from again after this time, ms: what goes by the calendar (marks, maintenance, the trash) waits so long at most. */
const restMs = 10_000;
const trimEveryMs = 60_000;
/** Silence after which a node's work is given to others. */
const goneMs = 60_000;
/** Silence after which copies on a node count as lost. */
const lostMs = 300_000;
/** A move that a wish orders is ordered again this long after the last order, at most two at once. */
const orderAgainMs = 60_000;
const ordersAtOnce = 2;

export interface PlannerOptions { context: NodeContext; leader: Pick<Leader, "guard">; liveness: Pick<Liveness, "alive" | "silentMs"> }

/**
 * The leader's loop: picture → pure plan → guarded transactions → until none. Each write is compared with the record it was planned from
 * and with the leader's own record (OWNERSHIP 4); a round is planned only from a picture that holds the own election and the own last writes.
 */
export class Planner {
  public writes = 0;
  private problems: ClusterPlan["problems"] = {};
  private writtenRevision = 0n;
  private trimmedMs = Number.NEGATIVE_INFINITY;
  private wake: (() => void) | undefined;
  /** From what nothing was to be done last, and when. */
  private rested: { basis: PlanBasis; atMs: number } | undefined;
  private readonly reach = new Reach();
  private readonly ordered = new Map<string, number>();
  /** Orders a move (daemon/migration); set when that has started. */
  public mover: ((unit: string, to: string, reason: string) => Promise<string>) | undefined;

  public constructor(private readonly options: PlannerOptions) {}

  /** What the last plan could not place, and why; empty on a node that does not lead. */
  public unplaced(): Readonly<Record<string, string>> {
    return this.problems;
  }

  /** One round. The number of writes that were made. */
  public async step(): Promise<number> {
    const { context, leader, liveness } = this.options;
    const guard = leader.guard();
    if (guard === undefined) {
      this.reach.clear();
      this.problems = {};
      this.rested = undefined;
      return 0;
    }
    const state = context.view.current();
    if (isRecovering(state)) return 0; // no record can be trusted: daemon/recovery makes them anew
    const seen = BigInt(state.revision);
    if (seen < BigInt(guard.modRevision) || seen < this.writtenRevision) return 0;
    const silentMs = (node: string): number => silenceOf(state.sessions.get(node)?.value, liveness.silentMs(node), context.clock.wallMs());
    const gone = new Set([...state.nodes.keys()].filter((node) => silentMs(node) > goneMs));
    const lost = new Set([...gone].filter((node) => silentMs(node) > lostMs));
    const alive = liveness.alive(state);
    const nowMs = context.clock.monotonicMs();
    const reach = this.reach.look(state, alive, nowMs);
    const basis = basisOf(state, [guard.modRevision, alive, gone, lost, reach.unreachable, reach.steady, reach.broken]);
    if (this.rested !== undefined && nowMs - this.rested.atMs < restMs && sameBasis(this.rested.basis, basis)) return 0;
    const plan = planCluster({ state, alive, gone, lost, ...reach, atMs: context.clock.wallMs() });
    this.problems = plan.problems;
    this.rested = plan.writes.length + plan.moves.length === 0 ? { basis, atMs: nowMs } : undefined;
    let made = 0;
    const todo = plan.writes.slice(0, roundLimit);
    const worker = async (): Promise<void> => {
      for (let write = todo.shift(); write !== undefined; write = todo.shift()) if (await this.apply(write, guard)) made += 1;
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    this.orderMoves(plan);
    if (context.clock.monotonicMs() - this.trimmedMs > trimEveryMs) {
      this.trimmedMs = context.clock.monotonicMs();
      const surplus = await surplusEvents(context.store);
      for (let at = 0; at < surplus.length; at += 100) await context.store.txn([guard], surplus.slice(at, at + 100).map((key) => ({ delete: key })));
    }
    return made;
  }

  public async run(signal: AbortSignal): Promise<void> {
    const { context } = this.options;
    const end = context.view.onChange(() => this.wake?.());
    try {
      while (!signal.aborted) {
        const woken = new AbortController();
        this.wake = () => woken.abort();
        await this.step().catch((error: unknown) => context.log.warn({ err: error }, "planner: round failed"));
        await sleepUntilTick(context.clock, tickMs, AbortSignal.any([signal, woken.signal]));
      }
    } finally {
      end();
    }
  }

  private orderMoves(plan: ClusterPlan): void {
    const { context } = this.options;
    const now = context.clock.monotonicMs();
    for (const [unit, at] of this.ordered) if (now - at > orderAgainMs) this.ordered.delete(unit);
    const running = [...context.view.current().units.values()].filter(({ value }) => value.move !== undefined).length;
    for (const { unit, to, reason } of plan.moves.filter((move) => !this.ordered.has(move.unit)).slice(0, Math.max(0, ordersAtOnce - running))) {
      if (this.mover === undefined) continue;
      this.ordered.set(unit, now);
      void this.mover(unit, to, reason).catch((error: unknown) => context.log.warn({ err: error, unit, to }, "a wished move could not be ordered"));
    }
  }

  private async apply(write: PlannedWrite, guard: { key: string; modRevision: string }): Promise<boolean> {
    const { context } = this.options;
    const result = await context.store.txn([guard, ...write.compare], write.ops);
    if (!result.succeeded) return false; // somebody was first: the next picture shows it
    this.writes += 1;
    if (BigInt(result.revision) > this.writtenRevision) this.writtenRevision = BigInt(result.revision);
    context.log.info({ record: write.key, why: write.why }, "planned");
    if (write.event !== undefined) context.event(write.event.unit, write.event.event, write.event.detail);
    return true;
  }
}
