import type { NodeContext } from "../context.js";
import { sleepUntilTick } from "../lib/clock.js";
import { errorCode, messageOf } from "../lib/errors.js";
import type { UnitRecord } from "../lib/records.js";
import type { AgentPart, Sampled } from "../parts.js";
import type { Replication } from "../replication/replication.js";
import type { ClusterState } from "../state/cluster-state.js";
import { describeUnits } from "./describe.js";
import { execute } from "./executors.js";
import type { SiteRun } from "../services/site-services.js";
import { DiskView } from "./disk-facts.js";
import { BaseWatch } from "./base-watch.js";
import { emptyMemory } from "./memory.js";
import type { NodeInput } from "./model.js";
import { unitDataset } from "./names.js";
import { type LocalFacts, lookAround, nodeInput, ServiceList, UserList } from "./observe.js";
import { planNode } from "./plan.js";
import { roleOf } from "./plan-unit.js";
import { Publisher } from "./publish.js";
import { Runner } from "./runner.js";
import { knowsStanding } from "./start-grace.js";
import type { Action, NodePlan } from "./steps.js";
import { type AgentTools, closeGate } from "./tools.js";

/** Slow tick: everything is looked at again at least this often, ms; where nothing has changed since the last look. */
const tickMs = 2_000;
const restingTickMs = 4_000;
/** A round in which nothing has changed since the last one plans and publishes nothing new; a whole one comes at least this often, ms. */
const wholeRoundMs = 30_000;
/** How often the own session is compared with the clock, ms: with the other loops of this process (failover, events, the workers' deadline). */
const fenceLookMs = 250;
/** Rest between two rounds, ms; while many sequences run. */
const roundGapMs = 20;
const manyBusy = 4;
const busyGapMs = 250;
const longestGapMs = 1_000;

const names = (record: UnitRecord, node: string): boolean => record.home === node || record.replicas.includes(node) || record.move?.target === node;

/** Parts of the picture whose change wakes the loop; maps are replaced when they change (state/apply.ts). */
const watched = ["units", "desired", "customers", "templates", "trash", "recovery"] as const;

/** Steps on a unit's way to serving: what fails there is the unit's trouble on this node. */
const bringingUp: ReadonlySet<Action> = new Set(["mount-writable", "start", "check"]);

export interface AgentParts extends Omit<AgentTools, "context" | "memory" | "replication"> { replication: Replication }

export interface Agent extends AgentPart {
  /** Looks again soon. */
  wake(): void;
  /** What the last round saw and planned. */
  last(): { input: NodeInput; plan: NodePlan } | undefined;
  /** Runs `look` after each round until it returns something. */
  untilRound<T>(look: (input: NodeInput, plan: NodePlan) => T | undefined, signal: AbortSignal): Promise<T>;
  /** Is something being done for this unit now, or was it while the last round looked? */
  isBusy(unit: string): boolean;
  /** Errors of keys that are not mended. */
  failures(): ReadonlyMap<string, string>;
}

/** The loop of one node: observe → plan → dispatch, again and again; woken by the view, by the end of a sequence, and slowly by the clock. */
export class AgentLoop implements Agent {
  private readonly stopping = new AbortController();
  private readonly signal: AbortSignal;
  private readonly tools: AgentTools;
  private readonly runner: Runner;
  private readonly publisher: Publisher;
  private readonly listeners = new Set<(input: NodeInput, plan: NodePlan) => void>();
  private readonly applied = new Map<string, string>();
  private wakers: (() => void)[] = [];
  private woken = true;
  private readonly users = new UserList();
  private readonly services = new ServiceList();
  private readonly disk: DiskView;
  private readonly base: BaseWatch;
  /** Keys whose part of the last picture was older than their last change. */
  private stale: ReadonlySet<string> = new Set();
  private count = 0;
  private seen: { input: NodeInput; plan: NodePlan } | undefined;
  private wasLive = false;
  /** The session's generation at the last round; 0: it was not live. */
  private standing = 0;
  /** Somebody has woken the loop since the last whole round; what that one saw (`sign`), and when. */
  private asked = true;
  private sign = "";
  private wholeRoundAtMs = Number.NEGATIVE_INFINITY;
  private rested = false;
  private readonly startedMs: number;
  private readonly loops: Promise<void>[];
  private readonly endWatch: () => void;

  public constructor(private readonly context: NodeContext, parts: AgentParts) {
    this.signal = AbortSignal.any([context.signal, this.stopping.signal]);
    this.startedMs = context.clock.monotonicMs();
    this.disk = new DiskView(context);
    this.tools = { ...parts, context, memory: emptyMemory(() => context.clock.monotonicMs()) };
    this.runner = new Runner({ execute: (step, signal) => execute(this.tools, step, signal), onEnd: ({ key, steps }) => {
      if (key === "node:services") this.users.forget();
      this.disk.ended(key, steps.map(({ action }) => action));
      this.wake();
    }, onFail: (key, step, text) => {
      if (bringingUp.has(step.action)) this.tools.memory.troubles.add(key, `${step.action}: ${text}`);
    }, clock: context.clock, log: context.log, signal: this.signal });
    this.publisher = new Publisher({ ...context, signal: this.signal });
    // what nodes publish of themselves changes all the time, and nothing is planned from it that cannot wait for the tick
    let before: ClusterState | undefined;
    this.endWatch = context.view.onChange((state) => {
      const changed = before === undefined || watched.some((part) => state[part] !== before?.[part]);
      if (before?.templates !== state.templates) this.disk.treeChanged();
      if (before?.units !== state.units)
        for (const unit of new Set([...state.units.keys(), ...(before?.units.keys() ?? [])])) {
          const [was, is] = [before?.units.get(unit), state.units.get(unit)];
          // what neither lies here nor shall lie here is no business of this node's disk: of many records that change at once most are others'
          if (was?.revision !== is?.revision && (this.disk.holds(unit) || [was, is].some((record) => record !== undefined && names(record.value, context.cluster.node)))) this.disk.unitChanged(unit);
        }
      before = state;
      if (changed) this.wake();
    });
    this.base = new BaseWatch({ context, onBroken: () => {
      // whoever was served through it is looked at anew
      for (const unit of this.tools.memory.checked.keys()) void closeGate(this.tools, unit);
      this.wake();
    } });
    this.loops = [this.run(), this.fence(), this.base.run(this.signal)];
  }

  public rounds(): number {
    return this.count;
  }
  public last(): { input: NodeInput; plan: NodePlan } | undefined {
    return this.seen;
  }
  public templates(): ReadonlyMap<string, string> | undefined {
    return this.seen?.input.templates;
  }
  public isBusy(unit: string): boolean {
    return this.runner.isBusy(unit) || this.stale.has(unit);
  }
  public metrics(): ReturnType<Sampled["metrics"]> {
    const sample = (name: string, value: number): { name: string; labels: Record<string, string>; value: number } => ({ name, labels: {}, value });
    return [sample("hc_agent_rounds_total", this.count), sample("hc_agent_tasks_running", this.runner.busyCount), sample("hc_agent_tasks_failing", this.runner.failures().size), sample("hc_agent_tasks_limit", this.runner.limit), sample("hc_unit_troubles_total", this.tools.memory.troubles.total), sample("hc_web_server_repairs_total", this.base.repairs), ...[...this.tools.memory.troubles.counts()].map(([unit, value]) => ({ name: "hc_unit_troubles", labels: { unit }, value }))];
  }
  public problem(): string {
    return this.base.problem();
  }
  public publishedAtMs(): number {
    return this.publisher.publishedAtMs();
  }
  public failures(): ReadonlyMap<string, string> {
    return this.runner.failures();
  }
  public wake(): void {
    this.woken = true;
    this.asked = true;
    for (const waker of this.wakers.splice(0)) waker();
  }
  public untilRound<T>(look: (input: NodeInput, plan: NodePlan) => T | undefined, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.listeners.delete(listener);
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = (): void => {
        end();
        reject(Object.assign(new Error("The wait for the agent was cancelled."), { code: "ABORTED", retry: "unknown" }));
      };
      const listener = (input: NodeInput, plan: NodePlan): void => {
        const found = look(input, plan);
        if (found === undefined) return;
        end();
        resolve(found);
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      this.listeners.add(listener);
      this.wake();
    });
  }
  public async stop(): Promise<void> {
    this.stopping.abort();
    this.endWatch();
    this.wake();
    await this.runner.abort();
    await Promise.allSettled(this.loops);
    await this.publisher.settled();
  }

  /** Live, or so shortly after the start that the session may still come. */
  private counted(): { live: boolean; known: boolean } {
    const live = this.context.session.isLive();
    if (live) this.wasLive = true;
    return { live, known: knowsStanding({ live, wasLive: this.wasLive, sinceStartMs: this.context.clock.monotonicMs() - this.startedMs, missed: this.context.fence.missed?.() ?? false }) };
  }

  private async pause(ms: number): Promise<void> {
    if (this.woken) return;
    const tick = new AbortController();
    const woken = new Promise<void>((resolve) => this.wakers.push(resolve));
    await Promise.race([woken, this.context.clock.sleep(ms, AbortSignal.any([this.signal, tick.signal])).catch(() => undefined)]);
    tick.abort();
  }

  private async run(): Promise<void> {
    let next = 0;
    while (!this.signal.aborted) {
      await this.pause(next);
      if (this.signal.aborted) return;
      this.woken = false;
      next = tickMs;
      const beganMs = this.context.clock.monotonicMs();
      try {
        next = await this.round();
      } catch (error) {
        if (this.signal.aborted) return;
        if (errorCode(error) !== "NOT_READY") this.context.log.warn({ reason: messageOf(error), code: errorCode(error) }, "round of the agent failed");
      }
      // while much is being done, what the rounds cost is taken from those who do it: then they take at most a third of the time, and one look at the disk serves several that have ended
      const gapMs = this.runner.busyCount < manyBusy ? roundGapMs : Math.min(longestGapMs, Math.max(busyGapMs, 2 * (this.context.clock.monotonicMs() - beganMs)));
      await this.context.clock.sleep(gapMs, this.signal).catch(() => undefined);
    }
  }

  /** ms until the next one, unless something wakes the loop. */
  private async round(): Promise<number> {
    const { live, known } = this.counted();
    if (!known) return fenceLookMs;
    // what the fencer has unmounted when a session was lost is told by nobody
    const standing = live ? this.context.session.generation : 0;
    if (standing !== this.standing) {
      this.disk.distrust();
      this.services.forget();
    }
    this.standing = standing;
    // what a sequence changes while the disk is looked at is seen half: its key waits for the round that its end wakes
    const busy = this.runner.busyKeys();
    const facts = await lookAround(this.context, { disk: this.disk, services: this.services, users: this.users }, live, busy, this.rested && !this.asked);
    const replicas = this.tools.replication.report();
    this.rested = this.isResting(facts, replicas);
    if (this.rested) {
      this.publisher.still();
      this.count += 1;
      return restingTickMs;
    }
    const { memory } = this.tools;
    for (const unit of memory.started.keys())
      // one that was being started when the services were looked at was not seen as it is now
      if (facts.services.get(unit) !== "active" && !busy.has(unit) && !this.runner.isBusy(unit)) {
        memory.started.delete(unit);
        memory.checked.delete(unit);
        // while the session lives nobody but this process stops a unit in order, and that is noted above
        if (live) memory.troubles.add(unit, "its container ended by itself");
      }
    // what the gate does not know of is checked anew: only a check that passes opens it
    for (const [unit, text] of memory.checked) if (this.context.gates.serving.get(unit) !== (JSON.parse(text) as SiteRun).epoch) memory.checked.delete(unit);
    // the picture is taken after the look at the disk: what the record forbids is never planned from an older record than the disk
    const input = nodeInput(this.context, facts, this.context.view.current(), memory, live && this.context.session.isLive());
    const plan = planNode(input);
    // what a unit suffered here before it went elsewhere says nothing of its next time
    const home = input.units.filter((unit) => roleOf(input.node, unit) === "home");
    const atHome = new Set(home.map(({ id }) => id));
    memory.troubles.retain(atHome);
    this.context.gates.retain(atHome);
    const stale = new Set([...busy, ...[...plan.work.map(({ key }) => key), ...input.units.map(({ id }) => id)].filter((key) => this.disk.isStale(key))]);
    this.stale = stale;
    for (const { id, local, service } of home) if ((local?.mounted !== true || service !== "active") && !this.isBusy(id)) void closeGate(this.tools, id);
    const here = input.units.filter(({ local, service }) => local?.mounted === true || service === "active");
    this.context.fence.seen(here.map(({ id }) => ({ unit: id, dataset: unitDataset(input.dataset, id), mountpoint: `${input.data}/${id}` })), (unit) => !this.isBusy(unit));
    for (const key of stale) if (plan.notes.get(key)?.severity === "error") plan.notes.delete(key);
    this.seen = { input, plan };
    const repeat = this.runner.dispatch(plan.work, stale);
    this.publisher.offer(
      describeUnits({
        input,
        plan,
        failures: this.runner.failures(),
        applied: this.applied,
        replicas: (unit) => replicas.get(unit) ?? {},
        trouble: (unit) => memory.troubles.of(unit),
        writtenBytes: (unit) => this.tools.replication.writtenBytes(unit),
      }),
    );
    this.count += 1;
    for (const listener of [...this.listeners]) listener(input, plan);
    const wait = this.disk.waitMs();
    return Math.min(tickMs, wait ?? tickMs, repeat ?? tickMs);
  }

  /** Nobody woke the loop, nothing was to be done or to be told of last time, and disk, services and copies are as they were: the round would end as the last one did. A loop's cost grows with changes, not with units. */
  private isResting(facts: LocalFacts, replicas: ReturnType<Replication["report"]>): boolean {
    const { seen, asked } = this;
    const written = seen?.input.units.map(({ id }) => this.tools.replication.writtenBytes(id));
    const sign = JSON.stringify([this.disk.version, this.standing, [...facts.services], facts.users, [...replicas], written]);
    const nowMs = this.context.clock.monotonicMs();
    const resting = !asked && seen !== undefined && this.standing !== 0 && sign === this.sign && seen.plan.work.length === 0 && seen.plan.notes.size === 0 && this.runner.busyCount === 0 && this.runner.failures().size === 0 && this.stale.size === 0 && this.disk.waitMs() === undefined && nowMs - this.wholeRoundAtMs < wholeRoundMs;
    if (resting) return true;
    this.asked = false;
    this.sign = sign;
    this.wholeRoundAtMs = nowMs;
    return false;
  }

  /** When the session dies, or a unit that was held is held no more, whatever runs is aborted and a round that only stops follows at once. */
  private async fence(): Promise<void> {
    const { session, clock, log, cluster } = this.context;
    /** undefined: everything may go on. */
    const look = (): ReadonlySet<string> | undefined => (session.isLive() ? undefined : new Set(session.held().keys()));
    let before = look();
    while (!this.signal.aborted) {
      await sleepUntilTick(clock, fenceLookMs, this.signal);
      const now = look();
      const fewer = now !== undefined && (before === undefined || [...before].some((unit) => !now.has(unit)));
      if (fewer) {
        log.error({ node: cluster.node, held: [...now] }, now.size === 0 ? "session is not live: stopping everything at home here" : "session is not live: stopping what no promise holds");
        await this.runner.abort();
      }
      if (fewer || before?.size !== now?.size) this.wake();
      before = now;
    }
  }
}
