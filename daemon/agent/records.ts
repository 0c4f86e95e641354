import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { keys, type UnitRecord } from "../lib/records.js";
import type { Store } from "../state/store.js";

type Context = Pick<NodeContext, "store" | "view" | "session" | "cluster" | "signal">;
/** Longest wait for the view to show a transaction that is committed. */
const viewLagMs = 5_000;

/** The record as the view has it, and the right to write the unit's data: rule 1 of plan-unit.ts, looked at again just before the act. */
export function assertHome(context: Context, unit: string): UnitRecord {
  const record = context.view.current().units.get(unit)?.value;
  if (record === undefined || record.home !== context.cluster.node) throw new HcError("NOT_HOME", `${unit} is not at home on ${context.cluster.node}.`);
  if (!context.session.owns(unit)) throw new HcError("NOT_HOME", `${unit}: this node's session is not live.`);
  if (record.homeGeneration !== context.session.generation) throw new HcError("NOT_HOME", `${unit}: this session (generation ${context.session.generation}) has not taken it yet.`);
  if (record.move?.phase === "stopping") throw new HcError("NOT_HOME", `${unit} is on its way to ${record.move.target}.`);
  return record;
}
export function assertLive(context: Pick<Context, "session">, what: string): void {
  if (!context.session.isLive()) throw new HcError("NOT_HOME", `${what}: this node's session is not live.`);
}

/** Resolves when the view shows `revision` of the unit's record, or a later one, or that it is gone. */
export async function untilSeen(context: Pick<Context, "view">, seen: () => boolean, what: string): Promise<void> {
  if (seen()) return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      end();
      reject(new HcError("TIMEOUT", `${what}: the view did not show the change within ${viewLagMs} ms.`));
    }, viewLagMs);
    const end = context.view.onChange(() => {
      if (!seen()) return;
      clearTimeout(timer);
      end();
      resolve();
    });
  });
}
const atLeast = (revision: string | undefined, wanted: string): boolean => revision === undefined || BigInt(revision) >= BigInt(wanted);

/**
 * Compare-and-swap of a unit's record, with a live session. `change` returns the new record, or undefined when nothing is to be done.
 * Throws CONFLICT when somebody was first; after a lost answer the next round looks at what is real (DESIGN invariant 7).
 */
export async function changeRecord(context: Context, unit: string, change: (record: UnitRecord) => UnitRecord | undefined): Promise<UnitRecord | undefined> {
  const found = await context.store.get(keys.unit(unit));
  if (found === undefined) throw new HcError("NOT_FOUND", `${unit} has no record.`);
  const next = change(JSON.parse(found.value) as UnitRecord);
  if (next === undefined) return undefined;
  assertLive(context, unit);
  const { succeeded, revision } = await context.store.txn([{ key: found.key, modRevision: found.modRevision }], [{ put: found.key, value: JSON.stringify(next) }]);
  if (!succeeded) throw new HcError("CONFLICT", `The record of ${unit} changed meanwhile; look again.`);
  await untilSeen(context, () => atLeast(context.view.current().units.get(unit)?.revision, revision), unit);
  return next;
}

/** Reads, changes and writes one key by compare-and-swap; `undefined` as the new value deletes it. */
export async function changeKey<T>(store: Store, key: string, change: (value: T) => T | undefined | "keep"): Promise<void> {
  const found = await store.get(key);
  if (found === undefined) return;
  const next = change(JSON.parse(found.value) as T);
  if (next === "keep") return;
  const { succeeded } = await store.txn([{ key, modRevision: found.modRevision }], [next === undefined ? { delete: key } : { put: key, value: JSON.stringify(next) }]);
  if (!succeeded) throw new HcError("CONFLICT", `${key} changed meanwhile; look again.`);
}
