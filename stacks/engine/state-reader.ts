import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { HcError } from "../../daemon/lib/errors.js";
import { passphraseSync } from "./secrets/stack-config.js";
import { type Crypter, openCrypterSync } from "./secrets/passphrase.js";
import { hasSealed, mapProperties, unseal } from "./secrets/seal.js";
import { type Checkpoint, parseCheckpoint } from "./state/checkpoint.js";
import { baseRecords, fold } from "./state/journal.js";
import { backupFile, checkpointFile, journalFile, lockFolder, stacksFolder, type StackPlace } from "./state/paths.js";
import type { ResourceRecord } from "./types.js";
import { rootType } from "./urn.js";
import { unwrap } from "./values.js";

/** The state as it lies there, with what a killed run had recorded; `undefined` for a stack that was never made. */
function load(place: StackPlace): { state: Checkpoint; records: ResourceRecord[] } | undefined {
  const file = checkpointFile(place);
  if (!existsSync(file)) return undefined;
  const state = parseCheckpoint(readFileSync(file, "utf8"), file);
  const journal = journalFile(place);
  const records = existsSync(journal) ? fold(state, readFileSync(journal, "utf8")).records : baseRecords(state.resources);
  return { state, records: [...records.values()] };
}

function opened(record: ResourceRecord, place: StackPlace, salt: string | undefined, env: NodeJS.ProcessEnv): ResourceRecord {
  let crypter: Crypter | undefined;
  // the key costs 0.14 s: only where something is encrypted
  if (hasSealed(record)) {
    if (salt === undefined) throw new HcError("INVALID_INPUT", `Stack ${place.stack} has encrypted values but no secrets provider in its state.`);
    crypter = openCrypterSync(passphraseSync(place.workspace, env), salt);
  }
  return mapProperties(record, (value) => unwrap(crypter === undefined ? value : unseal(value, crypter)));
}

/** The stack's outputs in clear, as the last `up` left them; none for a stack that does not exist. `projectRoot` is kept for callers that hold it. */
export function stackOutputs(workspace: string, _projectRoot: string, project: string, stack: string, env: NodeJS.ProcessEnv = process.env): Record<string, unknown> {
  const place = { workspace, project, stack };
  const loaded = load(place);
  const root = loaded?.records.find((record) => record.type === rootType);
  return root === undefined ? {} : (opened(root, place, loaded?.state.salt, env).outputs ?? {});
}

/** The resources of the state; encrypted values stay encrypted. */
export function stackResources(workspace: string, _projectRoot: string, project: string, stack: string): ResourceRecord[] {
  return load({ workspace, project, stack })?.records ?? [];
}

/** Names of the project's stacks that have a state file here. */
export function stacksLeft(workspace: string, project: string): string[] {
  const folder = stacksFolder({ workspace, project, stack: "" });
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -".json".length)) : [];
}

/** Takes a stack's state files away; a stack that still has resources is refused (CONFLICT). */
export function removeStack(workspace: string, _projectRoot: string, project: string, stack: string): void {
  const place = { workspace, project, stack };
  const left = load(place)?.records.length ?? 0;
  if (left > 0) throw new HcError("CONFLICT", `Stack ${stack} still has ${left} resources; destroy it first.`);
  for (const path of [checkpointFile(place), backupFile(place), journalFile(place), lockFolder(place)]) rmSync(path, { recursive: true, force: true });
}

