import { existsSync, readdirSync, readFileSync } from "node:fs";
import { labNet } from "../../providers/lab/addresses.js";
import { readEntries } from "../../providers/lab/registry.js";

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // a process that ended meanwhile
  }
}
function groups(folder: string, name: string, depth: number): string[] {
  let children: string[] = [];
  try {
    children = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch {
    return [];
  }
  return children.flatMap((child) => [...(child === name ? [`cgroup ${folder}/${child}`] : []), ...(depth > 0 ? groups(`${folder}/${child}`, name, depth - 1) : [])]);
}

/** Everything on this machine that belongs to the lab in `dir` (subnet known or not): what must be empty after its end. */
export function labTraces(dir: string, subnet?: number): string[] {
  const found: string[] = [];
  if (existsSync(dir)) found.push(`folder ${dir}`);
  for (const entry of readEntries()) if (entry.dir === dir) found.push(`registry entry ${entry.subnet}`);
  for (const line of read("/proc/self/mountinfo").split("\n")) if (line.includes(dir)) found.push(`mount ${line}`);
  for (const pid of readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid)) {
    if (read(`/proc/${pid}/mountinfo`).includes(`${dir}/nodes`)) found.push(`process ${pid} in a node: ${read(`/proc/${pid}/cmdline`).replaceAll("\0", " ")}`);
    if (read(`/proc/${pid}/environ`).includes(`HCL_NODE=${dir}/`)) found.push(`process ${pid} of a node's start`);
  }
  if (subnet !== undefined) {
    const { bridge } = labNet(subnet);
    for (const link of readdirSync("/sys/class/net")) if (link === bridge || link.startsWith(`${bridge}n`)) found.push(`link ${link}`);
    found.push(...groups("/sys/fs/cgroup", bridge, 4));
  }
  return found;
}
