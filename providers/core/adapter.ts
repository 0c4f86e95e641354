import { delay } from "../../daemon/lib/abort.js";
import { errorCode, HcError, messageOf } from "../../daemon/lib/errors.js";
import { exitWithEngine } from "./engine-gone.js";
import type { Handler, Properties } from "./handler.js";
import { schemaVersion } from "./handler.js";
import type { PartialError } from "./partial-error.js";
import { sanitize } from "./sanitize.js";

/** What stands under a frozen key of providers/index.ts, and is called by trampolines. */
export interface ProviderEntry {
  configure(request: unknown): Promise<void>;
  check(olds: Properties, news: Properties): Promise<{ inputs: Properties; failures: { property: string; reason: string }[] }>;
  diff(id: string, olds: Properties, news: Properties): Promise<{ changes: boolean; replaces: string[]; deleteBeforeReplace: boolean }>;
  create(inputs: Properties): Promise<{ id: string; outs: Properties }>;
  update(id: string, olds: Properties, news: Properties): Promise<{ outs: Properties }>;
  read(id: string, props: Properties): Promise<{ id: string; props: Properties }>;
  delete(id: string, props: Properties): Promise<void>;
}

/** The SDK may call a method before `configure` has run (its cache race): methods wait for it, for a short while. */
let configured: (() => void) | undefined;
const ready = new Promise<void>((resolve) => {
  configured = resolve;
});
const readyMs = 5_000;

async function waitReady(): Promise<void> {
  const late = new AbortController();
  try {
    await Promise.race([ready, delay(readyMs, late.signal).then(() => { throw new HcError("INTERNAL", "The provider was never configured by the engine."); })]);
  } finally {
    late.abort();
  }
}

const strip = ({ __provider, ...rest }: Properties): Properties => rest;
/** Only errors are thrown, with text for people; the code is in front of it. */
function forPeople(error: unknown): Error {
  const code = errorCode(error);
  return new Error(code === undefined || code === "INTERNAL" ? messageOf(error) : `${messageOf(error)} (${code})`, { cause: error });
}
const isPartial = (error: unknown): error is PartialError => (error as { partial?: unknown } | undefined)?.partial === true;

/** Wraps a handler: configure gate, clean values, echoed inputs, partial errors with `__provider`. */
export function adapt<I, O>(handler: Handler<I, O>): ProviderEntry {
  const guarded = async <T>(act: () => Promise<T>): Promise<T> => {
    await waitReady();
    try {
      return await act();
    } catch (error) {
      throw forPeople(error);
    }
  };
  const made = async <T>(inputs: Properties, act: () => Promise<T>): Promise<T> => {
    await waitReady();
    try {
      return await act();
    } catch (error) {
      if (!isPartial(error)) throw forPeople(error);
      const properties = { ...inputs, ...(sanitize(error.outs) as Properties), schemaVersion, __provider: inputs["__provider"] };
      throw Object.assign(new Error(error.message), { id: error.id, properties, reasons: [error.message] });
    }
  };
  const outsOf = (outs: unknown): Properties => ({ ...(sanitize(outs) as Properties), schemaVersion });
  return {
    configure: async () => {
      exitWithEngine();
      configured?.();
    },
    check: (olds, news) => guarded(async () => {
      const { inputs, failures } = await handler.check(strip(olds ?? {}) as Partial<I>, strip(news) as I);
      return { inputs: sanitize(inputs) as Properties, failures };
    }),
    diff: (id, olds, news) => guarded(async () => {
      const result = await handler.diff(id, strip(olds) as O, strip(news) as I);
      return { changes: result.changes, replaces: result.replaces ?? [], deleteBeforeReplace: result.deleteBeforeReplace ?? true };
    }),
    create: (inputs) => made(inputs, async () => {
      const { id, outs } = await handler.create(strip(inputs) as I);
      return { id, outs: outsOf(outs) };
    }),
    update: (id, olds, news) => made(news, async () => ({ outs: outsOf((await handler.update(id, strip(olds) as O, strip(news) as I)).outs) })),
    read: (id, props) => guarded(async () => {
      const seen = await handler.read(id, strip(props) as O);
      return { id: seen.id, props: { ...outsOf(seen.props), __provider: props["__provider"] } };
    }),
    delete: (id, props) => guarded(() => handler.delete(id, strip(props) as O)),
  };
}
