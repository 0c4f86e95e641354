import { type ObservedUnit, restoreOf } from "../lib/records.js";
import type { SiteRun } from "../services/site-services.js";
import type { NodeInput, UnitInput } from "./model.js";
import { localEpoch } from "./epochs.js";
import { roleOf } from "./plan-unit.js";
import type { NodePlan } from "./steps.js";
import { serviceText, siteText } from "./site-run.js";

/** Newest snapshots of a unit that are published. */
const publishedSnapshots = 8;

export interface Describing {
  input: NodeInput;
  plan: NodePlan;
  /** key → what went wrong last, while it is not mended. */
  failures: ReadonlyMap<string, string>;
  /** unit → revision in force, as far as known before. */
  applied: Map<string, string>;
  replicas(unit: string): ObservedUnit["replicas"];
  writtenBytes(unit: string): string;
  trouble(unit: string): ObservedUnit["trouble"];
}

/** Pure but for `applied`, which it keeps: what this node publishes of its units. */
export function describeUnits(parts: Describing): Map<string, ObservedUnit> {
  const sites = new Map(parts.plan.sites.map((site) => [site.unit, site]));
  const described = new Map<string, ObservedUnit>();
  for (const unit of parts.input.units) {
    const ours = unit.local?.user["unit"] === unit.id;
    if (!ours && roleOf(parts.input.node, unit) !== "home") continue;
    described.set(unit.id, describeUnit(parts, unit, sites.get(unit.id)));
  }
  for (const id of parts.applied.keys()) if (!described.has(id)) parts.applied.delete(id);
  return described;
}

function describeUnit(parts: Describing, unit: UnitInput, site: SiteRun | undefined): ObservedUnit {
  const { input, plan, failures, applied } = parts;
  const local = unit.local?.user["unit"] === unit.id ? unit.local : undefined;
  const home = roleOf(input.node, unit) === "home";
  const note = plan.notes.get(unit.id);
  const text = site === undefined ? "" : siteText(site);
  const inForce = site !== undefined && unit.configured === serviceText(site);
  const up = home && local?.mounted === true && unit.service === "active" && unit.checked !== "" && (JSON.parse(unit.checked) as SiteRun).epoch === unit.record?.value.epoch;
  const current = site !== undefined && unit.document !== undefined && inForce && local?.user["revision"] === unit.document.revision && (!home || unit.checked === text);
  if (current && unit.document !== undefined) applied.set(unit.id, unit.document.revision);
  const error = failures.get(unit.id) ?? (note?.severity === "error" ? note.text : undefined) ?? (inForce ? undefined : failures.get("node:services")) ?? "";
  const trouble = home ? parts.trouble(unit.id) : undefined;
  return {
    ...(trouble === undefined ? {} : { trouble }),
    epoch: local === undefined ? 0 : localEpoch(local),
    state: home ? homeState(unit, up, error !== "") : error === "" ? "replica" : "failed",
    mounted: local?.mounted ?? false,
    usedBytes: local?.usedBytes ?? "0",
    writtenBytes: home ? parts.writtenBytes(unit.id) : "0",
    snapshots: (local?.snapshots ?? []).slice(-publishedSnapshots).map(({ name, guid, createtxg, atMs }) => ({ name, guid, createtxg, atMs })),
    replicas: home ? parts.replicas(unit.id) : {},
    error: error !== "" ? error : home && !up && note !== undefined ? note.text : "",
    appliedRevision: applied.get(unit.id) ?? "0",
  };
}

function homeState(unit: UnitInput, up: boolean, wrong: boolean): ObservedUnit["state"] {
  if (up) return "serving";
  if (unit.record?.value.move?.phase === "stopping" || unit.record?.value.state === "deleting" || restoreOf(unit.record?.value) !== undefined) return "stopped";
  return wrong ? "failed" : "starting";
}
