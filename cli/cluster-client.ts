import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HcError } from "../daemon/lib/errors.js";
import { workspaceDir } from "../providers/core/workspace.js";
import type { Connection } from "../providers/schemas/connection.js";
import { apiCall } from "../providers/ssh/api-client.js";
import { closeConnections } from "../providers/ssh/pool.js";

/** The file (0600) that `up` writes, by which hc finds a cluster. */
export interface ConnectionFile { version: 1; cluster: string; clusterId: string; stack: string; projectRoot: string; connections: Connection[] }

/** Calls to a cluster's API through any node that can be reached. */
export interface ClusterClient {
  readonly file: ConnectionFile;
  call<T>(method: "GET" | "PUT" | "POST" | "DELETE", path: string, body?: unknown, timeoutMs?: number): Promise<T>;
  close(): Promise<void>;
}

export function connectionFiles(projectRoot: string): ConnectionFile[] {
  const folder = join(workspaceDir(projectRoot), "clusters");
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => name.endsWith(".json") && !name.endsWith(".pending.json")).sort().map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as ConnectionFile);
}

/** The named cluster of this project, or its only one. `HC_CONNECTION` names a file directly. */
export function chooseCluster(projectRoot: string, wanted: string | undefined): ConnectionFile {
  const direct = process.env["HC_CONNECTION"];
  if (direct !== undefined && direct !== "") return JSON.parse(readFileSync(direct, "utf8")) as ConnectionFile;
  const files = connectionFiles(projectRoot);
  const fitting = wanted === undefined ? files : files.filter((file) => file.cluster === wanted);
  const [first] = fitting;
  if (first === undefined)
    throw new HcError("NOT_FOUND", wanted === undefined ? "This project has no cluster yet: run `hc up` (here: `npm start`) first." : `This project has no cluster ${wanted}; there is ${files.map((file) => file.cluster).join(", ") || "none"}.`);
  if (fitting.length > 1) throw new HcError("INVALID_INPUT", `This project has several clusters (${files.map((file) => file.cluster).join(", ")}); choose one with --cluster.`);
  return first;
}

export function openCluster(file: ConnectionFile): ClusterClient {
  return {
    file,
    call: (method, path, body, timeoutMs = 10_000) => apiCall(file.connections, method, path, body, { timeoutMs }),
    close: () => closeConnections(),
  };
}
