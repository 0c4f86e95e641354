import type { AlertRecord, UnitRecord } from "../lib/records.js";
import { desiredOf, fencedByPerson } from "../state/cluster-state.js";
import { type AlertFacts, casualties, type Condition, copiesWanted, deadNodes, livingCopies, unitDown, votersUp } from "./find-conditions.js";
import type { AlertText } from "./plan-alerts.js";

/** Names in one list: the rest is a number. */
const named = 20;
const lineLimit = 400;

const count = (many: number, what: string): string => `${many} ${what}${many === 1 ? "" : "s"}`;
export const span = (seconds: number): string => (seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`);
export const time = (atMs: number): string => `${new Date(atMs).toISOString().slice(0, 19).replace("T", " ")} UTC`;
const list = (names: readonly string[]): string => (names.length <= named ? names.join(", ") : `${names.slice(0, named).join(", ")} and ${names.length - named} more`);
const nameOf = (unit: string): string => unit.replace(/^site-/, "");
const customerOf = ({ state }: AlertFacts, unit: string): string => desiredOf(state, "site", nameOf(unit))?.value.spec.customer ?? "";
/** Errors of programs are many lines of anything. */
const plain = (text: string): string => text.replace(/[\p{Cc}\s]+/gu, " ").slice(0, lineLimit);

/** Pure: conditions of one group → what people read. */
export function describe(facts: AlertFacts, conditions: readonly Condition[], sinceMs: number): AlertText {
  const [first] = conditions as [Condition, ...Condition[]];
  const { thresholds } = facts;
  const lines = conditions.slice(0, named).map(({ subject, text }) => `${nameOf(subject)}${customerOf(facts, subject) === "" ? "" : ` (customer ${customerOf(facts, subject)})`}: ${plain(text)}`);
  if (conditions.length > named) lines.push(`and ${conditions.length - named} more`);
  const since = `Since ${time(sinceMs)}.`;
  const text = (severity: AlertText["severity"], title: string, command: string, more: string[] = []): AlertText => ({ severity, title, command, detail: [since, ...more, ...lines].join("\n"), also: [] });
  const many = conditions.length;
  const one = nameOf(first.subject);
  switch (first.kind) {
    case "node-down": return describeDeath(facts, first.subject, sinceMs);
    case "unit-down": {
      const home = first.group.slice("unit-down/".length);
      const customers = new Set(conditions.map(({ subject }) => customerOf(facts, subject)).filter((name) => name !== ""));
      return text("critical", many === 1 ? `${one} has been down for ${span(thresholds.downS)} on ${home}` : `${many} sites of ${count(customers.size, "customer")} have been down for ${span(thresholds.downS)} on ${home}`, `hc why ${one}`);
    }
    case "one-copy": return text("warning", `${many === 1 ? `${one} has` : `${many} sites have`} had only one copy for ${span(thresholds.oneCopyS)}`, many === 1 ? `hc site show ${one}` : "hc status", ["What dies with that copy is lost."]);
    case "quorum": return text("warning", `${first.text}: one more loss and nothing can be changed or failed over`, "hc doctor");
    case "pool": return text(first.text.includes("DEGRADED") ? "warning" : "critical", `${first.subject}: ${first.text}`, `hc ssh ${first.subject} zpool status -v`);
    case "behind": {
      const node = first.group.slice("behind/".length);
      return text("warning", many === 1 ? `the copy of ${one} on ${node} is more than ${span(thresholds.behindS)} behind` : `${many} copies on ${node} are more than ${span(thresholds.behindS)} behind`, `hc site show ${one}`);
    }
    case "certificate": {
      const critical = conditions.some(({ text }) => text.startsWith("has expired"));
      return text(critical ? "critical" : "warning", many === 1 ? `the certificate for ${first.subject} ${first.text.split(": ")[0]}` : `${many} certificates need a person${critical ? ", some have expired" : ""}`, "hc certificates");
    }
    default: return first.kind satisfies never;
  }
}

function describeDeath(facts: AlertFacts, node: string, sinceMs: number): AlertText {
  const { state, waits } = facts;
  const { moved, starting, waiting } = casualties(facts, node);
  const all = moved.length + waiting.length;
  const unserved = starting.length + waiting.length;
  const lossS = Math.max(0, ...moved.map(({ failover }) => failover?.lossS ?? 0));
  const isBack = state.sessions.get(node)?.value.dead !== true;
  const byHome = new Map<string, string[]>();
  for (const record of moved) byHome.set(record.home, [...(byHome.get(record.home) ?? []), record.name]);
  const homes = [...byHome].sort(([a], [b]) => (a < b ? -1 : 1));
  const where = homes.map(([home]) => home).join(", ");
  const died = `${node} died${isBack ? " and is back" : ""}`;
  const missing = `at most ${lossS} s of writes are missing`;
  const title = all === 0 ? `${died}: no site was at home there`
    : unserved === 0 ? `${died}: ${all === 1 ? "its site runs" : `its ${all} sites run`} on ${where} now, ${missing}`
      : `${died}: ${unserved} of its ${count(all, "site")} ${unserved === 1 ? "is" : "are"} not served${moved.length === starting.length ? "" : `, the others run on ${where}, ${missing}`}`;
  const detail = [`${node} was declared dead at ${time(sinceMs)}.`];
  for (const [home, names] of homes) detail.push(`Now on ${home}: ${list(names.sort())}.`);
  if (moved.length > 0) detail.push(lossS === 0 ? "No write is missing." : `At most ${lossS} s of writes are missing (${[...moved].sort((a, b) => (b.failover?.lossS ?? 0) - (a.failover?.lossS ?? 0))[0]?.name}); what ${node} had written beyond goes to its stash when it is back.`);
  for (const record of waiting.slice(0, named)) detail.push(`Not served: ${record.name}: ${plain(waits.get(record.unit) ?? "waits for a new home")}`);
  for (const record of starting.slice(0, named)) detail.push(`Not served yet: ${record.name}, starting on ${record.home}.`);
  if (unserved > named) detail.push(`Not served in all: ${unserved}.`);
  const lonely = onCopies(facts);
  if (lonely > 0) detail.push(`${count(lonely, "site")} ${lonely === 1 ? "has" : "have"} one copy left until ${node} is back or copies are made elsewhere.`);
  const up = votersUp(facts).length;
  if (up > 0 && up < facts.voters.length && up === Math.floor(facts.voters.length / 2) + 1) detail.push(`etcd has ${up} of ${facts.voters.length} voters: one more loss and nothing can be changed or failed over.`);
  return { severity: unserved > 0 ? "critical" : "warning", title, detail: detail.join("\n"), command: waiting[0] === undefined ? "hc status" : `hc why ${waiting[0].name}`, also: [...waiting, ...starting].map(({ unit }) => unitDown(unit)) };
}
function onCopies(facts: AlertFacts): number {
  const { state } = facts;
  const lonely = ({ value }: { value: UnitRecord }): boolean => value.state === "live" && copiesWanted(state, value) > 1 && livingCopies(facts, value, state.observedUnits.get(value.home)?.get(value.unit)).length === 1;
  return [...state.units.values()].filter(lonely).length;
}

/** Pure: how an alert ended. */
export function endOf(facts: AlertFacts, record: AlertRecord, overMs: number): string {
  const lasted = `It lasted ${span((overMs - record.sinceMs) / 1000)}.`;
  const subject = record.group.slice(record.group.indexOf("/") + 1);
  switch (record.kind) {
    case "node-down": {
      if (!facts.state.nodes.has(subject)) return `${subject} was taken out of the cluster. ${lasted}`;
      if (fencedByPerson(facts.state, subject)) return `${subject} is fenced by a person now. ${lasted}`;
      const dead = deadNodes(facts.state).filter((node) => node !== subject);
      return `${subject} is back. ${lasted}${dead.length === 0 ? "" : ` Still away: ${dead.join(", ")}.`}`;
    }
    case "unit-down": return `All of them serve again. ${lasted}`;
    case "one-copy": return `All of them have another copy again. ${lasted}`;
    case "quorum": return `etcd can lose a voter again. ${lasted}`;
    case "pool": return `The pool is well again. ${lasted}`;
    case "behind": return `All of them are in step again. ${lasted}`;
    case "certificate": return `All of them are good again. ${lasted}`;
    default: return record.kind satisfies never;
  }
}

/** What a receiver gets: the body of a webhook, and what a mail is made of. Kept stable: properties are added, never renamed. */
export interface AlertMessage {
  version: 1;
  cluster: string;
  /** The same for all that is told of one alert. */
  id: string;
  state: "firing" | "resolved" | "test";
  kind: AlertRecord["kind"] | "test";
  severity: "warning" | "critical";
  title: string;
  /** All of it, for people and for chat programs that show `text`. */
  text: string;
  since: string;
  firedAt: string;
  /** "" while it lasts. */
  resolvedAt: string;
  command: string;
}
export function messageOf(cluster: string, record: AlertRecord, state: "firing" | "resolved"): AlertMessage {
  const { id, kind, severity, command } = record;
  const title = state === "resolved" ? `resolved: ${record.title}` : record.title;
  const iso = (atMs: number): string => (atMs === 0 ? "" : new Date(atMs).toISOString());
  const text = [`[${cluster}] ${title}`, "", ...(state === "resolved" ? [record.resolution, ""] : []), record.detail, ...(state === "firing" ? ["", `Next: ${command}`] : [])].join("\n");
  return { version: 1, cluster, id, state, kind, severity, title, text, since: iso(record.sinceMs), firedAt: iso(record.firedAtMs), resolvedAt: iso(record.resolvedAtMs), command };
}
export function testMessage(cluster: string, node: string, atMs: number): AlertMessage {
  const at = new Date(atMs).toISOString();
  const title = "test of alerts";
  return { version: 1, cluster, id: `test.${atMs}`, state: "test", kind: "test", severity: "warning", title, text: `[${cluster}] ${title}\n\nSent by ${node}, as it would send an alert. Nothing is wrong.`, since: at, firedAt: at, resolvedAt: "", command: "hc alerts" };
}
