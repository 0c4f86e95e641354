import type { NodeContext } from "../context.js";
import { HcError, messageOf } from "../lib/errors.js";
import { failoverRest } from "../failover/plan-failover.js";
import { type EventRecord, maintenanceOf, restoreOf, type UnitRecord } from "../lib/records.js";
import type { Status } from "../lib/status.js";
import { markedUntilMs } from "../placement/plan-relief.js";
import { desiredOf } from "../state/cluster-state.js";
import { readEvents } from "./events.js";

export interface WhyStep { step: "name" | "edge" | "placement" | "home" | "service" | "replicas"; ok: boolean; detail: string }
export interface Why { site: string; unit: string; hostnames: string[]; home: string; epoch: number; steps: WhyStep[]; errors: { atMs: number; node: string; text: string }[]; logs: string; events: EventRecord[] }

/** What a node's proxy has seen of a unit (registered by proxy/control.ts). */
interface EdgeView { requests: number; held: number; errors: { atMs: number; text: string }[] }
/** A site is meant by its name or by one of its host names. */
function siteNamed(context: NodeContext, text: string): string {
  const { desired } = context.view.current();
  if (desired.has(`site/${text}`)) return text;
  for (const { value } of desired.values()) if (value.kind === "site" && (value.spec as { hostnames: string[] }).hostnames.includes(text.toLowerCase())) return value.name;
  return text;
}
async function edgeViews(context: NodeContext, unit: string, nodes: readonly string[]): Promise<{ node: string; view: EdgeView }[]> {
  const seen = await Promise.all(nodes.map(async (node) => {
    try {
      return { node, view: await context.peers.call<EdgeView>(node, "GET", `/peer/v1/proxy/${encodeURIComponent(unit)}`, undefined, { timeoutMs: 3000 }) };
    } catch {
      return undefined; // a node that cannot be asked has its own step, or is in `hc status`
    }
  }));
  return seen.filter((one) => one !== undefined);
}

/** Follows a request the way it goes: name → edge → home → PHP; with the last lines of the log and who changed what. */
export async function explainSite(context: NodeContext, named: string, status: Status): Promise<Why> {
  const state = context.view.current();
  const site = siteNamed(context, named);
  const unit = `site-${site}`;
  const document = desiredOf(state, "site", site);
  const record = state.units.get(unit)?.value;
  if (document === undefined && record === undefined) throw new HcError("NOT_FOUND", `There is no site ${site}.`);
  const shown = status.units.find((one) => one.id === unit);
  const steps: WhyStep[] = [];
  const add = (step: WhyStep["step"], ok: boolean, detail: string): void => void steps.push({ step, ok, detail });
  const hostnames = document === undefined ? [] : [...document.value.spec.hostnames];
  add("name", hostnames.length > 0, document === undefined ? "the site is no longer declared" : `${hostnames.join(", ")} → ${unit} (declared by ${document.value.origin}, revision ${document.revision})`);
  const edges = await edgeViews(context, unit, status.nodes.filter((node) => node.alive && node.role === "node").map((node) => node.name));
  add("edge", edges.length > 0, edges.map(({ node, view }) => `${node}: ${view.requests} requests, ${view.held} held, ${view.errors.length} errors`).join("; ") || "no proxy can be asked");
  const errors = edges.flatMap(({ node, view }) => view.errors.map((error) => ({ ...error, node }))).sort((a, b) => a.atMs - b.atMs).slice(-20);
  if (record === undefined) add("placement", false, placementDetail(context, site));
  else {
    add("placement", record.state === "live", `home ${record.home}, epoch ${record.epoch}, ${record.state}${historyText(record, status.atMs)}${maintenanceOf(record, status.atMs) === undefined ? "" : `, held for maintenance until ${new Date(record.hold?.untilMs ?? 0).toISOString()} (hc release ${site})`}${record.move === undefined ? "" : `, moving to ${record.move.target} (${record.move.phase})`}${restoreOf(record) === undefined ? "" : `, being restored to ${record.restore?.snapshot}`}`);
    const node = status.nodes.find((one) => one.name === record.home);
    add("home", node?.alive === true, node?.alive === true ? `${record.home} is alive` : `${record.home} gives no sign of life${node === undefined || node.lastSeenS < 0 ? "" : ` for ${node.lastSeenS} s`}`);
    const seen = state.observedUnits.get(record.home)?.get(unit);
    const applied = seen?.appliedRevision === document?.revision;
    const trouble = seen?.trouble === undefined ? "" : `; ${seen.trouble.count} times in trouble in ten minutes, last: ${seen.trouble.last}`;
    add("service", seen?.state === "serving" && applied, seen === undefined ? "the home has not reported on it yet" : `${seen.state}${seen.error === "" ? "" : `: ${seen.error}`}${applied ? "" : `; the newest document (${document?.revision ?? "none"}) is not applied yet (${seen.appliedRevision})`}${trouble}`);
    add("replicas", (shown?.replicas ?? []).every((replica) => replica.lagSeconds !== null && replica.state !== "paused"), (shown?.replicas ?? []).map((replica) => `${replica.node}: ${replica.lagSeconds === null ? "nothing confirmed yet" : `${replica.lagSeconds} s behind`} (${replica.state})${seen?.replicas[replica.node]?.error ? `: ${seen.replicas[replica.node]?.error}` : ""}`).join("; ") || "no copies elsewhere");
  }
  const logs = record === undefined ? "" : await logsOf(context, unit, record.home);
  const events = await readEvents(context.store, { unit, limit: 20 }).catch(() => []);
  return { site, unit, hostnames, home: record?.home ?? "", epoch: record?.epoch ?? 0, steps, errors, logs, events };
}

/** Failovers of the last hour, and nodes that are not asked now. */
function historyText(record: UnitRecord, atMs: number): string {
  const { count } = failoverRest(record, atMs, 0);
  const marked = (record.unfit ?? []).filter((mark) => atMs < markedUntilMs(mark)).map(({ node, why }) => `${node} could not keep it running (${why})`);
  return `${count === 0 ? "" : `, ${count} failover${count === 1 ? "" : "s"} in the last hour`}${marked.length === 0 ? "" : `, ${marked.join("; ")}`}`;
}

function placementDetail(context: NodeContext, site: string): string {
  const state = context.view.current();
  const spec = desiredOf(state, "site", site)?.value.spec;
  if (spec === undefined) return "not placed";
  const customer = state.customers.get(spec.customer)?.value;
  if (customer === undefined || customer.deleted === true) return `not placed: the customer ${spec.customer} has no numbers yet`;
  const template = desiredOf(state, "template", spec.template)?.value.spec;
  const built = template === undefined ? undefined : state.templates.get(`${spec.template}/${template.version}`)?.value;
  if (built?.state === "failed") return `not placed: the template ${spec.template} could not be built: ${built.error}`;
  if (built?.state !== "ready") return `not placed: the template ${spec.template} is not built yet`;
  return `not placed: no node can take it${state.leader === undefined ? " (there is no leader)" : ""}; \`hc status\` shows which nodes are alive`;
}

async function logsOf(context: NodeContext, unit: string, home: string): Promise<string> {
  try {
    if (home === context.host.node) return await context.services.logs(unit, 20);
    return (await context.peers.call<{ lines: string }>(home, "GET", `/peer/v1/logs/${encodeURIComponent(unit)}?lines=20`, undefined, { timeoutMs: 5000 })).lines;
  } catch (error) {
    return `(no log: ${messageOf(error)})`;
  }
}
