import { undelivered } from "../alerts/plan-alerts.js";
import { certificatesOf, needsPerson } from "../certificates/certificate-status.js";
import type { AlertsSpec } from "../lib/alerts-spec.js";
import type { Status, StatusNode, StatusUnit } from "../lib/status.js";
import { maintenanceOf } from "../lib/records.js";
import { defaultReplaceAfterMs } from "../membership/plan-voters.js";
import { clusterSpecOf } from "../placement/candidates.js";
import { unseenS } from "../failover/possible-loss.js";
import { rpoOf, waitMs } from "../replication/rpo.js";
import type { StatusFacts } from "./status.js";

type Attention = Status["attention"][number];
/** A replica that lags more than this is told to a person, unless nothing fails and its unit may lag more (`rpoS`). */
const lagWarnS = 60;
/** An alert that a receiver does not take for so long needs a person, ms. */
const untoldMs = 300_000;
/** Certificates that are named one by one. */
const certificateLimit = 20;
const fullWarn = 0.85;
const fullCritical = 0.95;

/** Will another node take the missing vote (membership/plan-voters.ts)? */
function voteText({ state, voters }: StatusFacts, nodes: readonly StatusNode[]): string {
  const missing = nodes.filter((node) => voters.includes(node.name) && !(node.etcd.role === "voter" && node.etcd.healthy)).map(({ name }) => name).join(", ");
  const afterS = clusterSpecOf(state)?.settings.etcd.replaceAfterS ?? defaultReplaceAfterMs / 1000;
  if (afterS === 0) return `the program keeps the vote for ${missing} (replaceAfterS: 0)`;
  const spare = nodes.some((node) => node.alive && !node.drained && !voters.includes(node.name) && state.removals?.has(node.name) !== true);
  return spare ? `another node takes the vote of ${missing} when it was away for ${afterS} s` : `there is no other node that could take the vote of ${missing}`;
}

/** Pure: what needs a person, worst first, each with the next command to type. */
export function attentionOf(facts: StatusFacts, nodes: readonly StatusNode[], units: readonly StatusUnit[]): Attention[] {
  const found: Attention[] = [];
  const add = (severity: Attention["severity"], what: string, command: string): void => void found.push({ severity, what, command });
  const recovery = facts.state.recovery?.value;
  if (recovery?.state === "recovering") add("critical", `recovery: ${recovery.reason}; no site is served until every node has told what its disk holds`, "hc quorum status");
  if ((facts.noQuorum ?? "") !== "") add("critical", facts.noQuorum as string, "hc doctor");
  const votersUp = nodes.filter((node) => facts.voters.includes(node.name) && node.etcd.role === "voter" && node.etcd.healthy).length;
  const needed = Math.floor(facts.voters.length / 2) + 1;
  if (votersUp === needed && facts.voters.length > votersUp && votersUp > 0) add("warning", `etcd has ${votersUp} of ${facts.voters.length} voters: one more loss and nothing can be changed; ${voteText(facts, nodes)}`, "hc doctor");
  for (const node of nodes) {
    if (node.removing) {
      add("warning", `node ${node.name} is taken out of the cluster: take its Host and ZfsPool out of the program too`, `hc node remove ${node.name}`);
      if (!node.alive) continue;
    }
    if (!node.alive) {
      const order = facts.state.fences?.get(node.name)?.value;
      if (order !== undefined) add("warning", `node ${node.name} is fenced: ${order.reason}`, `hc unfence ${node.name}`);
      else add("critical", `node ${node.name} gives no sign of life${node.lastSeenS >= 0 ? ` for ${node.lastSeenS} s` : ""}`, `hc doctor ${node.name}`);
      continue;
    }
    if (node.pool !== null && node.pool.health !== "ONLINE") add(node.pool.health === "DEGRADED" ? "warning" : "critical", `pool ${node.pool.name} of ${node.name} is ${node.pool.health}`, `hc ssh ${node.name} zpool status -v`);
    if (node.pool === null && node.role === "node") add("critical", `node ${node.name} has no pool`, `hc doctor ${node.name}`);
    const used = node.pool === null || node.pool.sizeBytes === "0" ? 0 : 1 - Number(node.pool.freeBytes) / Number(node.pool.sizeBytes);
    if (used >= fullWarn) add(used >= fullCritical ? "critical" : "warning", `pool of ${node.name} is ${Math.round(used * 100)} % full`, "hc units");
    for (const problem of facts.state.observedNodes.get(node.name)?.problems ?? []) add("warning", `${node.name}: ${problem}`, `hc doctor ${node.name}`);
  }
  const rpoS = rpoOf(facts.state);
  for (const unit of units) {
    if (unit.state === "down") add("critical", `${unit.id} is down: its home ${unit.home} does not serve it`, `hc why ${unit.name}`);
    else if (unit.state === "failed") add("critical", `${unit.id} failed on ${unit.home}${unit.error === "" ? "" : `: ${unit.error}`}`, `hc why ${unit.name}`);
    else if (unit.error !== "") add("warning", `${unit.id}: ${unit.error}`, `hc why ${unit.name}`);
    const hold = maintenanceOf(facts.state.units.get(unit.id)?.value, facts.atMs);
    if (hold !== undefined) add("warning", `${unit.id} is held for maintenance for ${Math.ceil((hold.untilMs - facts.atMs) / 1000)} s more${hold.reason === "" ? "" : `: ${hold.reason}`}; its requests wait, and fail after 30 s`, `hc release ${unit.name}`);
    if (unit.state === "deleting" || unit.state === "creating") continue;
    // what waits for its snapshot at the worst moment, and what no look could have seen (failover/possible-loss.ts)
    const waitsS = waitMs(rpoS(unit.id)) === 0 ? 0 : Math.ceil(waitMs(rpoS(unit.id)) / 1000) + unseenS;
    if (unit.failover?.policy === "safe" && unit.replicas.length > 0 && waitsS > unit.failover.maxLossS) add("warning", `${unit.id} may have ${waitsS} s of writes that no copy has (rpoS ${rpoS(unit.id)}), more than its failover accepts by itself (maxLossS ${unit.failover.maxLossS}): it would wait for a person; raise the one or lower the other`, `hc site show ${unit.name}`);
    for (const replica of unit.replicas) {
      if (replica.state === "away") continue; // told at the node
      const error = facts.state.observedUnits.get(unit.home)?.get(unit.id)?.replicas[replica.node]?.error ?? "";
      if (replica.state === "paused") add("warning", error, `hc why ${unit.name}`);
      else if (replica.lagSeconds !== null && replica.lagSeconds > (error === "" ? Math.max(lagWarnS, rpoS(unit.id)) : lagWarnS)) add("warning", `${unit.id}: the copy on ${replica.node} is ${replica.lagSeconds} s behind${error === "" ? "" : ` (${error})`}`, `hc site show ${unit.name}`);
    }
  }
  for (const [what, problem] of Object.entries(facts.problems ?? {})) if (facts.state.units.has(what) || !units.some((unit) => unit.id === what)) add("warning", `${what}: ${problem}`, "hc status");
  for (const [key, template] of facts.state.templates) if (template.value.state === "failed") add("critical", `template ${key} could not be built: ${template.value.error}`, `hc ssh ${template.value.builder} journalctl -u hcd`);
  const certificates = certificatesOf(facts.state, facts.atMs).map((one) => ({ name: one.name, ...needsPerson(one, facts.atMs) })).filter(({ severity }) => severity !== "");
  for (const { name, severity, text } of certificates.slice(0, certificateLimit)) add(severity as Attention["severity"], `the certificate for ${name} ${text}`, "hc certificates");
  if (certificates.length > certificateLimit) add("warning", `${certificates.length - certificateLimit} more certificates need a person`, "hc certificates");
  const records = [...(facts.state.alerts?.values() ?? [])].map(({ value }) => value);
  for (const receiver of receiverNames(facts)) {
    const { count, sinceMs } = undelivered(records, receiver);
    if (count > 0 && facts.atMs - sinceMs > untoldMs) add("warning", `${receiver} takes no alerts: ${count} wait for ${Math.round((facts.atMs - sinceMs) / 60_000)} min`, "hc alerts");
  }
  return found.sort((a, b) => (a.severity === b.severity ? 0 : a.severity === "critical" ? -1 : 1));
}

/** Whom the documents name; a receiver that was taken out of them is owed nothing. */
function receiverNames({ state }: StatusFacts): string[] {
  return [...state.desired.values()].flatMap(({ value }) => {
    if (value.kind !== "alerts") return [];
    const { webhooks, mail } = value.spec as AlertsSpec;
    return [...webhooks.map(({ name }) => `${value.name}/${name}`), ...(mail === undefined ? [] : [`${value.name}/mail`])];
  });
}
