import { untilTick } from "../lib/clock.js";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { type AlertRecord, keys, recordVersion } from "../lib/records.js";
import type { Sealer } from "../lib/sealed.js";
import type { Leader } from "../membership/leader.js";
import { effectiveVoters } from "../membership/plan-voters.js";
import type { Liveness } from "../membership/liveness.js";
import { type ClusterState, precedes, type Versioned } from "../state/cluster-state.js";
import type { Compare } from "../state/store.js";
import { describe, endOf, testMessage } from "./alert-text.js";
import { Deliveries, type LineReport } from "./deliveries.js";
import { type AlertFacts, findConditions } from "./find-conditions.js";
import { Heartbeats } from "./heartbeats.js";
import { isOpen, planAlerts } from "./plan-alerts.js";
import { type AlertSettings, safeReason, settingsOf } from "./receivers.js";
import { type Senders, senders as realSenders } from "./send.js";

const tickMs = 2_000;
/** A round's time, at most this part of all time: the picture of 50,000 units is looked at less often. */
const shareOfTime = 20;
/** Conditions of this age are written down for the next leader, so often at most, and at most so many (the oldest). */
const pendingAgeMs = 30_000;
const pendingEveryMs = 30_000;
const pendingLimit = 2_000;

export interface AlertsOptions {
  context: Pick<NodeContext, "store" | "view" | "clock" | "log" | "event" | "signal" | "cluster" | "host">;
  leader: Pick<Leader, "guard">;
  liveness: Pick<Liveness, "alive">;
  sealer: Sealer | undefined;
  waits(): ReadonlyMap<string, string>;
  senders?: Senders;
}
export interface AlertsReport { leader: string; alerts: AlertRecord[]; receivers: LineReport[]; heartbeats: ReturnType<Heartbeats["report"]>; thresholds: AlertSettings["thresholds"]; problems: Record<string, string> }
export interface TestResult { receiver: string; where: string; ok: boolean; error: string; ms: number }

/**
 * The leader's loop: picture → conditions → plan (both pure) → guarded writes → sending. Only who leads writes or sends; on a new leader the counting goes on where the one before wrote it down.
 */
export class Alerts {
  private readonly deliveries: Deliveries;
  private readonly heartbeats: Heartbeats;
  private since: ReadonlyMap<string, number> = new Map();
  private clear: ReadonlyMap<string, number> = new Map();
  /** Of which election what is counted here is; "" while another leads. */
  private term = "";
  private writtenRevision = 0n;
  private pendingText = "";
  private pendingMs = Number.NEGATIVE_INFINITY;
  private suppressed = 0;
  public fired = 0;

  public constructor(private readonly options: AlertsOptions) {
    const { context } = options;
    const senders = options.senders ?? realSenders;
    this.deliveries = new Deliveries(context, senders, (revision) => this.wrote(revision));
    this.heartbeats = new Heartbeats(context, senders);
  }

  public async step(): Promise<void> {
    const { context, leader, liveness } = this.options;
    const guard = leader.guard();
    if (guard === undefined) return this.rest();
    const state = context.view.current();
    // a picture that is older than the own election or the own last write shows what is over
    if (precedes(state, guard) || BigInt(state.revision) < this.writtenRevision) return;
    if (this.term !== guard.modRevision) await this.takeOver(guard);
    const settings = settingsOf(state, this.options.sealer);
    const atMs = context.clock.wallMs();
    const facts: AlertFacts = { state, alive: liveness.alive(state), voters: effectiveVoters({ configured: context.cluster.voters, members: context.cluster.members, seats: state.voters?.value.seats ?? {} }), thresholds: settings.thresholds, waits: this.options.waits(), atMs };
    const records = state.alerts ?? new Map<string, Versioned<AlertRecord>>();
    const plan = planAlerts({
      conditions: findConditions(facts), records, since: this.since, clear: this.clear, receivers: settings.receivers.map(({ name }) => name), clearS: settings.thresholds.clearS, atMs,
      describe: (conditions, sinceMs) => describe(facts, conditions, sinceMs), ended: (record, overMs) => endOf(facts, record, overMs),
    });
    this.since = plan.since;
    this.clear = plan.clear;
    this.suppressed = plan.suppressed;
    let changed = false;
    for (const { id, revision, record, event } of plan.writes) {
      const key = keys.alert(id);
      const { succeeded, revision: at } = await context.store.txn([guard, { key, modRevision: revision }], [record === undefined ? { delete: key } : { put: key, value: JSON.stringify(record) }]);
      if (!succeeded) return; // a delivery was noted meanwhile, or another leads: the next picture shows it
      changed = true;
      this.wrote(at);
      if (event === undefined || record === undefined) continue;
      if (event === "alert") this.fired += 1;
      context.log.warn({ alert: id, severity: record.severity, title: record.title }, event === "alert" ? "alert" : "alert is over");
      context.event("", event, event === "alert" ? record.title : `${record.title}: ${record.resolution}`);
    }
    await this.keepPending(guard, atMs);
    if (changed) return; // deliveries are planned from what is committed
    this.deliveries.step(records, settings.receivers, guard);
    const stuckMs = Math.min(...this.deliveries.report([...records.values()].map(({ value }) => value), settings.receivers).filter(({ waiting }) => waiting > 0).map(({ waitingSinceMs }) => waitingSinceMs), Number.POSITIVE_INFINITY);
    this.heartbeats.step(settings.heartbeats, stuckMs);
  }

  public async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options.context;
    while (!signal.aborted) {
      const started = clock.monotonicMs();
      await this.step().catch((error: unknown) => log.warn({ err: error }, "alerts: round failed"));
      await clock.sleep(Math.max(untilTick(clock, tickMs), shareOfTime * (clock.monotonicMs() - started)), signal).catch(() => undefined);
    }
    await this.settled();
  }
  public async settled(): Promise<void> {
    await Promise.allSettled([this.deliveries.settled(), this.heartbeats.settled()]);
  }

  /** What `hc alerts` shows; receivers' own state is the leader's. */
  public report(): AlertsReport {
    const state = this.options.context.view.current();
    const settings = settingsOf(state, this.options.sealer);
    const alerts = recordsOf(state);
    return { leader: state.leader?.value.node ?? "", alerts, receivers: this.deliveries.report(alerts, settings.receivers), heartbeats: this.heartbeats.report(settings.heartbeats), thresholds: settings.thresholds, problems: settings.problems };
  }

  /** Sends a test to every receiver and asks every heartbeat address, now. Throws NOT_FOUND when there is none. */
  public async test(): Promise<TestResult[]> {
    const { context, sealer, senders = realSenders } = this.options;
    const { receivers, heartbeats, problems } = settingsOf(context.view.current(), sealer);
    const [problem] = Object.entries(problems);
    if (problem !== undefined) throw new HcError("NOT_READY", `alerts ${problem[0]}: ${problem[1]}`);
    if (receivers.length + heartbeats.length === 0) throw new HcError("NOT_FOUND", "Nobody is told of alerts: declare `new Alerts(…)` with webhooks or mail in the program.");
    const message = testMessage(context.cluster.cluster, context.host.node, context.clock.wallMs());
    const timed = async (receiver: string, where: string, act: () => Promise<void>, why: (error: unknown) => string): Promise<TestResult> => {
      const started = context.clock.monotonicMs();
      const error = await act().then(() => "", why);
      return { receiver, where, ok: error === "", error, ms: Math.round(context.clock.monotonicMs() - started) };
    };
    return Promise.all([
      ...receivers.map((receiver) => timed(receiver.name, receiver.where, () => senders.tell(receiver, message, context.signal), (error) => safeReason(error, receiver))),
      ...heartbeats.map((heartbeat) => timed(`${heartbeat.name}/heartbeat`, heartbeat.where, () => senders.beat(heartbeat, context.signal), (error) => safeReason(error, heartbeat))),
    ]);
  }

  public metrics(): { name: string; labels: Record<string, string>; value: number }[] {
    const leads = this.term !== "";
    const report = leads ? this.report() : undefined;
    const open = report?.alerts.filter(isOpen) ?? [];
    const kinds = ["node-down", "unit-down", "one-copy", "quorum", "pool", "behind", "certificate"] as const;
    return [
      ...(leads ? kinds.map((kind) => ({ name: "hc_alerts_firing", labels: { kind }, value: open.filter((record) => record.kind === kind).length })) : []),
      { name: "hc_alerts_fired_total", labels: {}, value: this.fired },
      { name: "hc_alerts_suppressed", labels: {}, value: this.suppressed },
      { name: "hc_alerts_given_up_total", labels: {}, value: this.deliveries.givenUp },
      ...(report?.receivers ?? []).flatMap(({ receiver, waiting, sent, failures }) => [
        { name: "hc_alerts_waiting", labels: { receiver }, value: waiting },
        { name: "hc_alerts_sent_total", labels: { receiver }, value: sent },
        { name: "hc_alerts_send_failures_total", labels: { receiver }, value: failures },
      ]),
      ...(report?.heartbeats ?? []).flatMap(({ name, sent, failures }) => [
        { name: "hc_heartbeats_sent_total", labels: { name }, value: sent },
        { name: "hc_heartbeat_failures_total", labels: { name }, value: failures },
      ]),
    ];
  }

  private wrote(revision: string): void {
    if (BigInt(revision) > this.writtenRevision) this.writtenRevision = BigInt(revision);
  }
  private rest(): void {
    this.term = "";
    this.since = new Map();
    this.clear = new Map();
    this.suppressed = 0;
  }
  /** The first round after an election. */
  private async takeOver(guard: Compare): Promise<void> {
    const found = await this.options.context.store.get(keys.alertPending);
    const kept = found === undefined ? {} : ((JSON.parse(found.value) as { since?: Record<string, number> }).since ?? {});
    this.since = new Map(Object.entries(kept).filter(([, atMs]) => typeof atMs === "number"));
    this.clear = new Map();
    this.pendingText = found?.value ?? "";
    this.term = guard.modRevision;
  }
  private async keepPending(guard: Compare, atMs: number): Promise<void> {
    const { store, clock } = this.options.context;
    if (clock.monotonicMs() - this.pendingMs < pendingEveryMs) return;
    const old = [...this.since].filter(([, sinceMs]) => atMs - sinceMs >= pendingAgeMs).sort((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1)).slice(0, pendingLimit);
    const text = JSON.stringify({ version: recordVersion, since: Object.fromEntries(old) });
    if (text === this.pendingText || (old.length === 0 && this.pendingText === "")) return;
    const { succeeded, revision } = await store.txn([guard], [{ put: keys.alertPending, value: text }]);
    if (!succeeded) return;
    this.wrote(revision);
    this.pendingText = text;
    this.pendingMs = clock.monotonicMs();
  }
}

/** Open ones first, then the newest. */
export function recordsOf(state: ClusterState): AlertRecord[] {
  return [...(state.alerts?.values() ?? [])].map(({ value }) => value).sort((a, b) => Number(isOpen(b)) - Number(isOpen(a)) || b.firedAtMs - a.firedAtMs || (a.id < b.id ? -1 : 1));
}
