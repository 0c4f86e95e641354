import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../../daemon/lib/atomic-file.js";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { HcError } from "../../daemon/lib/errors.js";
import { preferredSubnet } from "./addresses.js";
import { clearStale, readRecord } from "./clear.js";
import { ensureKey } from "./keys.js";
import { ensureBridge } from "./links.js";
import { withLock } from "./lock.js";
import { readNodes } from "./node-files.js";
import { labFile, type LabPlace, labPlace, type LabRecord } from "./place.js";
import { isAlive, markOf } from "./processes.js";
import { claim, claimFree, readEntry, registryFolder, type RegistryEntry, registryRoot } from "./registry.js";

/** How long any lock of a lab is waited for. */
export const lockMs = 5 * 60_000;
export const registryLock = "the registry of labs";

export interface OpenLabOptions {
  /** The lab's folder, made when it is missing. */
  dir: string;
  name: string;
  /** The operator's private key; made when it is missing. Default: `<dir>/ssh/id_ed25519`. */
  keyPath?: string;
  /** A test's lab: cleared by anybody once this process is gone. */
  ephemeral?: boolean;
  runner?: CommandRunner;
}
/**
 * Gives the lab in `dir` its record, its subnet in the registry and its bridge, as far as they are missing (after a reboot the record alone is
 * there). Clears stale labs of crashed runs first.
 */
export function registerLab(options: OpenLabOptions, runner: CommandRunner): Promise<LabPlace> {
  return withLock(registryLock, lockMs, async () => {
    mkdirSync(registryRoot, { recursive: true, mode: 0o755 });
    await clearStale(runner);
    await mkdir(options.dir, { recursive: true, mode: 0o700 });
    const known = readRecord(options.dir);
    const record = await register(options, known);
    // the record last: a lab that is registered but not recorded is stale, and cleared by the next run
    if (known?.subnet !== record.subnet) await writeFileAtomic(labFile(options.dir), `${JSON.stringify(record, null, 2)}\n`, { mode: 0o600 });
    await ensureKey(record.keyPath);
    const place = labPlace(options.dir, record);
    await ensureBridge(runner, place.net);
    return place;
  });
}

async function register(options: OpenLabOptions, known: LabRecord | undefined): Promise<LabRecord> {
  const owner = markOf(process.pid);
  if (owner === undefined) throw new HcError("INTERNAL", "this process has no entry in /proc");
  const id = known?.id ?? randomUUID();
  const keyPath = known?.keyPath ?? options.keyPath ?? join(options.dir, "ssh", "id_ed25519");
  const ephemeral = options.ephemeral ?? false;
  const entry: Omit<RegistryEntry, "subnet"> = { version: 1, id, name: options.name, dir: options.dir, ephemeral, owner };
  if (known !== undefined) {
    const present = readEntry(known.subnet);
    if (present?.id === id || (present === undefined && claim({ ...entry, subnet: known.subnet }))) {
      // an ephemeral lab whose owner has gone belongs to who opens it again
      if (present !== undefined && !isAlive(present.owner)) writeFileSync(join(registryFolder(known.subnet), "lab.json"), `${JSON.stringify({ ...entry, subnet: known.subnet })}\n`);
      return { ...known, ephemeral };
    }
    if ((await readNodes(options.dir)).length > 0)
      throw new HcError("LOCKED", `The addresses of lab ${options.name} (10.77.${known.subnet}.0/24) are in use by lab ${present?.name} in ${present?.dir}; destroy that one, or stop it until the next reboot.`, { retry: "never" });
  }
  const digest = createHash("sha256").update(options.dir).digest("hex");
  const claimed = claimFree(entry, preferredSubnet(digest));
  if (claimed === undefined) throw new HcError("LIMIT_EXCEEDED", "All 250 lab networks of this machine are in use; destroy a lab first.", { retry: "never" });
  return { version: 1, id, name: options.name, subnet: claimed.subnet, ephemeral, keyPath };
}
