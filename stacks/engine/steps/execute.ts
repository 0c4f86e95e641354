import { InitError, ProviderGone } from "../process/provider.js";
import type { Properties, ResourceRecord } from "../types.js";
import { remarkProperties, unwrap } from "../values.js";
import type { Entry, PassContext } from "./context.js";

/** The acts of the real pass: each is announced in the state before it happens and recorded right after. */

function withOutputs(record: ResourceRecord, id: string, outputs: Properties, time: string, created: string | undefined, initErrors?: string[]): ResourceRecord {
  const { initErrors: _old, pendingReplacement: _pending, ...rest } = record;
  const marked = remarkProperties(outputs, record.inputs ?? {}, record.additionalSecretOutputs);
  return { ...rest, id, outputs: marked, created: created ?? time, modified: time, ...(initErrors !== undefined && { initErrors }) };
}

/** A half-made resource is recorded with its errors, so that the next `up` repairs it; then the error goes on. */
async function recordInitError(error: unknown, record: ResourceRecord, key: string, context: PassContext, created: string | undefined): Promise<void> {
  if (!(error instanceof InitError)) return;
  await context.store.put(key, withOutputs(record, error.id, error.properties, context.timestamp(), created, error.reasons.length > 0 ? error.reasons : [error.message]));
}

/** `before` is recorded together with the new one: the replaced one that waits for its deletion. */
export async function create(record: ResourceRecord, key: string, context: PassContext, before?: Entry): Promise<ResourceRecord> {
  const pending = await context.store.begin("creating", record);
  let gone = false;
  try {
    const provider = await context.provider();
    const answer = await provider.create(record.urn, unwrap(record.inputs ?? {}));
    const made = withOutputs(record, answer.id, answer.outputs, context.timestamp(), undefined);
    if (before !== undefined) await context.store.put(before.key, { ...before.record, delete: true });
    await context.store.put(key, made);
    return made;
  } catch (error) {
    gone = error instanceof ProviderGone;
    if (before !== undefined && error instanceof InitError) await context.store.put(before.key, { ...before.record, delete: true });
    await recordInitError(error, record, key, context, undefined);
    throw error;
  } finally {
    // whether it happened is unknown when the provider process died: the next run takes it up again
    if (!gone) {
      await context.store.end(pending);
      await context.store.settle(record.urn);
    }
  }
}

export async function update(old: Entry, record: ResourceRecord, context: PassContext): Promise<ResourceRecord> {
  const pending = await context.store.begin("updating", old.record);
  let gone = false;
  const id = old.record.id ?? "";
  try {
    const provider = await context.provider();
    const outputs = await provider.update(record.urn, id, unwrap(old.record.outputs ?? {}), unwrap(record.inputs ?? {}));
    const made = withOutputs(record, id, outputs, context.timestamp(), old.record.created);
    await context.store.put(old.key, made);
    await context.store.settle(record.urn);
    return made;
  } catch (error) {
    gone = error instanceof ProviderGone;
    await recordInitError(error, record, old.key, context, old.record.created);
    throw error;
  } finally {
    if (!gone) await context.store.end(pending);
  }
}

/** Calls the provider's delete unless nothing is to be called: components, retained ones, those that go with another one. */
export async function destroyReal(record: ResourceRecord, context: PassContext, goesWith: (urn: string) => boolean): Promise<void> {
  const skip = !record.custom || record.external === true || record.retainOnDelete === true || record.pendingReplacement === true || record.provider === undefined;
  if (skip || (record.deletedWith !== undefined && record.deletedWith !== "" && goesWith(record.deletedWith))) return;
  const pending = await context.store.begin("deleting", record);
  let gone = false;
  try {
    const provider = await context.provider();
    await provider.delete(record.urn, record.id ?? "", unwrap(record.outputs ?? {}));
  } catch (error) {
    gone = error instanceof ProviderGone;
    throw error;
  } finally {
    if (!gone) await context.store.end(pending);
  }
}
