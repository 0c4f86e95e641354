import type { SnapshotInfo, UnitRecord } from "../lib/records.js";
import { parseSnapshotName } from "../zfs/snapshot-name.js";

/** What a sealed copy says it holds; snapshots oldest first, as they lie on its disk. */
export interface CopyReport { node: string; snapshots: readonly Pick<SnapshotInfo, "name" | "guid" | "atMs">[] }

export type Choice =
  /** `last`: newest snapshot of the common history on that copy. `tail`: snapshots after it that belong to a history that lost; they go to the stash. `whole`: it holds the snapshot at which the record's epoch starts. */
  | { kind: "chosen"; node: string; last: Pick<SnapshotInfo, "name" | "guid" | "atMs">; tail: number; whole: boolean }
  | { kind: "none"; why: string };

interface Line { node: string; /** guid → position. */ positions: ReadonlyMap<string, number>; end: number; last: Pick<SnapshotInfo, "name" | "guid" | "atMs">; /** Holds the snapshot at which the record's epoch starts. */ whole: boolean; epoch: number; tail: number }

/**
 * Pure: the copy that shall be the new home (OWNERSHIP 10). Never by times in names:
 * 1. A copy that holds the start of the record's epoch is ahead of one that does not. After that start only snapshots of this epoch count: what else lies
 *    there is the tail of an owner that had lost (a copy that came back, and was not stashed yet).
 * 2. Of copies without it, one with a snapshot of a later epoch is ahead.
 * 3. Else whoever holds the other's last snapshot is as far or further; what is newest on some copy is held on all (replication/holds.ts), so of two copies of one line
 *    this is always known. Two copies of which none holds the other's last are two histories: a person has to choose.
 * Equal copies: the order of `order` (the record's replicas, as placement has put them).
 */
export function choose(record: Pick<UnitRecord, "home" | "epoch" | "epochStartGuid">, reports: readonly CopyReport[], order: readonly string[]): Choice {
  const lines = reports.flatMap((report) => lineOf(record, report) ?? []);
  if (lines.length === 0) return { kind: "none", why: reports.length === 0 ? "no copy can be reached" : `no copy that can be reached holds a snapshot (${reports.map(({ node }) => node).sort().join(", ")})` };
  const best = lines.filter((line) => lines.every((other) => isAhead(line, other)));
  if (best.length === 0) {
    const rivals = lines.filter((line) => lines.some((other) => !isAhead(line, other) && !isAhead(other, line)));
    return { kind: "none", why: `the copies hold different histories: ${rivals.map(({ node, last }) => `${node} ends with ${last.name} (guid ${last.guid})`).sort().join(", ")}; a person must choose` };
  }
  const rank = (node: string): number => (order.includes(node) ? order.indexOf(node) : order.length);
  const [first] = best.sort((a, b) => a.tail - b.tail || rank(a.node) - rank(b.node) || (a.node < b.node ? -1 : 1)) as [Line];
  return { kind: "chosen", node: first.node, last: first.last, tail: first.tail, whole: first.whole };
}

/** Is `line` as far as `other`, or further? */
function isAhead(line: Line, other: Line): boolean {
  if (line === other) return true;
  if (line.whole !== other.whole) return line.whole;
  if (!line.whole && line.epoch !== other.epoch) return line.epoch > other.epoch;
  const at = line.positions.get(other.last.guid);
  return at !== undefined && at <= line.end;
}

function lineOf(record: Pick<UnitRecord, "home" | "epoch" | "epochStartGuid">, { node, snapshots }: CopyReport): Line | undefined {
  if (snapshots.length === 0) return undefined;
  const start = record.epochStartGuid === "" ? -1 : snapshots.findIndex(({ guid }) => guid === record.epochStartGuid);
  let end = start;
  for (let at = start + 1; at < snapshots.length; at += 1) {
    const name = parseSnapshotName(snapshots[at]!.name);
    if (name === undefined) continue; // a person's: part of the line when one of ours follows
    if (start >= 0 ? name.epoch !== record.epoch : name.epoch > record.epoch) break;
    end = at;
  }
  if (end < 0) end = snapshots.length - 1;
  const last = snapshots[end]!;
  return {
    node, end, whole: start >= 0, tail: snapshots.length - 1 - end,
    positions: new Map(snapshots.map(({ guid }, at) => [guid, at])),
    last: { name: last.name, guid: last.guid, atMs: last.atMs },
    epoch: parseSnapshotName(last.name)?.epoch ?? 0,
  };
}
