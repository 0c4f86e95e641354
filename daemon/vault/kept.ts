import { changeRecord } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { retry } from "../lib/backoff.js";
import type { UnitRecord } from "../lib/records.js";
import { restoreOf } from "../lib/records.js";

const maxKept = 8;
/** How long the present that a restore has replaced can be brought back exactly, ms; after that the retention grid decides. */
const keptMs = 7 * 24 * 3_600_000;
/** Longest time for a change of the record against others' changes, ms. */
const changeWithinMs = 10_000;

/** Pure. */
export function withKept(record: UnitRecord, snapshot: string, atMs: number): UnitRecord {
  const others = (record.kept ?? []).filter((item) => item.snapshot !== snapshot);
  return { ...record, kept: [...others, { snapshot, atMs }].slice(-maxKept) };
}
/** Pure: snapshots of the unit that no retention takes now, on whichever node, and that every copy is sent. */
export function keptNames(record: UnitRecord | undefined, nowMs: number): string[] {
  const running = restoreOf(record);
  // a group's stays until its home has taken it off the record: no clock that jumps empties the vault
  return [...(record?.groups ?? []).map(({ snapshot }) => snapshot), ...(record?.kept ?? []).filter(({ atMs }) => nowMs - atMs < keptMs).map(({ snapshot }) => snapshot), ...(running === undefined ? [] : [...(running.source === undefined ? [running.snapshot] : []), running.before].filter((name) => name !== ""))];
}

/** `changeRecord`, again when somebody else was first. */
export function changeUnit(context: NodeContext, unit: string, change: (record: UnitRecord) => UnitRecord | undefined, signal = context.signal): Promise<UnitRecord | undefined> {
  return retry(`change of the record of ${unit}`, { firstMs: 50, capMs: 500, withinMs: changeWithinMs, signal }, () => changeRecord(context, unit, change));
}
export async function keepSnapshot(context: NodeContext, unit: string, snapshot: string): Promise<void> {
  await changeUnit(context, unit, (record) => withKept(record, snapshot, context.clock.wallMs()));
}
