import { readFileSync } from "node:fs";

/** A process, told from a later one of the same pid by its start time (clock ticks since boot, proc(5) field 22). */
export interface ProcessMark {
  pid: number;
  started: string;
}

/** State, number of threads (fields 3 and 20) and start time from the text of /proc/<pid>/stat; the name in field 2 may hold spaces and parentheses. */
export function parseStat(text: string): { state: string; threads: number; started: string } | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, threads, started] = [fields[0], fields[17], fields[19]];
  return state === undefined || threads === undefined || started === undefined ? undefined : { state, threads: Number(threads), started };
}

/** A process of which only the first thread is left, as a zombie: it holds no file and no socket, and waits for its parent. A zombie beside other threads is on its way there: its sockets still listen. */
export const hasEnded = ({ state, threads }: { state: string; threads: number }): boolean => state === "X" || (state === "Z" && threads <= 1);

function look(pid: number): ReturnType<typeof parseStat> {
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

export function isAlive(mark: ProcessMark): boolean {
  const seen = look(mark.pid);
  return seen !== undefined && seen.started === mark.started && !hasEnded(seen);
}
