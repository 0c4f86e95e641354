import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

/** The folder with Pulumi.yaml at or above `from`; `from` itself where there is none. */
export function projectRootOf(from: string): string {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "Pulumi.yaml"))) return folder;
    if (folder === dirname(folder)) return resolve(from);
  }
}

/**
 * Where a project's state, passphrase, keys, connection files and labs lie: outside the checkout, by its path. `$HC_WORKSPACE` names it
 * directly (the engine sets it for the program and the provider), `$HC_HOME` the folder of all workspaces.
 */
export function workspaceDir(projectRoot: string, env: NodeJS.ProcessEnv = process.env): string {
  const direct = env["HC_WORKSPACE"];
  if (direct !== undefined && direct !== "") return resolve(direct);
  const home = env["HC_HOME"] || join(env["XDG_STATE_HOME"] || join(homedir(), ".local", "state"), "hybridcluster");
  const root = resolve(projectRoot);
  return join(home, `${basename(root)}-${createHash("sha256").update(root).digest("hex").slice(0, 8)}`);
}

export const stateFolder = (workspace: string): string => join(workspace, "state");
export const passphraseFile = (workspace: string): string => join(workspace, "passphrase");
export const labKeyFile = (workspace: string): string => join(workspace, "ssh", "id_ed25519");
export const connectionsFolder = (workspace: string): string => join(workspace, "clusters");
export const labFolder = (workspace: string, lab: string): string => join(workspace, "labs", lab);
