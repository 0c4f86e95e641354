import { readdir } from "node:fs/promises";
import { tail } from "../services/log-files.js";
import { timeOfLine } from "./access-line.js";
import { isLogName } from "./access-log.js";

const tailBytes = 8 << 20;
const mostFiles = 3;

/** The last lines of a unit's access log on this node, oldest first; what was put aside lately is read too. */
export async function readAccessLog(folder: string, unit: string, lines: number): Promise<string[]> {
  if (!isLogName(unit)) return [];
  const current = `${unit}.log`;
  // names of what was put aside sort by time
  const aside = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith(`${current}.`)).sort().reverse();
  let found: string[] = [];
  for (const name of [current, ...aside].slice(0, mostFiles)) {
    if (found.length >= lines) break;
    found = [...(await tail(`${folder}/${name}`, tailBytes)).split("\n").filter((line) => line !== ""), ...found];
  }
  return found.slice(-lines);
}

/** Pure: the lines of several nodes (or workers) in the order in which their requests began; each node's keep theirs where they are of one second. */
export function mergeLines(logs: readonly (readonly string[])[], lines: number): string[] {
  const timed = logs.flatMap((log) => log.map((line) => ({ line, atMs: timeOfLine(line) ?? 0 })));
  return timed.sort((a, b) => a.atMs - b.atMs).slice(-lines).map(({ line }) => line);
}
