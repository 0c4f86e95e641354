import type { PassContext } from "./context.js";
import { type Deletion, runDeletes } from "./deletes.js";
import { takeOver } from "./program-pass.js";

/** Deletes all that the state holds; the program is not run. */
export async function destroyPass(context: PassContext): Promise<void> {
  const all: Deletion[] = context.store.entries().map(([key, record]) => ({ key, record }));
  const living = new Set(all.filter((entry) => entry.record.delete !== true).map((entry) => entry.record.urn));
  const begun = await takeOver(context, living);
  if (context.failed) return;
  await runDeletes([...all, ...begun], context);
}
