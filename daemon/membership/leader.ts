import { type Clock, sleepUntilTick } from "../lib/clock.js";
import { keys, type LeaderRecord, recordVersion } from "../lib/records.js";
import type { Logger } from "../lib/log.js";
import type { ClusterState, Versioned, View } from "../state/cluster-state.js";
import type { Compare, Store } from "../state/store.js";
import type { Session } from "../context.js";
import type { Liveness } from "./liveness.js";

export interface GuardedSession extends Session { guard(): Compare }

export interface LeaderOptions {
  node: string;
  store: Store;
  view: View;
  session: GuardedSession;
  liveness: Liveness;
  clock: Clock;
  log: Logger;
}

/** Pure: may `node` stand for election? Only when the record names nobody, a generation that is over, or a node that was silent too long. */
export function leaderIsGone(state: ClusterState, isAlive: (node: string) => boolean): boolean {
  const leader = state.leader?.value;
  if (leader === undefined) return true;
  const session = state.sessions.get(leader.node)?.value;
  return session === undefined || session.dead === true || session.generation !== leader.generation || !isAlive(leader.node);
}

/**
 * One leader by compare-and-swap on `/hc/leader`, guarded by the own session in the same transaction (OWNERSHIP 4). Whoever takes
 * over changes the record, so every write that is guarded by the record's revision (`guard()`) of the one before fails.
 */
export class Leader {
  /** Won by this process. */
  public elections = 0;
  private won: Versioned<LeaderRecord> | undefined;

  public constructor(private readonly options: LeaderOptions) {}

  /** The guard of the planner's writes, or undefined when this node does not lead now. */
  public guard(): Compare | undefined {
    const { session, view, node } = this.options;
    if (this.won === undefined || !session.isLive() || session.generation !== this.won.value.generation) return undefined;
    const seen = view.current().leader;
    // The view may lag behind the own election, never be ahead of it with another name.
    if (seen !== undefined && BigInt(seen.revision) > BigInt(this.won.revision)) return undefined;
    if (seen !== undefined && seen.revision === this.won.revision && seen.value.node !== node) return undefined;
    return { key: keys.leader, modRevision: this.won.revision };
  }

  public isLeader(): boolean {
    return this.guard() !== undefined;
  }

  /** Looks, and stands for election when the place is free. True when this node leads afterwards. */
  public async step(): Promise<boolean> {
    const { session, view, node, store, liveness, log } = this.options;
    if (this.isLeader()) return true;
    this.won = undefined;
    if (!session.isLive()) return false;
    const state = view.current();
    const mine = state.leader?.value;
    const isOwnPast = mine?.node === node && mine.generation === session.generation;
    if (!isOwnPast && !leaderIsGone(state, (name) => liveness.isAlive(state, name))) return false;
    const record: LeaderRecord = { version: recordVersion, node, generation: session.generation, term: (mine?.term ?? 0) + 1 };
    const compare = [{ key: keys.leader, modRevision: state.leader?.revision ?? "0" }, session.guard()];
    const result = await store.txn(compare, [{ put: keys.leader, value: JSON.stringify(record) }]).catch(() => undefined);
    if (result?.succeeded !== true) return false; // lost answer: the view shows the record, and isOwnPast stands again
    this.won = { value: record, revision: result.revision };
    this.elections += 1;
    log.info({ node, term: record.term }, "leader elected");
    return true;
  }

  public async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.step().catch((error: unknown) => this.options.log.warn({ err: error }, "election failed"));
      await sleepUntilTick(this.options.clock, 500, signal);
    }
  }

  /** Graceful shutdown: the next election need not wait for silence. */
  public async resign(): Promise<void> {
    const guard = this.guard();
    if (guard === undefined) return;
    this.won = undefined;
    await this.options.store.txn([guard], [{ delete: keys.leader }], { timeoutMs: 1000 }).catch(() => undefined);
  }
}
