import { lstat, readdir, truncate } from "node:fs/promises";
import { join } from "node:path";

/** Empties logs of a folder of ours that have grown beyond `mostBytes`; their writers append (O_APPEND), so what follows stands at the start. A site decides how much its PHP has to say, and its service may run for months. */
export async function trimLogs(folder: string, mostBytes: number): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const seen = name.endsWith(".log") ? await lstat(join(folder, name)).catch(() => undefined) : undefined;
    if (seen?.isFile() === true && seen.size > mostBytes) await truncate(join(folder, name));
  }
}
