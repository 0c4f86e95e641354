import type { Properties } from "../types.js";
import { remarkProperties, unwrap } from "../values.js";
import { type Entry, type PassContext, plannedStep } from "./context.js";
import { propertyDiff } from "./property-diff.js";

/** Reads each resource and writes down what is really there; changes nothing outside the state. */
export async function refreshPass(context: PassContext): Promise<void> {
  const entries = context.store.entries().filter(([, record]) => record.delete !== true && record.custom && record.provider !== undefined && record.external !== true && record.pendingReplacement !== true);
  await Promise.all(entries.map(([key, record]) => context.mutations.run(async () => {
    if (context.stopped) return;
    try {
      await refreshOne({ key, record }, context);
    } catch (error) {
      context.fail(record.urn, (error as Error).message);
    }
  })));
}

async function refreshOne({ key, record }: Entry, context: PassContext): Promise<void> {
  const provider = await context.provider();
  const seen = await provider.read(record.urn, record.id ?? "", unwrap(record.outputs ?? {}), unwrap(record.inputs ?? {}));
  const parent = record.parent === undefined ? {} : { parent: record.parent };
  if (seen.id === "") {
    await context.step(plannedStep(record.urn, "delete", { ...parent, note: "it is gone", ...(record.inputs && { oldInputs: unwrap(record.inputs) }) }), () => context.store.remove(key));
    return;
  }
  const outputs = remarkProperties(seen.outputs, { ...record.inputs, ...record.outputs }, record.additionalSecretOutputs);
  const inputs: Properties | undefined = seen.inputs === undefined ? record.inputs : remarkProperties(seen.inputs, record.inputs ?? {});
  const diff = propertyDiff(record.outputs ?? {}, outputs);
  const changed = diff.length > 0 || propertyDiff(record.inputs ?? {}, inputs ?? {}).length > 0 || seen.id !== record.id;
  await context.step(plannedStep(record.urn, changed ? "update" : "same", { ...parent, diff }), async () => {
    if (changed) await context.store.put(key, { ...record, id: seen.id, outputs, ...(inputs && { inputs }), modified: context.timestamp() });
  });
}
