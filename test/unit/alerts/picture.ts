import { describe as tell, endOf } from "../../../daemon/alerts/alert-text.js";
import { type AlertFacts, findConditions } from "../../../daemon/alerts/find-conditions.js";
import { planAlerts } from "../../../daemon/alerts/plan-alerts.js";
import { alertDefaults, type AlertThresholds } from "../../../daemon/lib/alerts-spec.js";
import type { AlertRecord, UnitRecord } from "../../../daemon/lib/records.js";
import type { ClusterState, Versioned } from "../../../daemon/state/cluster-state.js";
import { StateBuilder } from "../placement/fixture.js";

export const startMs = Date.UTC(2030, 0, 1);
const nodes = ["n1", "n2", "n3"];

/** A cluster of three nodes whose picture is changed step by step, and the leader's loop over it without any I/O. */
export class AlertWorld {
  public readonly builder = new StateBuilder();
  public readonly alive = new Set(nodes);
  public readonly alerts = new Map<string, Versioned<AlertRecord>>();
  public readonly fences = new Map<string, Versioned<{ version: number; node: string; reason: string; atMs: number }>>();
  public readonly waits = new Map<string, string>();
  public receivers: string[] = ["ops/mail"];
  public thresholds: AlertThresholds = { ...alertDefaults };
  public atMs = startMs;
  private since: ReadonlyMap<string, number> = new Map();
  private clear: ReadonlyMap<string, number> = new Map();
  private revision = 5_000;

  public constructor() {
    this.builder.cluster(nodes).customer("acme").template("php");
    for (const node of nodes) this.builder.node(node);
  }
  public sites(names: readonly string[], home: string, replica: string): this {
    for (const name of names) this.builder.site(name).unit(name, home, [replica]).confirmed(home, name, [replica]);
    return this;
  }
  public state(): ClusterState {
    return { ...this.builder.build(), alerts: this.alerts, fences: this.fences };
  }
  private dead(node: string, dead: boolean): void {
    const session = this.state().sessions.get(node) as { value: { dead?: boolean; generation: number } };
    if (dead) session.value = { ...session.value, dead: true };
    else {
      const { dead: _, ...rest } = session.value;
      session.value = { ...rest, generation: rest.generation + 1 };
    }
  }
  public die(node: string): void {
    this.alive.delete(node);
    this.dead(node, true);
  }
  public comeBack(node: string): void {
    this.alive.add(node);
    this.dead(node, false);
  }
  /** The units of a dead node get another home, and serve there when it is said. */
  public failover(names: readonly string[], from: string, to: string, lossS: number, serving = true): void {
    for (const name of names) {
      const generation = this.state().sessions.get(from)?.value.generation ?? 0;
      this.builder.unit(name, to, [from], { epoch: 2, failover: { from, generation, epoch: 2, atMs: this.atMs, lossS } });
      this.builder.observed(to, name, { epoch: 2, state: serving ? "serving" : "starting" });
    }
  }
  public record(name: string): UnitRecord {
    return this.state().units.get(`site-${name}`)?.value as UnitRecord;
  }
  public facts(): AlertFacts {
    return { state: this.state(), alive: this.alive, voters: nodes, thresholds: this.thresholds, waits: this.waits, atMs: this.atMs };
  }
  /** One round of the leader. Titles of what began and of what ended. */
  public round(): { began: AlertRecord[]; ended: AlertRecord[]; suppressed: number } {
    const facts = this.facts();
    const plan = planAlerts({ conditions: findConditions(facts), records: this.alerts, since: this.since, clear: this.clear, receivers: this.receivers, clearS: this.thresholds.clearS, atMs: this.atMs, describe: (conditions, sinceMs) => tell(facts, conditions, sinceMs), ended: (record, overMs) => endOf(facts, record, overMs) });
    this.since = plan.since;
    this.clear = plan.clear;
    const began: AlertRecord[] = [];
    const ended: AlertRecord[] = [];
    for (const { id, revision, record, event } of plan.writes) {
      expect(this.alerts.get(id)?.revision ?? "0").toBe(revision);
      this.revision += 1;
      if (record === undefined) this.alerts.delete(id);
      else this.alerts.set(id, { value: record, revision: String(this.revision) });
      if (event !== undefined && record !== undefined) (event === "alert" ? began : ended).push(record);
    }
    return { began, ended, suppressed: plan.suppressed };
  }
  /** A round a second. */
  public pass(seconds: number): { began: string[]; ended: string[] } {
    const seen = { began: [] as string[], ended: [] as string[] };
    for (let second = 0; second < seconds; second += 1) {
      this.atMs += 1_000;
      const { began, ended } = this.round();
      seen.began.push(...began.map(({ title }) => title));
      seen.ended.push(...ended.map(({ title, resolution }) => `${title} | ${resolution}`));
    }
    return seen;
  }
  /** Another leader: what it has in memory is what the one before had written down. */
  public newLeader(kept: "with its notes" | "without notes"): void {
    if (kept === "without notes") this.since = new Map();
    this.clear = new Map();
  }
  public open(): AlertRecord[] {
    return [...this.alerts.values()].map(({ value }) => value).filter(({ resolvedAtMs }) => resolvedAtMs === 0);
  }
}
