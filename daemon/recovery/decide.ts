import { choose, type CopyReport } from "../failover/choose.js";
import type { SnapshotInfo } from "../lib/records.js";
import type { DiskUnit } from "./disk-report.js";

/** One node's copy of a unit. `list`: all its snapshots, oldest first; asked for only where `needsLists` says so. */
export interface Copy { node: string; unit: DiskUnit; list?: readonly Pick<SnapshotInfo, "name" | "guid" | "atMs">[] | undefined }
export interface Decision { node: string; /** Above it the new epoch begins. */ epoch: number; last: Pick<SnapshotInfo, "name" | "guid" | "atMs"> | null; others: string[]; /** Why this one, for people. */ why: string }

const highest = (copies: readonly Copy[]): number => Math.max(0, ...copies.map(({ unit }) => unit.epoch));
/** Who was the home of the highest epoch and says so itself: its disk holds everything that was acknowledged in it. */
const owners = (copies: readonly Copy[]): Copy[] => copies.filter(({ node, unit }) => unit.epoch === highest(copies) && unit.home === node);

/** Pure: must the copies be compared snapshot by snapshot? */
export const needsLists = (copies: readonly Copy[]): boolean => copies.filter(({ unit }) => unit.epoch === highest(copies)).length > 1 && owners(copies).length !== 1;

/**
 * Pure: the copy that a unit goes on with when no record can be trusted (OWNERSHIP 13): the home of the highest epoch, by what the disks say of themselves; without it, of the copies that know that epoch, whoever
 * is ahead (failover/choose). Of two histories of that same epoch the one with the newest snapshot goes on and the other is stashed by replication: nothing is lost, and it is told.
 */
export function decide(copies: readonly Copy[]): Decision | undefined {
  const usable = copies.filter(({ unit }) => unit.state !== "new" && unit.state !== "populated").sort((a, b) => (a.node < b.node ? -1 : 1));
  if (usable.length === 0) return undefined;
  const epoch = highest(usable);
  const made = (copy: Copy, why: string, last: Decision["last"] = copy.unit.last): Decision => ({ node: copy.node, epoch, last, why, others: usable.filter((other) => other !== copy).map(({ node }) => node) });
  const [owner, rival] = owners(usable);
  if (owner !== undefined && rival === undefined) return made(owner, `it was its home in epoch ${epoch}`);
  const latest = usable.filter(({ unit }) => unit.epoch === epoch);
  const [only, another] = latest;
  if (only !== undefined && another === undefined) return made(only, `it alone knows epoch ${epoch}`);
  const reports = latest.map(({ node, unit, list }): CopyReport => ({ node, snapshots: list ?? (unit.last === null ? [] : [unit.last]) }));
  const choice = choose({ home: "", epoch, epochStartGuid: "" }, reports, latest.map(({ node }) => node));
  if (choice.kind === "chosen") return made(latest.find(({ node }) => node === choice.node) as Copy, "its copy is ahead of the others", choice.last);
  const newest = [...latest].sort((a, b) => (b.unit.last?.atMs ?? 0) - (a.unit.last?.atMs ?? 0))[0] as Copy;
  return made(newest, `its snapshot is the newest (${choice.why}); what the others hold beyond goes to their stash`);
}
