import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import type { TestNode } from "./lab.js";

/** CPU since the start of the processes of one program, in seconds; `commands`: of the children that they have waited for (zfs, systemctl, …). Memory now: PSS, which counts shared pages once. */
export interface Used { cpuS: number; commandsS: number; pssBytes: number; processes: number }
export type Usage = Record<string, Used>;
const hertz = 100; // sysconf(_SC_CLK_TCK) of Linux on all its platforms that Debian has

/** Pure: /proc/PID/stat, proc(5). The name may hold blanks and brackets. */
export function parseStat(line: string): { pid: number; parent: number; name: string; cpuS: number; commandsS: number } | undefined {
  const match = /^(\d+) \((.*)\) (.*)$/s.exec(line.trim());
  if (match === null) return undefined;
  const fields = (match[3] as string).split(" ");
  // fields[0] is the state, field 3 of proc(5): utime, stime, cutime, cstime are 14 to 17
  const time = (from: number): number => (Number(fields[from]) + Number(fields[from + 1])) / hertz;
  return { pid: Number(match[1]), parent: Number(fields[1]), name: match[2] as string, cpuS: time(11), commandsS: time(13) };
}

function programOf(name: string, commandLine: string): string {
  const hcd = /hcd\.cjs\s+(control|worker|fencer)/.exec(commandLine)?.[1];
  if (hcd !== undefined) return `hcd ${hcd}`;
  if (name.startsWith("php-fpm")) return "php-fpm";
  return ["zfs-fuse", "etcd", "apache2", "systemd", "dbus-daemon", "systemd-journal"].includes(name) ? name : "others";
}

/** All programs of a node, by name. A process that ends meanwhile is left out. */
export async function usageOf(node: TestNode, memory = false): Promise<Usage> {
  const text = await node.sh(`cat /proc/[0-9]*/stat 2>/dev/null || true; echo ==; grep -aH hcd.cjs /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' || true; echo; echo ==; ${memory ? "grep -H ^Pss: /proc/[0-9]*/smaps_rollup 2>/dev/null || true" : "true"}`, { timeoutMs: 60_000 });
  const [stats = "", lines = "", pss = ""] = text.split(/^==$/m);
  const commandLines = new Map([...lines.matchAll(/\/proc\/(\d+)\/cmdline:([^\n]*?)(?=\/proc\/\d+\/cmdline:|\n|$)/g)].map((match) => [Number(match[1]), match[2] as string]));
  const kept = new Map([...pss.matchAll(/^\/proc\/(\d+)\/smaps_rollup:Pss:\s+(\d+) kB$/gm)].map((match) => [Number(match[1]), Number(match[2]) * 1024]));
  const usage: Usage = {};
  for (const line of stats.split("\n")) {
    const seen = parseStat(line);
    if (seen === undefined) continue;
    // the shells that run hcd's commands (daemon/lib/shell-runner.ts) are commands of it
    const parent = seen.name === "sh" ? programOf("", commandLines.get(seen.parent) ?? "") : "others";
    const isShell = parent !== "others";
    const program = isShell ? parent : programOf(seen.name, commandLines.get(seen.pid) ?? "");
    usage[program] ??= { cpuS: 0, commandsS: 0, pssBytes: 0, processes: 0 };
    const sum = usage[program];
    sum.cpuS += isShell ? 0 : seen.cpuS;
    sum.commandsS += seen.commandsS + (isShell ? seen.cpuS : 0);
    sum.pssBytes += kept.get(seen.pid) ?? 0;
    sum.processes += 1;
  }
  return usage;
}

/** Percent of a core between two looks, by program: own, and that of its commands. */
export function percentBetween(before: Usage, after: Usage, ms: number): Record<string, { own: number; commands: number }> {
  const percent = (a: number | undefined, b: number): number => Math.max(0, Math.round(((b - (a ?? 0)) / ms) * 1e6) / 10);
  return Object.fromEntries(Object.entries(after).map(([program, now]) => [program, { own: percent(before[program]?.cpuS, now.cpuS), commands: percent(before[program]?.commandsS, now.commandsS) }]));
}
/** What the whole machine is like: other work on it is seen here and not in the node. */
export function machine(): { load: number; availableBytes: number; busyS: number } {
  const available = Number(/^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) * 1024;
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (readFileSync("/proc/stat", "utf8").split("\n")[0] as string).trim().split(/\s+/).slice(1).map(Number);
  return { load: Math.round((loadavg()[0] as number) * 100) / 100, availableBytes: available, busyS: (user + nice + system + irq + softirq) / hertz };
}
