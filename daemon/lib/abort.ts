import { HcError } from "./errors.js";

/** Waits `ms` of monotonic time, or throws ABORTED when the signal fires first. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(new HcError("ABORTED", "The wait was cancelled."));
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(new HcError("ABORTED", "The wait was cancelled."));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Runs `act` under a deadline; past it the inner signal fires and TIMEOUT is thrown (the act may still happen). */
export async function withDeadline<T>(ms: number, what: string, act: (signal: AbortSignal) => Promise<T>, outer?: AbortSignal): Promise<T> {
  const controller = new AbortController();
  const onOuter = (): void => controller.abort();
  if (outer?.aborted) controller.abort();
  outer?.addEventListener("abort", onOuter, { once: true });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new HcError("TIMEOUT", `${what} did not end within ${ms} ms.`));
      controller.abort();
    }, ms);
  });
  try {
    return await Promise.race([act(controller.signal), late]);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener("abort", onOuter);
  }
}
