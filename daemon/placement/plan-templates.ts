import type { SiteSpec, TemplateSpec } from "../lib/documents.js";
import { keys, recordVersion, type TemplateRecord } from "../lib/records.js";
import { candidates } from "./candidates.js";
import type { PlanInput, PlannedWrite } from "./plan-cluster.js";

/** Who builds which template; records of templates that nobody wants or uses are taken away. */
export function planTemplates(input: PlanInput, problems: Record<string, string>): PlannedWrite[] {
  const { state } = input;
  const writes: PlannedWrite[] = [];
  const able = candidates(input).filter((candidate) => candidate.alive);
  const building = new Map<string, number>();
  for (const { value } of state.templates.values()) if (value.state === "building") building.set(value.builder, (building.get(value.builder) ?? 0) + 1);
  const wanted = new Set<string>();
  for (const { value: document } of [...state.desired.values()].filter(({ value }) => value.kind === "template").sort((a, b) => (a.value.name < b.value.name ? -1 : 1))) {
    const spec = document.spec as TemplateSpec;
    const id = `${document.name}/${spec.version}`;
    wanted.add(id);
    const found = state.templates.get(id);
    const orphaned = found?.value.state === "building" && (input.gone.has(found.value.builder) || !state.nodes.has(found.value.builder));
    if (found !== undefined && !orphaned) continue;
    // versions of a name are one chain of snapshots, each built upon the one before: built upon an older one elsewhere, this version and that one could never lie on one node
    const others = [...state.templates.values()].map(({ value }) => value).filter(({ name, templateVersion }) => name === document.name && templateVersion !== spec.version);
    const lacks = (node: string): number => others.filter(({ state: is, templateVersion }) => is === "ready" && state.observedNodes.get(node)?.templates[`${document.name}@${templateVersion}`] === undefined).length;
    const waits = (node: string): number => (others.some(({ state: is, builder }) => is === "building" && builder === node) ? 0 : 1);
    // what a pool brought with it is not built again: its sites are clones of it
    const has = (node: string): number => (state.observedNodes.get(node)?.templates[`${document.name}@${spec.version}`] === undefined ? 1 : 0);
    const builder = [...able].filter(({ node }) => node !== found?.value.builder).sort((a, b) => has(a.node) - has(b.node) || lacks(a.node) - lacks(b.node) || waits(a.node) - waits(b.node) || (building.get(a.node) ?? 0) - (building.get(b.node) ?? 0) || (a.node < b.node ? -1 : 1))[0];
    const runtime = builder === undefined ? undefined : state.nodes.get(builder.node)?.value.runtime;
    if (builder === undefined || runtime === undefined) {
      problems[`template ${id}`] = "no living node with a pool can build it";
      continue;
    }
    building.set(builder.node, (building.get(builder.node) ?? 0) + 1);
    const record: TemplateRecord = { version: recordVersion, name: document.name, templateVersion: spec.version, builder: builder.node, state: "building", guid: "", error: "", runtime };
    const key = keys.template(document.name, spec.version);
    writes.push({ key, compare: [{ key, modRevision: found?.revision ?? "0" }], ops: [{ put: key, value: JSON.stringify(record) }], why: `template ${id} is built on ${builder.node}` });
  }
  const used = new Set([...state.units.values()].map(({ value }) => `${value.origin.template}/${value.origin.version}`));
  const kept = new Set<string>();
  for (const { value } of state.trash.values()) kept.add(value.document.spec.template);
  for (const { value } of state.desired.values()) if (value.kind === "site") kept.add((value.spec as SiteSpec).template);
  for (const [id, { value, revision }] of [...state.templates].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (wanted.has(id) || used.has(id) || kept.has(value.name)) continue;
    const key = keys.template(value.name, value.templateVersion);
    writes.push({ key, compare: [{ key, modRevision: revision }, { key: keys.desired("template", value.name), modRevision: state.desired.get(`template/${value.name}`)?.revision ?? "0" }], ops: [{ delete: key }], why: `template ${id} is not wanted any more` });
  }
  return writes;
}
