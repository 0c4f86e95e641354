import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { maxSubnet } from "./addresses.js";
import type { ProcessMark } from "./processes.js";

/**
 * Which subnets of this machine are taken: one folder a lab, `/run/hybridcluster-labs/<subnet>/`. It also holds what only matters
 * while the nodes run (`<node number>/`: pid, control groups, console), so that it is enough to clear a lab whose own folder is gone.
 */
export const registryRoot = "/run/hybridcluster-labs";

export interface RegistryEntry {
  version: 1;
  subnet: number;
  /** Random; equal to the id in the lab's own folder as long as both mean the same lab. */
  id: string;
  name: string;
  dir: string;
  /** A test's lab: it goes with its owner. Others stay until they are destroyed. */
  ephemeral: boolean;
  owner: ProcessMark;
}

export const registryFolder = (subnet: number): string => join(registryRoot, String(subnet));
export const runFolder = (subnet: number, index: number): string => join(registryFolder(subnet), String(index));

export function readEntry(subnet: number): RegistryEntry | undefined {
  try {
    return JSON.parse(readFileSync(join(registryFolder(subnet), "lab.json"), "utf8")) as RegistryEntry;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export function readEntries(): RegistryEntry[] {
  let names: string[];
  try {
    names = readdirSync(registryRoot);
  } catch {
    return []; // no lab since the machine started
  }
  return names.filter((name) => /^[0-9]+$/.test(name)).map((name) => readEntry(Number(name))).filter((entry) => entry !== undefined);
}

/** Takes the subnet of `entry`: one rename of a complete folder, so that an entry is there with its text or not at all. False: taken. */
export function claim(entry: RegistryEntry): boolean {
  const temporary = join(registryRoot, `.new-${process.pid}-${entry.id}`);
  mkdirSync(temporary, { recursive: true, mode: 0o700 });
  writeFileSync(join(temporary, "lab.json"), `${JSON.stringify(entry)}\n`);
  try {
    renameSync(temporary, registryFolder(entry.subnet));
    return true;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    if (["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

/** Claims the first free subnet from `first` on, going round; undefined when all are taken. */
export function claimFree(entry: Omit<RegistryEntry, "subnet">, first: number): RegistryEntry | undefined {
  for (let step = 0; step < maxSubnet; step += 1) {
    const wanted = { ...entry, subnet: ((first - 1 + step) % maxSubnet) + 1 };
    if (claim(wanted)) return wanted;
  }
  return undefined;
}

export function release(subnet: number): void {
  rmSync(registryFolder(subnet), { recursive: true, force: true });
  removeIfEmpty(registryRoot);
}

export function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // in use by others, or gone
  }
}
