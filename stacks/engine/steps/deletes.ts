import { needs } from "../state/order.js";
import type { ResourceRecord } from "../types.js";
import { unwrap } from "../values.js";
import { type Entry, type PassContext, plannedStep } from "./context.js";
import { destroyReal } from "./execute.js";

export interface Deletion extends Entry {
  /** the rest of a replacement of this pass: not counted on its own */
  replaced?: boolean;
}

/** Pure: what must go before `deletion` goes, that is, everything in the set that stands on it. */
export function dependentsOf(deletions: readonly Deletion[]): Map<Deletion, Set<Deletion>> {
  const byUrn = new Map<string, Deletion[]>();
  for (const deletion of deletions) byUrn.set(deletion.record.urn, [...(byUrn.get(deletion.record.urn) ?? []), deletion]);
  const result = new Map<Deletion, Set<Deletion>>(deletions.map((deletion) => [deletion, new Set()]));
  for (const deletion of deletions) {
    for (const urn of needs(deletion.record)) {
      for (const below of byUrn.get(urn) ?? []) if (below !== deletion && below.record.urn !== deletion.record.urn) result.get(below)?.add(deletion);
    }
  }
  return result;
}

function refuseProtected(deletions: readonly Deletion[], context: PassContext): boolean {
  const kept = deletions.filter((deletion) => deletion.record.protect === true);
  for (const { record } of kept) context.fail(record.urn, "it is protected; set `protect: false` (and run `up`) before it can be deleted");
  return kept.length > 0;
}

/** Deletes in reverse order of dependency, as much as possible at a time. A failed one keeps what it stands on. */
export async function runDeletes(deletions: readonly Deletion[], context: PassContext): Promise<void> {
  if (deletions.length === 0 || refuseProtected(deletions, context)) return;
  const leaving = new Set(deletions.map((deletion) => deletion.record.urn));
  const before = dependentsOf(deletions);
  const done = new Map<Deletion, Promise<boolean>>();
  const remove = async (deletion: Deletion): Promise<boolean> => {
    const waits = [...(before.get(deletion) ?? [])].map((dependent) => run(dependent));
    if (!(await Promise.all(waits)).every(Boolean)) return false;
    return context.mutations.run(() => removeOne(deletion, leaving, context));
  };
  const run = (deletion: Deletion): Promise<boolean> => {
    const known = done.get(deletion);
    if (known !== undefined) return known;
    const started = remove(deletion);
    done.set(deletion, started);
    return started;
  };
  await Promise.all(deletions.map((deletion) => run(deletion)));
}

function noteOf(record: ResourceRecord): string | undefined {
  if (record.custom && record.retainOnDelete === true) return "retained: only taken out of the state";
  return undefined;
}

async function removeOne(deletion: Deletion, leaving: ReadonlySet<string>, context: PassContext): Promise<boolean> {
  const { record, key } = deletion;
  if (context.stopped) return false;
  const note = noteOf(record);
  const step = plannedStep(record.urn, deletion.replaced === true ? "discard" : "delete", { ...(record.parent !== undefined && { parent: record.parent }), ...(record.inputs && { oldInputs: unwrap(record.inputs) }), ...(note !== undefined && { note }) });
  try {
    await context.step(step, async () => {
      if (context.preview) return;
      await destroyReal(record, context, (urn) => leaving.has(urn));
      await context.store.remove(key);
      await context.store.settle(record.urn);
    });
    return true;
  } catch {
    return false;
  }
}
