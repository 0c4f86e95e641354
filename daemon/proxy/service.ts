import { availableParallelism } from "node:os";
import type { HostConfig } from "../lib/node-config.js";
import type { ServiceDefinition } from "../platform/platform.js";
import type { WorkerOptions } from "./worker.js";

/** At least two, so that one can be replaced while the other serves. */
export const workerCount = (cores = availableParallelism()): number => Math.min(8, Math.max(2, cores));
export const workerNames = (count = workerCount()): string[] => Array.from({ length: count }, (_, at) => `hcd-proxy-${at + 1}`);
/** Folder of the workers' user for bodies on their way. */
export const spoolFolder = (host: HostConfig): string => `${host.paths.state}/spool`;
/** Folder of the workers' user for the sites' access logs. */
export const accessLogFolder = (host: Pick<HostConfig, "paths">): string => `${host.paths.log}/access`;

/** A worker's service. Its artefact's real path is in the definition, so that an upgrade is seen. Keys are named by path only. */
export function proxyService(host: HostConfig, name: string, artefact = process.argv[1] ?? `${host.paths.lib}/current/hcd.cjs`): ServiceDefinition {
  const pki = `${host.paths.etc}/pki`;
  const options: WorkerOptions = {
    name,
    httpPort: host.ports.http,
    ...(host.ports.https > 0 ? { httpsPort: host.ports.https } : {}),
    peerPort: host.ports.peer,
    channel: `${host.paths.run}/proxy.sock`,
    pki: { ca: `${pki}/edge-ca.crt`, cert: `${pki}/proxy.crt`, key: `${pki}/proxy.key` },
    shared: true,
    spool: spoolFolder(host),
    accessLog: accessLogFolder(host),
  };
  return {
    name,
    description: "HybridCluster proxy worker",
    argv: [process.execPath, artefact, "worker", JSON.stringify(options)],
    user: "_hcproxy",
    restart: "always",
    capabilities: ["CAP_NET_BIND_SERVICE"],
    lowPorts: [host.ports.http, host.ports.https, host.ports.peer].filter((port) => port > 0 && port < 1024),
  };
}
