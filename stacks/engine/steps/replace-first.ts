import type { ProviderProcess } from "../process/provider.js";
import { unknownValue, unwrap } from "../values.js";
import type { Entry, PassContext } from "./context.js";
import { destroyReal } from "./execute.js";
import type { Olds } from "./olds.js";

/**
 * Who must go before `first` can be deleted ahead of its replacement: each that takes a property from one that goes, and that its provider would
 * replace if that property changed. In the order of the state, `first` at the start.
 */
export async function mustGoWith(first: Entry, olds: Olds, provider: ProviderProcess): Promise<Entry[]> {
  const going = [first];
  const urns = new Set([first.record.urn]);
  let grew = true;
  while (grew) {
    grew = false;
    for (const entry of olds.all()) {
      const { record } = entry;
      if (urns.has(record.urn) || !record.custom || olds.isTaken(entry)) continue;
      const touched = Object.entries(record.propertyDependencies ?? {}).filter(([, on]) => on.some((urn) => urns.has(urn))).map(([key]) => key);
      if (touched.length === 0) continue;
      const inputs = unwrap(record.inputs ?? {});
      const assumed = { ...inputs, ...Object.fromEntries(touched.map((key) => [key, unknownValue])) };
      const answer = await provider.diff(record.urn, record.id ?? "", inputs, unwrap(record.outputs ?? {}), assumed, []);
      if (answer.replaces.length === 0) continue;
      going.push(entry);
      urns.add(record.urn);
      grew = true;
    }
  }
  return going;
}

/** Deletes them now, the dependents first, and keeps in the state that each waits for its replacement. */
export async function deleteFirst(going: readonly Entry[], context: PassContext): Promise<void> {
  for (const entry of going) if (entry.record.protect === true) throw new Error(`${entry.record.urn} is protected; it cannot be replaced`);
  const urns = new Set(going.map((entry) => entry.record.urn));
  for (const entry of [...going].reverse()) {
    if (entry.record.pendingReplacement === true) continue;
    if (!context.preview) await destroyReal(entry.record, context, (urn) => urns.has(urn));
    entry.record = { ...entry.record, pendingReplacement: true };
    if (!context.preview) await context.store.put(entry.key, entry.record);
  }
}
