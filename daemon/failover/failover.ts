import type { NodeContext } from "../context.js";
import { pauseMs } from "../lib/backoff.js";
import { untilTick } from "../lib/clock.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { keys, type UnitRecord } from "../lib/records.js";
import type { Leader } from "../membership/leader.js";
import type { Liveness } from "../membership/liveness.js";
import { clusterSpecOf } from "../placement/candidates.js";
import { readUnitSnapshots, wireVersion } from "../replication/wire.js";
import { type ClusterState, desiredOf, fencedByPerson, isRecovering, precedes } from "../state/cluster-state.js";
import type { Compare, Op } from "../state/store.js";
import { choose, type CopyReport } from "./choose.js";
import { lastAliveMs, nextDeathMs, planDeath } from "./plan-death.js";
import { defaultFailoversPerHour, defaultPolicy, failoverRest, promoted, refusal, type Victim, victims } from "./plan-failover.js";
import { possibleLossS } from "./possible-loss.js";

const tickMs = 250;
/** Without a unit that waits it looks this often, ms; who does not lead, whether it does. */
const restingTickMs = 1_000;
/** What is due and is not done, because this node does not lead, is not asked for more often. */
const leastMs = 20;
/** Units that are sealed and written at once: what their copies' nodes do for them goes together (daemon/lib/together.ts). */
const parallel = 32;
const sealMs = 5_000;
const backoff = { firstMs: 250, capMs: 2_000 };
/** A living copy that does not answer its seal is asked so often before one is chosen without it. */
const patience = 3;

export interface FailoverOptions { context: NodeContext; leader: Pick<Leader, "guard">; liveness: Pick<Liveness, "silentMs" | "isAlive"> }
/** A person's word: this copy ("" = the best), whatever is missing on it. */
export interface PromoteOrder { to: string; reason: string }
interface Waiting { attempts: number; notBeforeMs: number; why: string }

/**
 * The leader's part in a node's death (OWNERSHIP 3, 9, 10): declares it, seals every copy that can be reached, chooses the best, and writes it into the record. Each step can be done again by
 * the next leader: a seal is a note of an owner that is dead, the record is changed by one transaction that compares record, dead session and leadership. What follows is the new home's agent's work.
 */
export class Failover {
  public deaths = 0;
  public promotions = 0;
  private readonly running = new Map<string, Promise<void>>();
  private readonly waiting = new Map<string, Waiting>();
  private writtenRevision = 0n;

  public constructor(private readonly options: FailoverOptions) {}

  public async step(): Promise<void> {
    const { context, leader, liveness } = this.options;
    const guard = leader.guard();
    if (guard === undefined) return this.waiting.clear();
    const state = context.view.current();
    // a picture that is older than the own election or the own last write shows what is over
    if (precedes(state, guard) || BigInt(state.revision) < this.writtenRevision) return;
    if (isRecovering(state)) return this.waiting.clear(); // daemon/recovery chooses, from what all disks hold
    for (const write of planDeath(state, (node) => liveness.silentMs(node), context.clock.wallMs())) {
      if (!(await this.write([guard, ...write.compare], write.ops))) continue; // it lives, or another leads
      this.deaths += 1;
      context.log.warn({ record: write.key, why: write.why }, "declared dead");
      if (write.event !== undefined) context.event(write.event.unit, write.event.event, write.event.detail);
    }
    const found = victims(state, (node) => liveness.isAlive(state, node));
    const named = new Set(found.map(({ unit }) => unit));
    for (const unit of this.waiting.keys()) if (!named.has(unit)) this.waiting.delete(unit);
    for (const victim of found) {
      if (this.running.size >= parallel) break;
      if (this.running.has(victim.unit) || (this.waiting.get(victim.unit)?.notBeforeMs ?? 0) > context.clock.monotonicMs()) continue;
      const run = this.bringBack(state, victim, guard)
        .catch((error: unknown) => this.wait(victim.unit, messageOf(error)))
        .finally(() => this.running.delete(victim.unit));
      this.running.set(victim.unit, run);
    }
  }

  /**
   * `hc promote`: brings a unit back whose home was declared dead, whatever its policy says. What became of it, for people. Throws NOT_LEADER, NOT_FOUND, CONFLICT (its home lives), INVALID_INPUT (no such
   * copy), NOT_READY (no copy to take).
   */
  public async promote(unit: string, order: PromoteOrder): Promise<{ home: string; epoch: number; detail: string }> {
    const { context, leader, liveness } = this.options;
    const guard = leader.guard();
    if (guard === undefined) throw new HcError("NOT_LEADER", `${context.host.node} is not the leader.`);
    const state = context.view.current();
    if (isRecovering(state)) throw new HcError("NOT_READY", `The cluster recovers from a break in etcd's history: ${unit} gets its home from that (\`hc quorum status\`).`);
    const record = state.units.get(unit)?.value;
    if (record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
    const victim = victims(state, (node) => liveness.isAlive(state, node)).find((one) => one.unit === unit);
    if (victim === undefined) throw new HcError("CONFLICT", record.state === "live" ? `${unit} is at home on ${record.home}, which was not declared dead: \`hc move\` changes the home of a site that lives.` : `${unit} is ${record.state}.`, { retry: "never" });
    if (order.to !== "" && !victim.copies.includes(order.to)) throw new HcError("INVALID_INPUT", `to: ${order.to} holds no copy of ${unit} that can be reached; ${victim.copies.length === 0 ? "no node does" : `these do: ${victim.copies.join(", ")}`}.`);
    await this.running.get(unit)?.catch(() => undefined);
    this.waiting.delete(unit);
    await this.bringBack(state, { ...victim, copies: order.to === "" ? victim.copies : [order.to] }, guard, order);
    const why = this.waiting.get(unit)?.why;
    if (why !== undefined) throw new HcError("NOT_READY", `${unit} was not promoted: ${why}`);
    const after = JSON.parse((await context.store.get(keys.unit(unit)))?.value ?? "null") as UnitRecord | null;
    if (after === null || after.epoch <= record.epoch) throw new HcError("CONFLICT", `${unit} changed meanwhile; look again.`);
    return { home: after.home, epoch: after.epoch, detail: `at home on ${after.home}, epoch ${after.epoch}` };
  }

  public get runningCount(): number {
    return this.running.size;
  }
  /** Why units wait for a new home, as this leader sees it. */
  public waits(): ReadonlyMap<string, string> {
    return new Map([...this.waiting].map(([unit, { why }]) => [unit, why]));
  }

  /** Looks at each change of the picture, when a death is due, each second, and four times a second while units wait for a new home, until the signal fires. */
  public async run(signal: AbortSignal): Promise<void> {
    const { context } = this.options;
    let changed: AbortController | undefined;
    const leads = (): boolean => this.options.leader.guard() !== undefined;
    const isBusy = (): boolean => leads() && this.running.size + this.waiting.size > 0;
    const end = context.view.onChange(() => {
      if (leads()) changed?.abort();
    });
    while (!signal.aborted) {
      changed = new AbortController();
      await this.step().catch((error: unknown) => context.log.warn({ err: error }, "failover: round failed"));
      // the moment of a death is not missed by a part of a tick
      await context.clock.sleep(Math.max(leastMs, Math.min(untilTick(context.clock, isBusy() ? tickMs : restingTickMs), nextDeathMs(context.view.current(), (node) => this.options.liveness.silentMs(node)))), AbortSignal.any([signal, changed.signal])).catch(() => undefined);
    }
    end();
    await this.settled();
  }
  public async settled(): Promise<void> {
    await Promise.allSettled(this.running.values());
  }

  private async write(compare: Compare[], ops: Op[]): Promise<boolean> {
    const { succeeded, revision } = await this.options.context.store.txn(compare, ops);
    if (succeeded && BigInt(revision) > this.writtenRevision) this.writtenRevision = BigInt(revision);
    return succeeded;
  }

  private wait(unit: string, why: string): void {
    const { context } = this.options;
    const before = this.waiting.get(unit);
    const attempts = (before?.attempts ?? 0) + 1;
    this.waiting.set(unit, { attempts, why, notBeforeMs: context.clock.monotonicMs() + pauseMs(attempts, backoff) });
    if (before?.why === why) return;
    context.log.warn({ unit, why }, "no new home yet");
    context.event(unit, "failover-waits", why);
  }

  private async bringBack(state: ClusterState, victim: Victim, guard: Compare, order?: PromoteOrder): Promise<void> {
    const { context } = this.options;
    const { unit, record } = victim;
    const name = record.name;
    if (victim.copies.length === 0) return this.wait(unit, record.replicas.length === 0 ? `its only copy is on ${record.home}, which is dead` : `none of ${[record.home, ...record.replicas].join(", ")}, which hold its copies, is alive`);
    const rest = failoverRest(record, context.clock.wallMs(), clusterSpecOf(state)?.settings.failoversPerHour ?? defaultFailoversPerHour);
    if (order === undefined && rest.leftMs > 0) return this.wait(unit, `it failed over ${rest.count} times in the last hour and waits ${rest.restMs / 1000} s after the last time for its home ${record.home} to come back: \`hc promote ${name}\` does not`);
    const { reports, silent, promise } = await this.seal(victim);
    if (promise !== "") return this.wait(unit, promise);
    if (order === undefined && silent.length > 0 && reports.length > 0 && (this.waiting.get(unit)?.attempts ?? 0) < patience) return this.wait(unit, `${silent.join(", ")} holds a copy and does not answer`);
    const choice = choose(record, reports, record.replicas);
    if (choice.kind === "none") return this.wait(unit, choice.why + (silent.length > 0 ? `; no answer from ${silent.join(", ")}` : ""));
    const lossS = possibleLossS({
      node: choice.node,
      last: choice.last,
      home: state.observedUnits.get(record.home)?.get(unit),
      homeNode: state.observedNodes.get(record.home),
      lastAliveMs: lastAliveMs(state.sessions.get(record.home)?.value, this.options.liveness.silentMs(record.home), context.clock.wallMs()),
      epochBeganMs: choice.whole && record.failover?.epoch === record.epoch ? record.failover.atMs : undefined,
    });
    const why = order !== undefined ? "" : refusal(desiredOf(state, "site", name)?.value.spec.failover ?? defaultPolicy, lossS, name);
    if (why !== "") return this.wait(unit, why);
    const key = keys.unit(unit);
    const next = promoted(record, choice, { generation: victim.session.generation, atMs: context.clock.wallMs(), lossS, ...(fencedByPerson(state, record.home) ? { fenced: true } : {}) });
    const compare: Compare[] = [guard, { key, modRevision: victim.revision }, { key: keys.session(record.home), modRevision: victim.session.revision }];
    if (!(await this.write(compare, [{ put: key, value: JSON.stringify(next) }]))) return; // the home came back, or somebody was first: the next picture shows it
    this.promotions += 1;
    this.waiting.delete(unit);
    context.log.warn({ unit, from: record.home, to: next.home, epoch: next.epoch, lossS }, "failover");
    const tail = choice.tail === 0 ? "" : `; ${choice.tail} snapshots of a history that lost go to its stash`;
    context.event(unit, "failover", `${record.home} is dead; home is ${next.home}, epoch ${next.epoch}, from ${choice.last.name}; at most ${lossS} s of writes are missing${tail}${order === undefined ? "" : `; ordered: ${order.reason}`}`);
  }

  /** `promise`: why a copy may not be taken yet, "" when none has promised. One that was sealed already keeps the home from getting another promise. */
  private async seal({ unit, record, session, copies }: Victim): Promise<{ reports: CopyReport[]; silent: string[]; promise: string }> {
    const { context } = this.options;
    const silent: string[] = [];
    let promise = "";
    const asked = copies.map(async (node): Promise<CopyReport[]> => {
      try {
        const answer = await context.peers.call(node, "POST", `/peer/v1/units/${unit}/seal`, { version: wireVersion, epoch: record.epoch, generation: session.generation }, { timeoutMs: sealMs, signal: context.signal });
        return [{ node, snapshots: readUnitSnapshots(answer, node).snapshots }];
      } catch (error) {
        context.log.info({ unit, peer: node, reason: messageOf(error) }, "a copy could not be sealed");
        silent.push(node);
        if (errorCode(error) === "PROMISED") promise = messageOf(error);
        return [];
      }
    });
    return { reports: (await Promise.all(asked)).flat(), silent, promise };
  }
}
