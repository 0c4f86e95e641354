import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../daemon/lib/backoff.js";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { HcError } from "../../daemon/lib/errors.js";
import { nodeNet } from "./addresses.js";
import { enableControllers, nodeGroups, processesIn, removeGroups } from "./cgroups.js";
import { removeLink } from "./links.js";
import { hostsFile, type LabPlace, type NodeRecord, nodeFolder } from "./place.js";
import { installAssets, labAssets } from "./node-assets.js";
import { isAlive, type ProcessMark } from "./processes.js";
import { runFolder } from "./registry.js";

/** SIGRTMIN+4: systemd(1) powers the node off in an orderly way. */
const powerOff = 38;

function readMark(folder: string): ProcessMark | undefined {
  try {
    const [pid, started] = readFileSync(join(folder, "init.pid"), "utf8").trim().split(" ");
    return pid === undefined || started === undefined ? undefined : { pid: Number(pid), started };
  } catch {
    return undefined;
  }
}

/** The node's pid 1 as this machine counts it; undefined while it is down. Three small files are read, no process is started. */
export function initPid(subnet: number, index: number): number | undefined {
  const mark = readMark(runFolder(subnet, index));
  return mark !== undefined && isAlive(mark) ? mark.pid : undefined;
}

/** True when something listens on TCP port 22 in the node, from its own socket table: a probe that comes too early costs a 1 s retry. */
export function listensOn(table: string, port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")} `;
  return table.split("\n").some((line) => line.includes(local) && / 0A /.test(line) && line.indexOf(local) < line.indexOf(" 0A "));
}
function sshdListens(pid: number): boolean {
  try {
    return listensOn(readFileSync(`/proc/${pid}/net/tcp`, "latin1"), 22);
  } catch {
    return false;
  }
}

function consoleTail(folder: string): string {
  try {
    return readFileSync(join(folder, "console.log"), "utf8").trim().split("\n").slice(-6).join(" | ");
  } catch {
    return "(no console)";
  }
}

function launch(place: LabPlace, node: NodeRecord): { exited: () => number | undefined } {
  const folder = runFolder(place.subnet, node.index);
  const net = nodeNet(place.subnet, node.index);
  installAssets(join(nodeFolder(place.dir, node.name), "upper"));
  const groups = nodeGroups(place.net.bridge, node.index);
  writeFileSync(join(folder, "cgroups"), groups.map((group) => `${group}\n`).join(""));
  for (const group of groups) mkdirSync(join(group, ".."), { recursive: true });
  enableControllers(groups);
  const output = openSync(join(folder, "console.log"), "w", 0o600);
  const child = spawn("/bin/sh", [join(labAssets, "node-outer.sh")], {
    detached: true, // a session of its own: the engine ends the provider's process group after each operation
    cwd: "/",
    stdio: ["ignore", output, output],
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      HCL_RUN: folder,
      HCL_NODE: nodeFolder(place.dir, node.name),
      HCL_HOSTS: hostsFile(place.dir),
      HCL_ROOT: node.root,
      HCL_SCRIPTS: labAssets,
      HCL_NAME: node.name,
      HCL_BRIDGE: place.net.bridge,
      HCL_VETH: net.veth,
      HCL_MAC: net.mac,
      HCL_V4: `${net.v4}/24`,
      HCL_V6: `${net.v6}/64`,
      HCL_MEMORY: node.memoryBytes ?? "",
    },
  });
  closeSync(output);
  let code: number | undefined;
  child.on("exit", (exit) => { code = exit ?? 1; });
  child.on("error", () => { code = 127; });
  child.unref();
  return { exited: () => code };
}

/** Starts the node unless it runs, and waits until its sshd listens (its pools are imported then). The caller holds the node's lock. */
export async function startNode(runner: CommandRunner, place: LabPlace, node: NodeRecord, withinMs = 90_000): Promise<void> {
  const folder = runFolder(place.subnet, node.index);
  if (!existsSync(node.root)) throw new HcError("NOT_FOUND", `The Debian root of node ${node.name} (${node.root}) is gone from the cache; "hc up" builds one and goes on.`);
  mkdirSync(folder, { recursive: true });
  // not free: the node runs, or is on its way though its starter was killed
  const started = (await isFree(runner, folder)) ? launch(place, node) : undefined;
  await until(`start of node ${node.name}`, { withinMs, firstMs: 10, capMs: 40 }, async () => {
    const pid = initPid(place.subnet, node.index);
    if (pid !== undefined) return sshdListens(pid) ? true : undefined;
    const ended = started === undefined ? await isFree(runner, folder) : started.exited() !== undefined;
    if (ended)
      throw new HcError("COMMAND_FAILED", `Node ${node.name} of lab ${place.name} did not start (${folder}/console.log): ${consoleTail(folder)}`);
    return undefined;
  });
}

function groupsOf(folder: string): string[] {
  try {
    return readFileSync(join(folder, "cgroups"), "utf8").split("\n").filter((line) => line !== "");
  } catch {
    return [];
  }
}

/** A power cut. Also ends what a killed start left half-made. All traces outside the node's own folder are gone afterwards. */
export async function killNode(runner: CommandRunner, subnet: number, index: number): Promise<void> {
  const folder = runFolder(subnet, index);
  const groups = groupsOf(folder);
  await until(`end of node ${index} of lab subnet ${subnet}`, { withinMs: 30_000, firstMs: 5, capMs: 50 }, async () => {
    const pid = initPid(subnet, index);
    const all = pid === undefined ? groups.flatMap(processesIn) : [pid]; // pid 1 takes its whole namespace along
    for (const victim of new Set(all)) {
      try {
        process.kill(victim, "SIGKILL");
      } catch {
        // ended meanwhile
      }
    }
    return all.length === 0 && (await isFree(runner, folder)) ? true : undefined;
  });
  await removeLink(runner, nodeNet(subnet, index).veth);
  await removeGroups(groups);
  rmSync(join(folder, "init.pid"), { force: true });
}

/** True when nobody holds the node's lock file: neither a node nor a start that has not come as far as its control groups. */
async function isFree(runner: CommandRunner, folder: string): Promise<boolean> {
  const result = await runner.run(["flock", "--nonblock", "--conflict-exit-code", "9", join(folder, "lock"), "true"], { timeoutMs: 10_000 });
  return result.code !== 9;
}

/** An orderly shutdown (services stopped, pools exported); a node that takes longer than `withinMs` is switched off. */
export async function stopNode(runner: CommandRunner, subnet: number, index: number, withinMs = 30_000): Promise<void> {
  const pid = initPid(subnet, index);
  if (pid !== undefined) {
    process.kill(pid, powerOff);
    await until("shutdown", { withinMs, firstMs: 10, capMs: 50 }, async () => (initPid(subnet, index) === undefined ? true : undefined)).catch(() => undefined);
  }
  await killNode(runner, subnet, index);
}
