import { readFileSync } from "node:fs";
import { parseStat } from "../../support/node-usage.js";

const hertz = 100; // sysconf(_SC_CLK_TCK) of Linux on all its platforms that Debian has

/** CPU of a process with all its threads since its start, s, user and kernel: /proc/PID/stat, proc(5). The kernel scales both so that their sum is exact (10 ms steps). */
export function cpuSeconds(pid: number): number {
  const seen = parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  if (seen === undefined) throw new Error(`/proc/${pid}/stat cannot be read`);
  return seen.cpuS;
}

/** Resident memory of a process, bytes: /proc/PID/smaps_rollup, which counts exactly (VmRSS of /proc/PID/status may lag by some hundred KiB). */
export function residentBytes(pid: number): number {
  const kib = /^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`/proc/${pid}/smaps_rollup cannot be read`);
  return Number(kib) * 1024;
}

/** Seconds in which a core was busy since boot, whoever had it, and those that the hypervisor gave to others: /proc/stat, proc(5). */
export function coreSeconds(core: number): { busyS: number; stolenS: number } {
  const line = new RegExp(`^cpu${core} (.*)$`, "m").exec(readFileSync("/proc/stat", "utf8"))?.[1] ?? "";
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, stolen = 0] = line.split(" ").map(Number);
  return { busyS: (user + nice + system + irq + softirq) / hertz, stolenS: stolen / hertz };
}
