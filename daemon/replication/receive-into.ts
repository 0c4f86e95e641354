import { Readable } from "node:stream";
import { HcError } from "../lib/errors.js";
import { userPrefix } from "../zfs/commands.js";
import type { Dataset, ReceiveOptions, Zfs } from "../zfs/zfs.js";
import type { StreamHead } from "./wire.js";

/**
 * zfs receive of a verified payload; what was wrong with the payload is told before what zfs then said of it. `resumable`: zfs sees a broken payload as one that ends, so that it puts all that it was given
 * to disk before it gives up (killed, it would lose what is on the way); it cannot take the end for the whole, whose last frame is given out only after everything matched.
 */
export async function receiveInto(zfs: Zfs, dataset: string, payload: Readable, properties: Record<string, string>, signal: AbortSignal, how: ReceiveOptions = {}): Promise<void> {
  let damage: Error | undefined;
  payload.once("error", (error) => {
    damage = error;
  });
  const input = how.resumable === true ? Readable.from(untilBroken(payload), { objectMode: false }) : payload;
  try {
    await zfs.receive(dataset, input, properties, signal, how);
  } catch (error) {
    throw damage ?? error;
  } finally {
    payload.destroy();
  }
  if (damage !== undefined) throw damage;
}
async function* untilBroken(payload: Readable): AsyncGenerator<Uint8Array> {
  try {
    yield* payload as AsyncIterable<Uint8Array>;
  } catch {
    // the listener above has it
  }
}

/** Properties that the receive sets: only what differs, each costs a command on some ZFS. */
export function changedProperties(head: StreamHead, dataset: Dataset | undefined): Record<string, string> {
  const changed: Record<string, string> = dataset === undefined ? { readonly: "on", canmount: "noauto" } : dataset.readonly ? {} : { readonly: "on" };
  for (const [name, value] of Object.entries(head.properties)) if (value !== "" && dataset?.user[name] !== value) changed[userPrefix + name] = value;
  return changed;
}

/** Ends `stream` with an error when it delivers nothing for `ms`. Returns the function that ends the watch. */
export function watchIdle(stream: Readable, ms: number): () => void {
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stream.destroy(new HcError("TIMEOUT", `The stream was silent for ${ms} ms.`)), ms);
  };
  arm();
  stream.on("data", arm);
  stream.pause(); // the listener alone must not make it flow
  return () => {
    clearTimeout(timer);
    stream.off("data", arm);
  };
}

/** Takes in what is left of a short refused body, so that the sender reads the answer and not a reset. */
export async function drain(stream: Readable): Promise<void> {
  const limit = 4 * 1024 * 1024;
  let seen = 0;
  const watch = watchIdle(stream, 1_000);
  try {
    for await (const chunk of stream) {
      seen += (chunk as Buffer).length;
      if (seen > limit) break;
    }
  } catch {
    // the sender is gone: nothing to drain
  } finally {
    watch();
  }
}
