import type { ClusterConnection } from "../schemas/cluster.js";
import type { Connection } from "../schemas/connection.js";
import { readConnectionFile } from "./connection-file.js";

/** For old state (read, delete): its hosts may be gone, so the connection file that the last `up` wrote comes first. */
export function currentHosts(connection: ClusterConnection): Connection[] {
  const known = readConnectionFile(connection.cluster)?.connections ?? [];
  const seen = new Set(known.map((each) => JSON.stringify(each)));
  return [...known, ...connection.hosts.filter((each) => !seen.has(JSON.stringify(each)))];
}
