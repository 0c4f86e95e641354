import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { HcError } from "../../../daemon/lib/errors.js";
import { readFileIfAny, writeFileAtomic } from "../../../daemon/lib/atomic-file.js";
import type { PendingOperation, ResourceRecord } from "../types.js";
import { backupFile, checkpointFile, metaFile, type StackPlace } from "./paths.js";

/** The state file, version 3 of Pulumi's checkpoint; secrets in it stay encrypted here. */
export interface Checkpoint {
  resources: ResourceRecord[];
  pending: PendingOperation[];
  /** of secrets_providers; undefined for a stack without secrets provider */
  salt?: string;
  /** sha256 of the file's text: a journal belongs to one text */
  digest: string;
}

const checkpointVersion = 3;
const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

export function parseCheckpoint(text: string, file: string): Checkpoint {
  let parsed: { version?: number; checkpoint?: { latest?: { secrets_providers?: { type?: string; state?: { salt?: string } }; resources?: ResourceRecord[]; pending_operations?: PendingOperation[] } } };
  try {
    parsed = JSON.parse(text) as typeof parsed;
  } catch (error) {
    throw new HcError("INVALID_INPUT", `The state file ${file} is not JSON; its last good version is ${file}.bak.`, { cause: error });
  }
  if (parsed.version !== checkpointVersion) throw new HcError("UNSUPPORTED", `The state file ${file} has version ${parsed.version}; this engine reads version ${checkpointVersion}. Use the pulumi CLI.`);
  const latest = parsed.checkpoint?.latest ?? {};
  const provider = latest.secrets_providers;
  if (provider?.type !== undefined && provider.type !== "passphrase") throw new HcError("UNSUPPORTED", `The stack's secrets provider is ${provider.type}; this engine knows passphrase. Use the pulumi CLI.`);
  const salt = provider?.state?.salt;
  return { resources: latest.resources ?? [], pending: latest.pending_operations ?? [], ...(salt !== undefined && { salt }), digest: digestOf(text) };
}

export async function readCheckpoint(place: StackPlace): Promise<Checkpoint | undefined> {
  const file = checkpointFile(place);
  const text = await readFileIfAny(file);
  return text === undefined ? undefined : parseCheckpoint(text, file);
}

export function checkpointText(place: StackPlace, state: Pick<Checkpoint, "resources" | "pending" | "salt">, time: string): string {
  // the CLI checks magic = sha256(version), and takes both empty
  const latest = {
    manifest: { time, magic: "", version: "" },
    ...(state.salt !== undefined && { secrets_providers: { type: "passphrase", state: { salt: state.salt } } }),
    ...(state.resources.length > 0 && { resources: state.resources }),
    ...(state.pending.length > 0 && { pending_operations: state.pending }),
    metadata: {},
  };
  return `${JSON.stringify({ version: checkpointVersion, checkpoint: { stack: `organization/${place.project}/${place.stack}`, latest } }, undefined, 4)}\n`;
}

/** Atomic; what was there before is kept as `.bak`. Returns the digest of the new text. */
export async function writeCheckpoint(place: StackPlace, state: Pick<Checkpoint, "resources" | "pending" | "salt">, time: string): Promise<string> {
  const file = checkpointFile(place);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  if ((await readFileIfAny(metaFile(place))) === undefined) await writeFileAtomic(metaFile(place), "version: 1\n", { mode: 0o600 });
  const before = await readFileIfAny(file);
  if (before !== undefined) await writeFileAtomic(backupFile(place), before, { mode: 0o600 });
  const text = checkpointText(place, state, time);
  await writeFileAtomic(file, text, { mode: 0o600 });
  return digestOf(text);
}
