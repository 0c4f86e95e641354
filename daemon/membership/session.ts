import { randomBytes } from "node:crypto";
import type { Clock } from "../lib/clock.js";
import { messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import { type FenceRecord, keys, recordVersion, type SessionRecord } from "../lib/records.js";
import type { Session } from "../context.js";
import type { Store } from "../state/store.js";
import { afterCommit, afterLoss, afterPromises, fenceMs, heldBy, isLive, isStanding, mayInherit, nextGeneration, noStanding, ownsUnit, type Standing } from "./standing.js";

export { fenceMs };
/** OWNERSHIP "Numbers". */
export const heartbeatMs = 1000;
export const tryMs = 400;
/** After so many tries in vain, one for each of three members of etcd, each gets twice the time: where everything is slow (a hundred sites that start), giving up early, and another TLS handshake, only makes it slower. */
const quickTries = 3;

export interface SessionOptions {
  node: string;
  store: Store;
  clock: Clock;
  log: Logger;
  /** OWNERSHIP 7: no heartbeat while this says why the disks are not trusted ("" = they answer). */
  diskProblem(): string;
  /** The fencer's order (daemon/fencer): none in tests that have no fencer. */
  fence?: {
    /** The newest generation that was ended by the fencer; it and older ones are lost. */
    lostGeneration(): number;
    /** Written before the session counts as live until then. Throws when it may not, or cannot be. */
    announce(generation: number, deadlineMs: number, held: ReadonlyMap<string, number>): void;
    /** The live generation of the process before this one, of the same boot, and until when it may live (`clock.monotonicMs`). */
    predecessor?(): { generation: number; deadlineMs: number } | undefined;
  };
  /** A generation that this node is known to have had, whatever etcd says: etcd may come from a backup. */
  knownGeneration?(): number;
  /** Called after each commit and when the session is lost. */
  onChange?(): void;
}

/**
 * This node's sign of life (OWNERSHIP 1–5); what follows from an answer and from the time is decided in standing.ts. Invariants:
 * 1. A heartbeat is a committed compare-and-swap on the record as this generation last wrote it.
 * 2. The deadline is `fenceMs` after *sending* the last heartbeat that committed; it never moves back and is never moved after it has passed.
 * 3. A generation that was lost (deadline missed, marked dead, overwritten) never renews: the next one is greater.
 * 4. After a lost answer the same heartbeat is tried again on the same revision; when the swap fails the record is read, and the heartbeat
 *    counts only when exactly it is there (DESIGN invariant 7).
 * 5. The fencer knows a deadline before this process goes by it, and what it has fenced is lost.
 * 6. Promises of all copies of a unit (daemon/failsafe) are a deadline of that unit alone. While one stands the generation is not lost, and may renew: nobody can have promoted the unit.
 * 7. While `/hc/fence/<node>` exists (`hc fence`) nothing commits.
 * 8. A control process that starts before its predecessor's deadline goes on with that generation (OWNERSHIP 6: an upgrade hands its session over): its first commit must be seen by then,
 *    and nobody has declared it dead or fenced it. Whatever goes wrong with that ends in a generation of its own.
 */
export class NodeSession implements Session {
  private standing: Standing = noStanding;
  private counter = 0;
  private revision = "0";
  private answeredAt = Number.NEGATIVE_INFINITY;
  private span = { sinceMs: Number.POSITIVE_INFINITY, untilMs: Number.NEGATIVE_INFINITY };
  /** Tries since the last answer. */
  private inVain = 0;
  private pending: { text: string; revision: string; firstSentAt: number } | undefined;
  private problemText = "no sign of life has committed yet";
  /** In each heartbeat: else one that another process of this node wrote would be taken for an own one whose answer was lost. */
  private readonly by = randomBytes(6).toString("hex");
  private inherits = true;
  private inherited = false;
  private diskTold = false;

  public constructor(private readonly options: SessionOptions) {}

  public get generation(): number {
    return this.standing.generation;
  }

  /** Is this the generation that the control process before this one had? */
  public get isInherited(): boolean {
    return this.inherited;
  }

  public isLive(): boolean {
    return isLive(this.standing, this.options.clock.monotonicMs());
  }

  public deadlineMs(): number {
    return this.standing.lost ? 0 : this.standing.deadlineMs;
  }

  public owns(unit: string): boolean {
    return ownsUnit(this.standing, unit, this.options.clock.monotonicMs());
  }

  public held(): ReadonlyMap<string, number> {
    return heldBy(this.standing, this.options.clock.monotonicMs());
  }

  /** The last time for which this session was live without a break; `untilMs` is ahead while it is. */
  public live(): { sinceMs: number; untilMs: number } {
    return this.span;
  }

  /** Since the sending of the last call of this session that etcd answered, with a commit or a refusal: what a quorum alone can do. */
  public silentMs(): number {
    return this.options.clock.monotonicMs() - this.answeredAt;
  }

  /** Live, or held by promises: this generation may still renew. */
  public isStanding(): boolean {
    return isStanding(this.standing, this.options.clock.monotonicMs());
  }

  /**
   * What all copies of these units have promised: each may go on until then (monotonic ms), if this generation still stands. A deadline is never moved back.
   * Throws what the fencer's folder says: then nothing is held.
   */
  public hold(generation: number, units: ReadonlyMap<string, number>): void {
    const next = afterPromises(this.standing, generation, units, this.options.clock.monotonicMs());
    if (next === undefined) return;
    this.options.fence?.announce(generation, next.deadlineMs, next.promises);
    this.standing = next;
    this.options.onChange?.();
  }

  /** Why the session is not live, or why its last heartbeat failed; "" when all is well. */
  public problem(): string {
    return this.problemText;
  }

  /** Revision of the own record as last committed: a guard for transactions that need this session (an election). */
  public guard(): { key: string; modRevision: string } {
    return { key: keys.session(this.options.node), modRevision: this.revision };
  }

  /** Beats until the signal fires. The last generation then simply ages: a graceful stop leaves sites running. */
  public async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.options;
    while (!signal.aborted) {
      const started = clock.monotonicMs();
      const ok = await this.beat(signal);
      // After a failure the next try starts at once at the next endpoint, but never faster than tryMs.
      const period = ok ? heartbeatMs : tryMs;
      const pause = Math.max(ok ? 0 : 50, period - (clock.monotonicMs() - started));
      await clock.sleep(pause, signal).catch(() => undefined);
    }
  }

  /** One heartbeat, or the start of a new generation. True when it committed. */
  public async beat(signal?: AbortSignal): Promise<boolean> {
    const { log, node } = this.options;
    if (!this.standing.lost && (this.options.fence?.lostGeneration() ?? 0) >= this.generation) this.lose(`generation ${this.generation} was ended by the fencer`);
    const disk = this.options.diskProblem();
    this.tellDisk(disk);
    if (disk !== "") return await this.onlyAsk(disk);
    if (!this.standing.lost && !this.isStanding()) this.lose("the deadline passed without a committed sign of life");
    try {
      if (this.standing.lost) return await this.open(signal);
      return await this.renew(signal);
    } catch (error) {
      log.debug({ err: error, node }, "heartbeat failed");
      return this.failed(messageOf(error));
    }
  }

  private async open(signal?: AbortSignal): Promise<boolean> {
    const found = await this.options.store.get(keys.session(this.options.node));
    const old = found === undefined ? undefined : (JSON.parse(found.value) as SessionRecord);
    const before = this.inherits ? this.options.fence?.predecessor?.() : undefined;
    if (before !== undefined && old !== undefined && mayInherit(before, old, this.options.fence?.lostGeneration() ?? 0, this.options.clock.monotonicMs())) {
      this.standing = { ...this.standing, generation: before.generation, deadlineMs: before.deadlineMs };
      return this.write({ generation: before.generation, counter: old.counter + 1 }, found?.modRevision ?? "0", signal);
    }
    const generation = nextGeneration(old?.generation, this.generation, this.options.fence?.lostGeneration(), this.options.knownGeneration?.());
    return this.write({ generation, counter: 1 }, found?.modRevision ?? "0", signal);
  }

  private renew(signal?: AbortSignal): Promise<boolean> {
    return this.write({ generation: this.generation, counter: this.counter + 1 }, this.revision, signal);
  }

  private async write(next: { generation: number; counter: number }, revision: string, signal?: AbortSignal): Promise<boolean> {
    const { store, clock, node, log } = this.options;
    const value: SessionRecord = { version: recordVersion, node, ...next, by: this.by };
    const sentAt = clock.monotonicMs();
    // Tries of one heartbeat are the same text on the same revision: at most one of them commits.
    const text = JSON.stringify(value);
    if (this.pending?.text !== text || this.pending.revision !== revision) this.pending = { text, revision, firstSentAt: sentAt };
    const result = await store.txn([{ key: keys.session(node), modRevision: revision }, { key: keys.fence(node), modRevision: "0" }], [{ put: keys.session(node), value: text }], { timeoutMs: this.inVain < quickTries ? tryMs : 2 * tryMs, ...(signal === undefined ? {} : { signal }) }).catch((error: unknown) => messageOf(error));
    this.inVain = typeof result === "string" ? this.inVain + 1 : 0;
    if (typeof result === "string") return this.failed(`etcd has not committed the sign of life: ${result}`);
    this.answered(sentAt);
    if (result.succeeded) return this.committed(next, result.revision, sentAt);
    const found = await store.get(keys.session(node));
    const seen = found === undefined ? undefined : (JSON.parse(found.value) as SessionRecord);
    // An earlier try whose answer was lost: it counts from when the first of them was sent.
    if (found?.value === text) return this.committed(next, found.modRevision, this.pending.firstSentAt);
    const order = await store.get(keys.fence(node));
    this.lose(order === undefined ? lossReason(seen, next.generation, this.generation) : `fenced by order: ${(JSON.parse(order.value) as FenceRecord).reason} (\`hc unfence ${node}\` lets it live again)`);
    log.warn({ node, generation: this.generation, found: seen, reason: this.problemText }, "session lost");
    return false;
  }

  private committed(next: { generation: number; counter: number }, revision: string, sentAt: number): boolean {
    const { clock, log, node } = this.options;
    const fresh = next.generation !== this.generation;
    const { late, standing } = afterCommit(this.standing, next.generation, sentAt, clock.monotonicMs());
    this.standing = { ...this.standing, generation: next.generation, promises: standing.promises };
    this.counter = next.counter;
    this.revision = revision;
    if (late) {
      this.lose("the sign of life committed after the deadline");
      return false;
    }
    try {
      this.options.fence?.announce(next.generation, standing.deadlineMs, standing.promises);
    } catch (error) {
      log.warn({ node, generation: next.generation, reason: messageOf(error) }, "a sign of life that does not count");
      return this.failed(messageOf(error));
    }
    if (this.inherits) {
      this.inherits = false;
      this.inherited = !fresh;
      if (this.inherited) log.info({ node, generation: next.generation }, "session taken over from the process before");
    }
    const now = clock.monotonicMs();
    this.span = { sinceMs: now < this.span.untilMs ? this.span.sinceMs : now, untilMs: standing.deadlineMs };
    this.standing = standing;
    this.problemText = "";
    if (fresh) log.info({ node, generation: next.generation }, "session started");
    this.options.onChange?.();
    return true;
  }

  /** The journal is where it is found out later why a node fell silent: it can tell nobody else. */
  private tellDisk(why: string): void {
    if ((why !== "") === this.diskTold) return;
    this.diskTold = why !== "";
    const { log, node } = this.options;
    if (this.diskTold) log.warn({ node, reason: why }, "no sign of life while the disks are not trusted");
    else log.warn({ node }, "the disks are trusted again");
  }

  /** No sign of life, but whether etcd is there is known all the same: a sick disk is not a loss of quorum. */
  private async onlyAsk(why: string): Promise<boolean> {
    const { store, clock, node } = this.options;
    const sentAt = clock.monotonicMs();
    await store.get(keys.session(node)).then(() => this.answered(sentAt), () => undefined);
    return this.failed(why);
  }

  private answered(sentAt: number): void {
    this.answeredAt = Math.max(sentAt, this.answeredAt);
  }

  private failed(why: string): boolean {
    this.problemText = why;
    return false;
  }

  private lose(why: string): void {
    this.problemText = why;
    this.inherits = false;
    this.inherited = false;
    this.standing = afterLoss(this.standing);
    this.span = { sinceMs: this.span.sinceMs, untilMs: Math.min(this.span.untilMs, this.options.clock.monotonicMs()) };
    this.options.onChange?.();
  }
}

function lossReason(seen: SessionRecord | undefined, tried: number, current: number): string {
  if (seen === undefined) return "the session's record is gone";
  if (seen.dead === true) return `generation ${seen.generation} was declared dead`;
  if (seen.generation !== tried) return `another hcd holds generation ${seen.generation} (this one: ${current})`;
  return "the session's record was changed by somebody else";
}

/** Settles when the session is live; looks every 50 ms. */
export async function waitLive(session: Session, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!session.isLive() && !signal.aborted) await clock.sleep(50, signal).catch(() => undefined);
}
