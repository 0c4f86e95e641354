import type { NodeContext } from "../context.js";
import { eachAtMost } from "../lib/each-at-most.js";
import { messageOf } from "../lib/errors.js";
import type { RecoveryRecord } from "../lib/records.js";
import { readUnitSnapshots } from "../replication/wire.js";
import { type Copy, needsLists } from "./decide.js";
import type { DiskReport } from "./disk-report.js";

type Context = Pick<NodeContext, "cluster" | "peers" | "signal">;
const reportMs = 30_000;
const listMs = 15_000;
const parallel = 8;

export const carriers = ({ cluster }: Pick<NodeContext, "cluster">): string[] => cluster.members.filter(({ role }) => role === "node").map(({ node }) => node);

/** What these nodes' disks hold, and why the others did not tell. */
export async function reportsOf(context: Context, nodes: readonly string[]): Promise<{ reports: DiskReport[]; silent: { node: string; why: string }[] }> {
  const reports: DiskReport[] = [];
  const silent: { node: string; why: string }[] = [];
  await Promise.all(nodes.map(async (node) => {
    try {
      const report = await context.peers.call<DiskReport>(node, "GET", "/peer/v1/disk", undefined, { timeoutMs: reportMs, signal: context.signal });
      if (report?.version !== 1 || !Array.isArray(report.units)) throw new Error("its answer cannot be read by this version");
      reports.push({ ...report, node });
    } catch (error) {
      silent.push({ node, why: messageOf(error) });
    }
  }));
  return { reports: reports.sort((a, b) => (a.node < b.node ? -1 : 1)), silent: silent.sort((a, b) => (a.node < b.node ? -1 : 1)) };
}

/** The reports that a recovery rests on, and whom it waits for: each member but the excluded, after it has joined this recovery, with nothing mounted. */
export async function lookAtMembers(context: Context, recovery: RecoveryRecord): Promise<{ reports: DiskReport[]; waitsFor: { node: string; why: string }[] }> {
  const needed = carriers(context).filter((node) => !recovery.excluded.includes(node));
  const { reports, silent } = await reportsOf(context, needed);
  const waitsFor = [...silent];
  for (const { node, lineage, units } of reports) {
    const mounted = units.filter((unit) => unit.mounted).map(({ unit }) => unit);
    if (lineage !== recovery.lineage) waitsFor.push({ node, why: `it has not joined this recovery yet (it knows ${lineage} of ${recovery.lineage})` });
    else if (mounted.length > 0) waitsFor.push({ node, why: `${mounted.slice(0, 5).join(", ")} is still mounted there` });
  }
  return { reports, waitsFor: waitsFor.sort((a, b) => (a.node < b.node ? -1 : 1)) };
}

/** The copies with their snapshot lists, where they are needed for a decision, or where `wanted` says so. Throws what the node says that does not tell. */
export async function withLists(context: Context, copies: ReadonlyMap<string, readonly Copy[]>, usable: (copy: Copy) => boolean, wanted: (unit: string) => boolean = () => false): Promise<Map<string, Copy[]>> {
  const all = new Map([...copies].map(([unit, list]) => [unit, list.map((copy) => ({ ...copy }))]));
  const todo = [...all].flatMap(([unit, list]) => (wanted(unit) || needsLists(list.filter(usable)) ? list.filter(usable) : []));
  await eachAtMost(parallel, todo, async (copy: Copy) => {
    const answer = await context.peers.call(copy.node, "GET", `/peer/v1/units/${copy.unit.unit}/snapshots`, undefined, { timeoutMs: listMs, signal: context.signal });
    copy.list = readUnitSnapshots(answer, copy.node).snapshots;
  });
  return all;
}
