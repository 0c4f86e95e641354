import { type SiteSpec, runtimeTag } from "../lib/documents.js";
import { type FenceRecord, keys, maintenanceOf, recordVersion, restoreOf, type UnfitMark, type UnitRecord } from "../lib/records.js";
import { desiredOf } from "../state/cluster-state.js";
import { candidates } from "./candidates.js";
import { mayHold } from "./placement.js";
import type { OrderedMove, PlanInput, PlannedWrite } from "./plan-cluster.js";

/** So often in ten minutes (agent/troubles.ts) the agent tries by itself before another node is asked. */
const triesHere = 5;
/** And, where more units than these are in trouble at once, so long: when hundreds of sites start, first tries come too early, and another node would be no faster. */
const fewAtOnce = 3;
const spanHereS = 60;
const markMs = 3_600_000;
const longestMarkMs = 24 * 3_600_000;
const forgetMs = 48 * 3_600_000;
const mostMarks = 8;

/** Pure: how long a node is not asked again for this unit: an hour, twice as long each further time, at most a day. What fails everywhere is so moved less and less often. */
export const markedUntilMs = ({ atMs, times }: UnfitMark): number => atMs + Math.min(longestMarkMs, markMs * 2 ** (times - 1));
const isMarked = (record: UnitRecord, node: string, atMs: number): boolean => record.unfit?.some((mark) => mark.node === node && atMs < markedUntilMs(mark)) === true;

/**
 * Pure: units that leave a home that lives and does not serve them. Either they cannot be kept running there (the node is marked in the record, and a copy elsewhere is asked by a planned move),
 * or most nodes cannot reach their home (OWNERSHIP 24): by a planned move where leader, home and copy reach each other, else the home is fenced, and an ordinary failover follows.
 */
export function planRelief(input: PlanInput, problems: Record<string, string>, moves: OrderedMove[]): PlannedWrite[] {
  const writes: PlannedWrite[] = [];
  const stuck = new Map<string, { unit: string; copies: string[] }[]>();
  for (const [unit, { value: record, revision }] of [...input.state.units].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (record.state !== "live" || record.move !== undefined || restoreOf(record) !== undefined || !input.alive.has(record.home)) continue;
    const why = failing(input, unit, record);
    const marked = isMarked(record, record.home, input.atMs);
    if (why !== "" && !marked) writes.push(mark(input, unit, record, revision, why));
    const cutOff = input.unreachable?.has(record.home) === true;
    if (!cutOff && (why === "" || !marked)) continue;
    const spec = desiredOf(input.state, "site", record.name)?.value.spec;
    if (spec === undefined) continue;
    const copies = fitCopies(input, unit, record, spec);
    const near = cutOff ? copies.filter((node) => linked(input, record.home, node)) : copies;
    const [to] = near;
    // one that a person holds is not moved in order, and a home that most cannot reach does not stay one for it
    const kept = maintenanceOf(record, input.atMs) !== undefined;
    if (to !== undefined && spec.placement.pin === "" && !kept) moves.push({ unit, to, reason: cutOff ? `most nodes cannot reach ${record.home}` : `${record.home} cannot keep it running` });
    else if (cutOff) stuck.set(record.home, [...(stuck.get(record.home) ?? []), { unit, copies }]);
    else if (kept) problems[unit] = `${record.home} cannot keep it running (${why}), and it is held for maintenance (hc release ${record.name})`;
    else problems[unit] = spec.placement.pin === "" ? `${record.home} cannot keep it running (${why}), and no other copy can be asked now` : `${record.home} cannot keep it running (${why}), and placement.pin of its program keeps it there`;
  }
  return [...writes, ...fences(input, stuck, moves, problems), ...pardons(input)];
}

/** Why it does not run at its home in spite of the agent's own tries, "" when it does, or they have not been enough. */
function failing({ state }: PlanInput, unit: string, record: UnitRecord): string {
  const seen = state.observedUnits.get(record.home)?.get(unit);
  if (seen === undefined || seen.epoch !== record.epoch || seen.state === "stopped" || seen.state === "replica") return "";
  const { count = 0, spanS = 0, last = "" } = seen.trouble ?? {};
  return count >= triesHere && (spanS >= spanHereS || inTrouble(state, record.home) <= fewAtOnce) ? last || seen.error || "it ends again and again" : "";
}

const inTrouble = (state: PlanInput["state"], node: string): number => [...(state.observedUnits.get(node)?.values() ?? [])].filter(({ trouble }) => (trouble?.count ?? 0) >= triesHere).length;

function mark({ atMs }: PlanInput, unit: string, record: UnitRecord, revision: string, why: string): PlannedWrite {
  const key = keys.unit(unit);
  const kept = (record.unfit ?? []).filter((one) => atMs - one.atMs < forgetMs);
  const times = (kept.find(({ node }) => node === record.home)?.times ?? 0) + 1;
  const unfit = [...kept.filter(({ node }) => node !== record.home), { node: record.home, atMs, times, why: why.slice(0, 200) }].slice(-mostMarks);
  const next: UnitRecord = { ...record, unfit };
  return { key, compare: [{ key, modRevision: revision }], ops: [{ put: key, value: JSON.stringify(next) }], why: `${unit} cannot be kept running on ${record.home}`, event: { unit, event: "unfit-here", detail: `${record.home} cannot keep it running (time ${times}): ${why.slice(0, 200)}` } };
}

/** Living copies that are in step and may be asked, least behind first, then where fewest homes are. */
function fitCopies(input: PlanInput, unit: string, record: UnitRecord, spec: SiteSpec): string[] {
  const home = input.state.observedUnits.get(record.home)?.get(unit);
  const wish = { placement: spec.placement, copies: 0, runtime: runtimeTag(record.runtime) };
  const able = candidates(input).filter((one) => record.replicas.includes(one.node) && mayHold(wish, one) && !isMarked(record, one.node, input.atMs) && input.unreachable?.has(one.node) !== true);
  const confirmed = able.filter(({ node }) => (home?.replicas[node]?.guid ?? "") !== "" && home?.replicas[node]?.error === "");
  const lag = (node: string): number => home?.replicas[node]?.lagS ?? 0;
  return confirmed.sort((a, b) => lag(a.node) - lag(b.node) || a.homes - b.homes || (a.node < b.node ? -1 : 1)).map(({ node }) => node);
}

/** A planned move is ordered over the control port of the home, which sends to the target. */
function linked({ state }: PlanInput, home: string, to: string): boolean {
  const reaches = (from: string, node: string): boolean => from === node || state.observedNodes.get(from)?.links[node] !== undefined;
  const leader = state.leader?.value.node;
  return leader !== undefined && reaches(leader, home) && reaches(home, to) && reaches(to, home);
}

/** A home that nobody can be moved from in order any more is fenced, when each of its units has another living copy. */
function fences({ state, alive, atMs, unreachable }: PlanInput, stuck: ReadonlyMap<string, readonly { unit: string; copies: string[] }[]>, moves: readonly OrderedMove[], problems: Record<string, string>): PlannedWrite[] {
  const writes: PlannedWrite[] = [];
  for (const [node, units] of stuck) {
    const here = [...state.units.values()].map(({ value }) => value).filter(({ home, state: stage }) => home === node && stage === "live");
    if (here.some(({ unit, move }) => move !== undefined || moves.some((one) => one.unit === unit))) continue; // first what can go in order
    const alone = here.filter(({ replicas }) => !replicas.some((other) => alive.has(other) && unreachable?.has(other) !== true));
    if (alone.length > 0) {
      for (const { unit } of units) problems[unit] = `most nodes cannot reach its home ${node}, which is not fenced: ${alone.length} units there have no other copy that can be reached`;
      continue;
    }
    const key = keys.fence(node);
    const reason = "most nodes cannot reach it";
    const record: FenceRecord = { version: recordVersion, node, reason, atMs, auto: true };
    writes.push({ key, compare: [{ key, modRevision: "0" }], ops: [{ put: key, value: JSON.stringify(record) }], why: `${node}: ${reason}`, event: { unit: "", event: "fence", detail: `${node}: ${reason}; ${units.length} units fail over` } });
  }
  return writes;
}

/** A fence of our own ends when most have reached the node for a minute. */
function pardons({ state, steady }: PlanInput): PlannedWrite[] {
  return [...(state.fences ?? [])].filter(([node, { value }]) => value.auto === true && steady?.has(node) === true).map(([node, { revision }]) => {
    const key = keys.fence(node);
    return { key, compare: [{ key, modRevision: revision }], ops: [{ delete: key }], why: `${node} can be reached again`, event: { unit: "", event: "unfence", detail: `${node}: it can be reached again` } };
  });
}
