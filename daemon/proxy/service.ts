import type { HostConfig } from "../lib/node-config.js";
import type { ServiceDefinition } from "../platform/platform.js";
import type { WorkerOptions } from "./worker.js";

/** The worker's service. Its artefact's real path is in the definition, so that an upgrade restarts it. Keys are named by path only. */
export function proxyService(host: HostConfig, artefact = process.argv[1] ?? `${host.paths.lib}/current/hcd.cjs`): ServiceDefinition {
  const pki = `${host.paths.etc}/pki`;
  const options: WorkerOptions = {
    httpPort: host.ports.http,
    ...(host.ports.https > 0 ? { httpsPort: host.ports.https } : {}),
    peerPort: host.ports.peer,
    channel: `${host.paths.run}/proxy.sock`,
    pki: { ca: `${pki}/edge-ca.crt`, cert: `${pki}/proxy.crt`, key: `${pki}/proxy.key` },
  };
  return {
    name: "hcd-proxy",
    description: "HybridCluster proxy worker",
    argv: [process.execPath, artefact, "worker", JSON.stringify(options)],
    user: "_hcproxy",
    restart: "always",
    capabilities: ["CAP_NET_BIND_SERVICE"],
    lowPorts: [host.ports.http, host.ports.https, host.ports.peer].filter((port) => port > 0 && port < 1024),
  };
}
