import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { labNet } from "./addresses.js";
import { removeLeftGroups } from "./cgroups.js";
import { removeLink } from "./links.js";
import { killNode } from "./node-process.js";
import { labFile, type LabRecord } from "./place.js";
import { isAlive } from "./processes.js";
import { readEntries, type RegistryEntry, registryFolder, registryRoot, release } from "./registry.js";

/** Ends a lab's nodes and takes its bridge and registry entry away. Works from the registry alone: the lab's own folder may be gone. */
export async function clearRegistered(runner: CommandRunner, subnet: number): Promise<void> {
  const indexes = readdirSync(registryFolder(subnet)).filter((name) => /^[0-9]+$/.test(name)).map(Number);
  await Promise.all(indexes.map((index) => killNode(runner, subnet, index)));
  await removeLink(runner, labNet(subnet).bridge);
  release(subnet);
}

/** The record in a lab's own folder; undefined when there is none. */
export function readRecord(dir: string): LabRecord | undefined {
  try {
    return JSON.parse(readFileSync(labFile(dir), "utf8")) as LabRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** A test's lab whose test has ended, or a lab whose folder is gone or means another lab now: nobody will ever come back for it. */
export function isStale(entry: RegistryEntry): boolean {
  if (entry.ephemeral) return !isAlive(entry.owner);
  return readRecord(entry.dir)?.id !== entry.id;
}

/** Clears what crashed runs left. The caller holds the registry's lock, so that no entry is judged while it is being made. */
export async function clearStale(runner: CommandRunner): Promise<RegistryEntry[]> {
  const stale = readEntries().filter(isStale);
  for (const entry of stale) {
    await clearRegistered(runner, entry.subnet);
    if (entry.ephemeral) rmSync(entry.dir, { recursive: true, force: true });
  }
  for (const name of existsSync(registryRoot) ? readdirSync(registryRoot) : []) {
    const pid = /^\.new-([0-9]+)-/.exec(name)?.[1];
    if (pid !== undefined && pid !== String(process.pid)) rmSync(`${registryRoot}/${name}`, { recursive: true, force: true });
  }
  await clearUnnamed(runner);
  return stale;
}

/** Bridges and control groups of labs that no entry names: a removal that was killed between its steps. */
async function clearUnnamed(runner: CommandRunner): Promise<void> {
  const taken = new Set(readEntries().map((entry) => labNet(entry.subnet).bridge));
  removeLeftGroups((lab) => taken.has(lab));
  for (const name of readdirSync("/sys/class/net")) if (/^hcl[0-9]+(n[0-9]+)?$/.test(name) && !taken.has(name.replace(/n[0-9]+$/, ""))) await removeLink(runner, name);
}
