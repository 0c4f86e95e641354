import { runtimeTag, type SiteSpec, type TemplateSpec } from "../lib/documents.js";
import { keys, maintenanceOf, recordVersion, restoreOf, type UnitRecord } from "../lib/records.js";
import { desiredOf, type Versioned } from "../state/cluster-state.js";
import { candidates, clusterSpecOf } from "./candidates.js";
import { type Candidate, chooseReplicas, mayHold, place, type PlacementWish, surplusReplicas } from "./placement.js";
import { rebalanceAtOnce, rebalanced } from "./plan-rebalance.js";
import type { OrderedMove, PlanInput, PlannedWrite } from "./plan-cluster.js";

const defaultRedundancy = 2;

/** Records for new sites, `deleting` for sites without a document, replicas as wished. A home is never changed here; `pin` and `require` order a move. */
export function planUnits(input: PlanInput, problems: Record<string, string>, moves: OrderedMove[]): PlannedWrite[] {
  const { state } = input;
  const nodes = candidates(input);
  const redundancy = clusterSpecOf(state)?.redundancy ?? defaultRedundancy;
  const writes: PlannedWrite[] = [];
  const wishOf = (spec: SiteSpec, runtime: string): PlacementWish => ({ placement: spec.placement, copies: spec.replicas === 0 ? redundancy : spec.replicas, runtime });
  for (const [, { value: document, revision }] of [...state.desired].filter(([key]) => key.startsWith("site/")).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const unit = `site-${document.name}`;
    if (state.units.has(unit)) continue;
    const spec = document.spec as SiteSpec;
    const made = newUnit(input, unit, document.name, spec, nodes, wishOf);
    if ("waitsFor" in made) continue;
    if ("problem" in made) {
      problems[unit] = made.problem;
      continue;
    }
    // Later sites of this round see what this one takes.
    for (const node of nodes) {
      if (node.node === made.home) node.homes += 1;
      if (node.node === made.home || made.replicas.includes(node.node)) node.copies += 1;
    }
    const key = keys.unit(unit);
    writes.push({
      key, compare: [{ key, modRevision: "0" }, { key: keys.desired("site", document.name), modRevision: revision }], ops: [{ put: key, value: JSON.stringify(made) }],
      why: `${unit} is placed`, event: { unit, event: "placed", detail: `home ${made.home}${made.replicas.length > 0 ? `, copies on ${made.replicas.join(", ")}` : ""}` },
    });
  }
  for (const [unit, found] of [...state.units].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const write = changeUnit(input, unit, found, nodes, wishOf, problems, moves);
    if (write !== undefined) writes.push(write);
  }
  if (writes.length === 0 && moves.length === 0) writes.push(...spread(input, nodes, wishOf));
  return writes;
}

/** Copies for nodes that have few (one that was added), when nothing else is to be done, all nodes live, and few are under way. */
function spread({ state, alive }: PlanInput, nodes: readonly Candidate[], wishOf: WishOf): PlannedWrite[] {
  const steady = (record: UnitRecord): boolean => record.state === "live" && record.move === undefined && restoreOf(record) === undefined;
  const wishes = new Map([...state.units].flatMap(([unit, { value }]) => {
    const spec = desiredOf(state, "site", value.name)?.value.spec;
    return spec === undefined ? [] : [[unit, wishOf(spec, runtimeTag(value.runtime))] as const];
  }));
  let running = [...state.units].filter(([unit, { value }]) => value.replicas.length >= (wishes.get(unit)?.copies ?? Number.POSITIVE_INFINITY)).length;
  const writes: PlannedWrite[] = [];
  if (nodes.some((node) => !node.alive)) return writes;
  for (const [unit, { value: record, revision }] of [...state.units].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const wish = wishes.get(unit);
    if (running >= rebalanceAtOnce) break;
    const home = state.observedUnits.get(record.home)?.get(unit);
    if (wish === undefined || !steady(record) || !alive.has(record.home) || !record.replicas.every((node) => (home?.replicas[node]?.guid ?? "") !== "")) continue;
    const next = rebalanced(record, wish, nodes, (node) => state.observedUnits.get(node)?.has(unit) === true);
    if (next === undefined) continue;
    running += 1;
    for (const node of nodes) node.copies += node.node === next.to ? 1 : node.node === next.from ? -1 : 0;
    const key = keys.unit(unit);
    const detail = `copy ordered on ${next.to}, for the one on ${next.from}: ${next.to} has few`;
    writes.push({ key, compare: [{ key, modRevision: revision }], ops: [{ put: key, value: JSON.stringify({ ...record, replicas: next.replicas }) }], why: `${unit}: ${detail}`, event: { unit, event: "replicas-changed", detail } });
  }
  return writes;
}

type WishOf = (spec: SiteSpec, runtime: string) => PlacementWish;

function newUnit({ state }: PlanInput, unit: string, name: string, spec: SiteSpec, nodes: Candidate[], wishOf: WishOf): UnitRecord | { problem: string } | { waitsFor: string } {
  const customer = state.customers.get(spec.customer)?.value;
  if (customer === undefined || customer.deleted === true) return { waitsFor: `customer ${spec.customer}` };
  const wanted = desiredOf(state, "template", spec.template)?.value.spec as TemplateSpec | undefined;
  const template = wanted === undefined ? undefined : state.templates.get(`${spec.template}/${wanted.version}`)?.value;
  if (template?.state !== "ready") return { waitsFor: `template ${spec.template}` };
  const lying = holders(state, unit);
  if (lying.length > 0) return { problem: lyingText(unit, lying) };
  const placed = place(wishOf(spec, runtimeTag(template.runtime)), nodes);
  if ("problem" in placed) return placed;
  // Above every epoch that a disk may still know from a copy in the trash.
  const epoch = Math.max(0, ...[...state.trash.values()].filter(({ value }) => value.unit === unit).map(({ value }) => value.epoch)) + 1;
  return {
    version: recordVersion, unit, kind: "site", name, home: placed.home, homeGeneration: 0, epoch, epochStartGuid: "", replicas: placed.replicas, state: "creating",
    runtime: template.runtime, origin: { template: spec.template, version: template.templateVersion, guid: template.guid },
  };
}

export const lyingText = (unit: string, nodes: readonly string[]): string => `data of ${unit} lies on ${nodes.join(", ")} from before: \`hc adopt-pool ${nodes[0]}\` takes it over. Nothing is made anew beside it.`;
/** Nodes that report data of a unit that has no record: a pool that came from elsewhere. What a deletion has left there goes to the trash and does not count. */
export function holders({ observedUnits, nodes, trash }: PlanInput["state"], unit: string): string[] {
  return [...observedUnits].flatMap(([node, units]) => {
    const seen = units.get(unit);
    const leaves = seen === undefined || [...trash.values()].some(({ value }) => value.unit === unit && value.nodes.includes(node) && value.epoch >= seen.epoch);
    return leaves || !nodes.has(node) || seen.snapshots.length === 0 ? [] : [node];
  }).sort();
}

function changeUnit(input: PlanInput, unit: string, found: Versioned<UnitRecord>, nodes: readonly Candidate[], wishOf: WishOf, problems: Record<string, string>, moves: OrderedMove[]): PlannedWrite | undefined {
  const { state } = input;
  const { value: record, revision } = found;
  const key = keys.unit(unit);
  if (record.state === "deleting" || record.move !== undefined) return undefined; // their own mechanisms go on; the record changes afterwards
  const document = desiredOf(state, "site", record.name);
  const put = (next: UnitRecord, why: string, detail: string, event: string): PlannedWrite => ({ key, compare: [{ key, modRevision: revision }, { key: keys.desired("site", record.name), modRevision: document?.revision ?? "0" }], ops: [{ put: key, value: JSON.stringify(next) }], why, event: { unit, event, detail } });
  if (document === undefined) return put({ ...record, state: "deleting" }, `${unit} is not wanted any more`, "its document is gone: on its way to the trash", "deleting");
  const { spec } = document.value;
  const wish = wishOf(spec, runtimeTag(record.runtime));
  if (record.state === "creating" && record.restoreFrom === undefined && state.sessions.get(record.home)?.value.dead === true) {
    // it never served: nothing is lost by making it elsewhere; what the dead node has of it goes to its trash or stash
    const placed = place(wish, nodes.filter(({ node }) => node !== record.home));
    if ("problem" in placed) problems[unit] = `its home ${record.home} died before it was made: ${placed.problem}`;
    else return put({ ...record, home: placed.home, homeGeneration: 0, epoch: record.epoch + 1, replicas: placed.replicas }, `${unit}: ${record.home} died before it was made`, `${record.home} died before it was made; home ${placed.home}`, "placed");
    return undefined;
  }
  const count = Math.max(0, wish.copies - 1);
  const known = new Set(nodes.map(({ node }) => node));
  const present = record.replicas.filter((node) => node !== record.home);
  const staying = present.filter((node) => known.has(node));
  if (nodes.some(({ node, drained }) => node === record.home && drained === true) && spec.placement.pin === record.home) problems[unit] = `${record.home} is being emptied, and placement.pin of its program keeps it there`;
  const target = record.state === "live" && input.alive.has(record.home) ? moveTarget(record, spec, wish, nodes) : undefined;
  if (target !== undefined && maintenanceOf(record, input.atMs) !== undefined) problems[unit] = `it is wished on ${target}, and held for maintenance (hc release ${record.name})`;
  else if (target !== undefined) moves.push({ unit, to: target, reason: state.drains?.has(record.home) === true ? `${record.home} is being emptied` : `placement: wished on ${target}` });
  // a copy on a lost node is no copy, and is named all the same: when the node comes back it may be the better one
  const lost = staying.filter((node) => input.lost?.has(node) === true || input.broken?.has(`${unit}/${node}`) === true);
  const leaving = staying.filter((node) => !lost.includes(node) && nodes.some((one) => one.node === node && one.drained === true));
  const missing = count - (staying.length - lost.length - leaving.length);
  // who still shows a copy that the record does not name gives it up first: a home may not know that it counts again (daemon/failsafe)
  const free = nodes.filter(({ node }) => record.replicas.includes(node) || node === record.home || state.observedUnits.get(node)?.has(unit) !== true);
  const added = missing > 0 ? chooseReplicas(wish, free, [record.home, ...staying], missing) : [];
  if (missing > added.length) problems[unit] = `${missing - added.length} of ${wish.copies} copies have no node to be on`;
  // A copy too many goes only when those that stay are confirmed by the home.
  const surplus = lost.length === 0 && staying.length > count ? surplusReplicas(wish, nodes, record.home, staying, count) : [];
  const rest = staying.filter((node) => !surplus.includes(node));
  const home = state.observedUnits.get(record.home)?.get(unit);
  const safe = rest.every((node) => (home?.replicas[node]?.guid ?? "") !== "");
  const next = [...(safe ? rest : staying), ...added];
  if (next.length === record.replicas.length && next.every((node, at) => node === record.replicas[at])) return undefined;
  const gone = record.replicas.filter((node) => !next.includes(node));
  const detail = [...(added.length > 0 ? [`copies ordered on ${added.join(", ")}`] : []), ...(gone.length > 0 ? [`copies given up on ${gone.join(", ")}`] : [])].join("; ");
  return put({ ...record, replicas: next }, `${unit}: ${detail}`, detail, "replicas-changed");
}

/** Where a wish that binds (`pin`, `require`) wants the home, when it is somewhere else. */
function moveTarget(record: UnitRecord, spec: SiteSpec, wish: PlacementWish, nodes: readonly Candidate[]): string | undefined {
  const home = nodes.find(({ node }) => node === record.home);
  const { pin } = spec.placement;
  if (home?.drained === true) {
    // to a copy that is there already, else to wherever it would be placed now
    const free = { ...wish, placement: { ...wish.placement, pin: "" } };
    const holding = nodes.filter(({ node }) => record.replicas.includes(node));
    const placed = place(free, holding.some((one) => mayHold(free, one)) ? holding : nodes);
    return "problem" in placed || placed.home === record.home || pin === record.home ? undefined : placed.home;
  }
  if (pin !== "") return pin !== record.home && nodes.some((node) => node.node === pin && mayHold(wish, node)) ? pin : undefined;
  if (spec.placement.require.length === 0 || home === undefined || mayHold({ ...wish, runtime: home.runtime }, { ...home, alive: true })) return undefined;
  const placed = place(wish, nodes.filter(({ node }) => node !== record.home));
  return "problem" in placed ? undefined : placed.home;
}
