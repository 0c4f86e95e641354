import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../daemon/lib/atomic-file.js";
import type { Connection } from "../schemas/connection.js";
import { connectionsFolder, projectRootOf, workspaceDir } from "./workspace.js";

/** By which hc, and handlers with old state, find a cluster: 0600, in the workspace, written by `up`. */
export interface ConnectionFile { version: 1; cluster: string; clusterId: string; projectRoot: string; connections: Connection[] }

const folder = (): string => connectionsFolder(workspaceDir(projectRootOf(process.cwd())));
const fileOf = (cluster: string, suffix = ""): string => join(folder(), `${cluster}${suffix}.json`);

export async function writeConnectionFile(cluster: string, clusterId: string, connections: Connection[]): Promise<void> {
  mkdirSync(folder(), { recursive: true, mode: 0o700 });
  const text: ConnectionFile = { version: 1, cluster, clusterId, projectRoot: projectRootOf(process.cwd()), connections };
  await writeFileAtomic(fileOf(cluster), `${JSON.stringify(text, null, 2)}\n`, { mode: 0o600 });
}
export function readConnectionFile(cluster: string): ConnectionFile | undefined {
  const file = fileOf(cluster);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as ConnectionFile) : undefined;
}
export function removeConnectionFile(cluster: string): void {
  rmSync(fileOf(cluster), { force: true });
}

/**
 * A new cluster's identity, kept (0600) from before the first host gets it until the state has it: a kill in between must not lose the CA, or the
 * hosts would belong to a cluster that nobody can speak for.
 */
export async function keepPending(cluster: string, pending: { clusterId: string; secrets: string }): Promise<void> {
  mkdirSync(folder(), { recursive: true, mode: 0o700 });
  await writeFileAtomic(fileOf(cluster, ".pending"), JSON.stringify(pending), { mode: 0o600 });
}
export function readPending(cluster: string): { clusterId: string; secrets: string } | undefined {
  const file = fileOf(cluster, ".pending");
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { clusterId: string; secrets: string }) : undefined;
}
/** After an `up` that succeeded: nothing is left in clear text. A `pulumi up` leaves it to the next look at the cluster. */
export function dropAllPending(workspace: string): void {
  const clusters = connectionsFolder(workspace);
  if (existsSync(clusters)) for (const name of readdirSync(clusters)) if (name.endsWith(".pending.json")) rmSync(join(clusters, name), { force: true });
}
export function dropPending(cluster: string): void {
  rmSync(fileOf(cluster, ".pending"), { force: true });
}
