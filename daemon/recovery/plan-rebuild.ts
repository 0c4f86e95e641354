import { keys, recordVersion, type UnitRecord } from "../lib/records.js";
import type { PlannedWrite } from "../placement/plan-cluster.js";
import type { ClusterState } from "../state/cluster-state.js";
import { type Copy, decide, type Decision } from "./decide.js";
import type { DiskUnit } from "./disk-report.js";
import { neededDocuments, Numbers } from "./plan-documents.js";

/** Pure: unit → its copies, of all reports. */
export function copiesOf(reports: readonly { node: string; units: readonly DiskUnit[] }[]): Map<string, Copy[]> {
  const copies = new Map<string, Copy[]>();
  for (const { node, units } of [...reports].sort((a, b) => (a.node < b.node ? -1 : 1)))
    for (const unit of units) copies.set(unit.unit, [...(copies.get(unit.unit) ?? []), { node, unit }]);
  return copies;
}

/** Pure: the record that makes `decision` true, above every epoch that the record, a disk or a trash knows. What ran in the old one (a move, a restore) is over. */
export function recordFor(unit: DiskUnit, decision: Decision, before: UnitRecord | undefined, state: ClusterState): UnitRecord {
  const { move: _move, restore: _restore, restoreFrom: _from, ...rest } = before ?? ({} as Partial<UnitRecord>);
  const trashed = [...state.trash.values()].filter(({ value }) => value.unit === unit.unit).map(({ value }) => value.epoch);
  return {
    version: recordVersion, unit: unit.unit, kind: "site", name: unit.unit.replace(/^site-/, ""),
    runtime: before?.runtime ?? unit.config?.runtime ?? { platform: "linux", php: "" },
    origin: before?.origin ?? unit.from ?? { template: "", version: "", guid: "" },
    ...rest,
    state: "live", home: decision.node, homeGeneration: 0, epoch: Math.max(decision.epoch, before?.epoch ?? 0, 0, ...trashed) + 1, epochStartGuid: decision.last?.guid ?? "", replicas: decision.others,
  };
}

export interface Rebuild { writes: PlannedWrite[]; /** unit → why it stays as it is. */ problems: Record<string, string> }

/**
 * Pure: all records as the disks of the reporting nodes say (OWNERSHIP 13): highest epoch + 1, home = whoever holds the most. A unit that nobody reports keeps its record: its home finds no data, tells it, and mounts nothing.
 * Documents that the backup does not know come from the datasets; of two the one of the later revision.
 */
export function planRebuild(state: ClusterState, copies: ReadonlyMap<string, readonly Copy[]>): Rebuild {
  const writes: PlannedWrite[] = [];
  const problems: Record<string, string> = {};
  const numbers = new Numbers(state);
  for (const unit of [...new Set([...copies.keys(), ...state.units.keys()])].sort()) {
    const found = state.units.get(unit);
    const decision = decide(copies.get(unit) ?? []);
    if (decision === undefined) {
      if (found?.value.state === "live") problems[unit] = `no disk that was reported holds it; its record names ${found.value.home}`;
      continue;
    }
    if (found?.value.state === "deleting") continue; // its home goes on with that, whatever epoch the copies have
    const disk = (copies.get(unit) as Copy[]).find(({ node }) => node === decision.node)?.unit as DiskUnit;
    const present = state.desired.get(`site/${unit.replace(/^site-/, "")}`);
    const needed = neededDocuments(state, disk, numbers, present !== undefined && BigInt(disk.revision) > BigInt(present.revision));
    if ("blocked" in needed) {
      problems[unit] = needed.blocked;
      continue;
    }
    const key = keys.unit(unit);
    const next = recordFor(disk, decision, found?.value, state);
    writes.push({
      key, compare: [{ key, modRevision: found?.revision ?? "0" }, ...needed.compare], ops: [{ put: key, value: JSON.stringify(next) }, ...needed.ops], why: `${unit}: rebuilt from the disks`,
      event: { unit, event: "recovered", detail: `home ${next.home}, epoch ${next.epoch}, from ${decision.last?.name ?? "what is there"}: ${decision.why}${needed.made.length === 0 ? "" : `; made again: ${needed.made.join(", ")}`}` },
    });
  }
  return { writes, problems };
}
