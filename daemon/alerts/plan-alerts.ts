import { type AlertRecord, recordVersion } from "../lib/records.js";
import type { Versioned } from "../state/cluster-state.js";
import type { Condition, Conditions } from "./find-conditions.js";

/** Bounds: alerts that are open at once, conditions that one names, alerts that are kept after they were over and for how long. */
export const openLimit = 100;
export const coverLimit = 1_000;
export const keptLimit = 100;
const keptMs = 30 * 86_400_000;
/** Within this time after its end an alert of the same group counts as the same one coming back, and it must be over twice as long. */
const flapMs = 3_600_000;
const clearCapMs = 3_600_000;
const giveUpMs = 86_400_000;

/** What an alert says. */
export interface AlertText { severity: AlertRecord["severity"]; title: string; detail: string; command: string; /** Keys of other conditions that it has told of too. */ also: string[] }
export interface AlertInput {
  conditions: Conditions;
  records: ReadonlyMap<string, Versioned<AlertRecord>>;
  /** Condition → since when, UTC ms; as the last plan gave it, or the leader before left it. */
  since: ReadonlyMap<string, number>;
  /** Open alert → since when nothing of it holds any more. */
  clear: ReadonlyMap<string, number>;
  /** Who is to be told. */
  receivers: readonly string[];
  clearS: number;
  /** UTC ms. */
  atMs: number;
  describe(conditions: readonly Condition[], sinceMs: number): AlertText;
  /** How it ended, and when nothing of it held any more. */
  ended(record: AlertRecord, overMs: number): string;
}
export interface AlertPlan {
  since: Map<string, number>;
  clear: Map<string, number>;
  /** `revision` "0": a new one. */
  writes: { id: string; revision: string; record: AlertRecord | undefined; event?: "alert" | "alert-over" }[];
  /** Groups that are to be told and are not, since too many alerts are open. */
  suppressed: number;
}

export const isOpen = (record: AlertRecord): boolean => record.resolvedAtMs === 0;

/**
 * Pure: conditions and known alerts → what begins, what is over, what is forgotten. Invariants: a condition is told by at most one open alert; conditions of one group that come together come as one;
 * nothing begins or ends by what nobody can know; every list has a limit.
 */
export function planAlerts(input: AlertInput): AlertPlan {
  const { conditions, records, atMs } = input;
  const since = new Map<string, number>();
  for (const key of [...conditions.found.keys(), ...conditions.unknown]) {
    const before = input.since.get(key);
    // a clock that was set back makes nothing younger than now
    if (before !== undefined || conditions.found.has(key)) since.set(key, Math.min(before ?? atMs, atMs));
  }
  const plan: AlertPlan = { since, clear: new Map(), writes: [], suppressed: 0 };
  const open = [...records.values()].filter(({ value }) => isOpen(value));
  for (const alert of open) follow(input, alert, plan);
  begin(input, open.map(({ value }) => value), plan);
  forget(input, plan);
  return plan;
}

/** An open alert: who is to be told of it, and whether it is over. */
function follow({ conditions, receivers, clear, clearS, atMs, ended }: AlertInput, { value: record, revision }: Versioned<AlertRecord>, plan: AlertPlan): void {
  const own = record.covers.filter((key) => key === record.kind || key.startsWith(`${record.kind}/`));
  const holds = own.some((key) => conditions.found.has(key) || conditions.unknown.has(key)) || (record.all && [...conditions.found.values()].some(({ group }) => group === record.group));
  const fresh = receivers.filter((name) => record.told[name] === undefined);
  const told = fresh.length === 0 ? record.told : { ...record.told, ...Object.fromEntries(fresh.map((name) => [name, { state: "" as const, atMs }])) };
  if (!holds) {
    const clearMs = Math.min(clear.get(record.id) ?? atMs, atMs);
    plan.clear.set(record.id, clearMs);
    if (atMs - clearMs >= Math.min(clearS * 1000 * 2 ** Math.min(record.flaps, 12), clearCapMs)) {
      plan.writes.push({ id: record.id, revision, record: { ...record, told, resolvedAtMs: atMs, resolution: ended(record, clearMs) }, event: "alert-over" });
      return;
    }
  }
  if (fresh.length > 0) plan.writes.push({ id: record.id, revision, record: { ...record, told } });
}

function begin({ conditions, records, receivers, atMs, describe }: AlertInput, open: readonly AlertRecord[], plan: AlertPlan): void {
  const covered = new Set(open.flatMap(({ covers }) => covers));
  const allOf = new Set(open.filter(({ all }) => all).map(({ group }) => group));
  const groups = new Map<string, Condition[]>();
  const take = (condition: Condition): void => void groups.set(condition.group, [...(groups.get(condition.group) ?? []), condition]);
  const elapsedMs = ({ key }: Condition): number => atMs - (plan.since.get(key) ?? atMs);
  for (const condition of conditions.found.values()) if (!covered.has(condition.key) && !allOf.has(condition.group)) take(condition);
  let count = open.length;
  // a node's death first: what it tells of is not told again
  for (const [group, members] of [...groups].sort(([a], [b]) => Number(b.startsWith("node-down/")) - Number(a.startsWith("node-down/")) || (a < b ? -1 : 1))) {
    const left = members.filter(({ key }) => !covered.has(key));
    if (!left.some((condition) => elapsedMs(condition) >= condition.holdS * 1000)) continue;
    if (count >= openLimit) {
      plan.suppressed += 1;
      continue;
    }
    count += 1;
    // one cause rarely strikes all at the same second: who is half way there comes with the first
    const due = left.filter((condition) => elapsedMs(condition) >= condition.holdS * 500).sort((a, b) => (a.key < b.key ? -1 : 1));
    const [first] = due as [Condition, ...Condition[]];
    const sinceMs = Math.min(...due.map(({ key }) => plan.since.get(key) ?? atMs));
    const { also, ...text } = describe(due, sinceMs);
    const covers = [...due.map(({ key }) => key), ...also];
    for (const key of covers) covered.add(key);
    const id = `${group.replaceAll("/", ".")}.${atMs}`;
    const before = [...records.values()].filter(({ value }) => value.group === group && !isOpen(value) && atMs - value.resolvedAtMs < flapMs).sort((a, b) => b.value.resolvedAtMs - a.value.resolvedAtMs)[0]?.value;
    const record: AlertRecord = {
      version: recordVersion, id, kind: first.kind, group, ...text, sinceMs, firedAtMs: atMs, resolvedAtMs: 0, resolution: "", covers: covers.slice(0, coverLimit), all: covers.length > coverLimit,
      flaps: before === undefined ? 0 : before.flaps + 1, told: Object.fromEntries(receivers.map((name) => [name, { state: "" as const, atMs }])),
    };
    plan.writes.push({ id, revision: "0", record, event: "alert" });
  }
}

/** What is over long ago, or too much. */
function forget({ records, atMs }: AlertInput, plan: AlertPlan): void {
  const over = [...records.values()].filter(({ value }) => !isOpen(value)).sort((a, b) => b.value.resolvedAtMs - a.value.resolvedAtMs);
  for (const [at, { value, revision }] of over.entries()) if (at >= keptLimit || atMs - value.resolvedAtMs > keptMs) plan.writes.push({ id: value.id, revision, record: undefined });
}

export interface Delivery { id: string; receiver: string; state: "firing" | "resolved" | "given-up" }
/**
 * Pure: what a receiver is to be told next, oldest alert first. An alert that was over before it could be told is told once, as over. Nobody who comes later is told what is over.
 * A day after its end an untold alert is given up.
 */
export function nextDelivery(records: Iterable<AlertRecord>, receiver: string, atMs: number): Delivery | undefined {
  for (const record of [...records].sort((a, b) => a.firedAtMs - b.firedAtMs || (a.id < b.id ? -1 : 1))) {
    const state = record.told[receiver]?.state;
    if (state === undefined || state === "resolved" || state === "given-up" || (isOpen(record) && state === "firing")) continue;
    const late = !isOpen(record) && atMs - record.resolvedAtMs > giveUpMs;
    return { id: record.id, receiver, state: late ? "given-up" : isOpen(record) ? "firing" : "resolved" };
  }
  return undefined;
}
/** Pure: alerts that this receiver has still to be told, and since when the oldest of them waits (UTC ms). */
export function undelivered(records: Iterable<AlertRecord>, receiver: string): { count: number; sinceMs: number } {
  const waiting = [...records].filter((record) => ["", ...(isOpen(record) ? [] : ["firing"])].includes(record.told[receiver]?.state ?? "none"));
  return { count: waiting.length, sinceMs: Math.min(...waiting.map((record) => (record.told[receiver]?.state === "" ? record.firedAtMs : record.resolvedAtMs)), Number.POSITIVE_INFINITY) };
}
