import type { RouteRegistry } from "../context.js";
import { HcError } from "../lib/errors.js";
import type { ClusterConfig } from "../lib/node-config.js";

export interface NodeCalls {
  node: string;
  version: string;
  sha256: string;
  config(): ClusterConfig | undefined;
  putIdentity(value: unknown): Promise<{ changed: boolean }>;
  deleteIdentity(): Promise<void>;
}

/** The calls that a node answers before it belongs to a cluster. */
export function nodeRoutes(routes: RouteRegistry, calls: NodeCalls): void {
  routes.route("GET", "/v1/version", async () => {
    const config = calls.config();
    return { version: calls.version, sha256: calls.sha256, node: calls.node, clustered: config !== undefined, cluster: config?.cluster ?? "", clusterId: config?.clusterId ?? "" };
  });
  routes.route("PUT", "/v1/identity", async ({ json }) => calls.putIdentity(await json()));
  routes.route("DELETE", "/v1/identity", async () => {
    await calls.deleteIdentity();
    return { deleted: true };
  });
}

export const notClustered = (node: string): HcError => new HcError("NOT_READY", `${node} belongs to no cluster yet; hand it an identity (hc up does).`);
