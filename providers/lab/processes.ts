import { readFileSync } from "node:fs";

/** A process, told from a later one of the same pid by its start time (clock ticks since boot, proc(5) field 22). */
export interface ProcessMark {
  pid: number;
  started: string;
}

/** State and start time from the text of /proc/<pid>/stat; the name in field 2 may hold spaces and parentheses. */
export function parseStat(text: string): { state: string; started: string } | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, started] = [fields[0], fields[19]];
  return state === undefined || started === undefined ? undefined : { state, started };
}

function look(pid: number): { state: string; started: string } | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return undefined; // no such process
  }
}

export function markOf(pid: number): ProcessMark | undefined {
  const seen = look(pid);
  return seen === undefined ? undefined : { pid, started: seen.started };
}

/** A zombie counts as dead: it runs nothing and only waits for its parent. */
export function isAlive(mark: ProcessMark): boolean {
  const seen = look(mark.pid);
  return seen !== undefined && seen.started === mark.started && seen.state !== "Z" && seen.state !== "X";
}
