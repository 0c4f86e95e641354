import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseDocument } from "yaml";
import { HcError } from "../../../daemon/lib/errors.js";
import { readFileIfAny, writeFileAtomic } from "../../../daemon/lib/atomic-file.js";
import { passphraseFile } from "../../../providers/core/workspace.js";
import { createCrypter, type Crypter, openCrypter } from "./passphrase.js";

const passphraseBytes = 24;

/** PULUMI_CONFIG_PASSPHRASE, then PULUMI_CONFIG_PASSPHRASE_FILE, then the workspace's own file. Throws NOT_FOUND. */
export function passphraseSync(workspace: string, env: NodeJS.ProcessEnv): string {
  const direct = env["PULUMI_CONFIG_PASSPHRASE"];
  if (direct !== undefined) return direct;
  const file = env["PULUMI_CONFIG_PASSPHRASE_FILE"] || passphraseFile(workspace);
  if (!existsSync(file)) throw new HcError("NOT_FOUND", `The passphrase file ${file} does not exist; name it by PULUMI_CONFIG_PASSPHRASE_FILE.`);
  return readFileSync(file, "utf8").replace(/\r?\n$/, "");
}

/** The same; the workspace's own file (0600) is made when nothing else is named. */
export async function passphraseOf(workspace: string, env: NodeJS.ProcessEnv): Promise<string> {
  const file = passphraseFile(workspace);
  const named = env["PULUMI_CONFIG_PASSPHRASE"] !== undefined || (env["PULUMI_CONFIG_PASSPHRASE_FILE"] ?? "") !== "";
  if (!named && !existsSync(file)) {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await writeFileAtomic(file, `${randomBytes(passphraseBytes).toString("base64url")}\n`, { mode: 0o600 });
  }
  return passphraseSync(workspace, env);
}

export interface StackConfig {
  /** `<project>:<key>` → clear text */
  values: Record<string, string>;
  secretKeys: string[];
}

const configFile = (projectRoot: string, stack: string): string => join(projectRoot, `Pulumi.${stack}.yaml`);

/** The crypter of the stack: its salt is in Pulumi.<stack>.yaml, in the state, or is made now. */
export async function stackCrypter(place: { projectRoot: string; stack: string; workspace: string; stateSalt: string | undefined; env: NodeJS.ProcessEnv }): Promise<Crypter> {
  const passphrase = await passphraseOf(place.workspace, place.env);
  const file = configFile(place.projectRoot, place.stack);
  const document = parseDocument((await readFileIfAny(file)) ?? "");
  const written = document.get("encryptionsalt");
  const salt = place.stateSalt ?? (typeof written === "string" ? written : undefined);
  const crypter = salt === undefined ? await createCrypter(passphrase) : await openCrypter(passphrase, salt);
  if (written !== crypter.salt) {
    document.set("encryptionsalt", crypter.salt);
    await writeFileAtomic(file, document.toString());
  }
  return crypter;
}

/**
 * The stack is gone: its salt goes from Pulumi.<stack>.yaml (a file that held nothing else too), so that the next stack of this name may have another passphrase. False, and nothing is changed, where the file holds secrets:
 * they stay readable with the passphrase alone, which must be kept then.
 */
export async function forgetSalt(projectRoot: string, stack: string): Promise<boolean> {
  const file = configFile(projectRoot, stack);
  const text = await readFileIfAny(file);
  if (text === undefined) return true;
  const document = parseDocument(text);
  const { config, ...rest } = (document.toJS() ?? {}) as { config?: Record<string, unknown>; encryptionsalt?: string };
  if (Object.values(config ?? {}).some((value) => JSON.stringify(value)?.includes('"secure":') === true)) return false;
  if (rest.encryptionsalt === undefined) return true;
  document.delete("encryptionsalt");
  if (config === undefined && Object.keys(rest).length === 1) await rm(file);
  else await writeFileAtomic(file, document.toString());
  return true;
}

/** Pulumi.<stack>.yaml and overrides; a key without a namespace is the project's. */
export async function readStackConfig(place: { projectRoot: string; project: string; stack: string; overrides: Record<string, string> }, crypter: Crypter): Promise<StackConfig> {
  const parsed = parseDocument((await readFileIfAny(configFile(place.projectRoot, place.stack))) ?? "").toJS() as { config?: Record<string, unknown> } | null;
  const full = (key: string): string => (key.includes(":") ? key : `${place.project}:${key}`);
  const values: Record<string, string> = {};
  const secretKeys: string[] = [];
  for (const [key, value] of Object.entries(parsed?.config ?? {})) {
    const secure = (value as { secure?: unknown } | null)?.secure;
    if (typeof secure === "string") {
      values[full(key)] = crypter.decrypt(secure);
      secretKeys.push(full(key));
    } else values[full(key)] = typeof value === "string" ? value : JSON.stringify(value);
  }
  for (const [key, value] of Object.entries(place.overrides)) values[full(key)] = value;
  return { values, secretKeys };
}
