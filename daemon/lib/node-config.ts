/**
 * What stands on a node's own disk. `host.json` is written by the Host resource (over SSH), `cluster.json` and the keys by
 * hcd itself from the identity that the Cluster resource hands over through the API.
 */
export interface HostConfig {
  version: 1;
  node: string;
  platform: "linux" | "freebsd";
  zone: string;
  role: "node" | "witness";
  /** Addresses (IPv4 and IPv6) by which the other nodes reach this one, the preferred one first. */
  addresses: string[];
  ports: NodePorts;
  paths: NodePaths;
  /** Linux: the machine is reset when its units might live past their deadline (daemon/fencer). Only where it is wished. */
  watchdog?: WatchdogConfig;
}
export interface WatchdogConfig { device: string }
export const defaultWatchdog: WatchdogConfig = { device: "/dev/watchdog0" };
export interface NodePorts {
  /** Public HTTP of the proxy. */
  http: number;
  /** Public HTTPS of the proxy; 0 = none. Missing in host.json of versions before: none. */
  https: number;
  /** Proxy to proxy, mutual TLS of the edge CA. */
  peer: number;
  /** Control process to control process: streams, blobs, moves; mutual TLS of the cluster CA. */
  control: number;
  etcdClient: number;
  etcdPeer: number;
  /** Our Apache, loopback only. */
  apache: number;
  /** Prometheus, clear HTTP: only where it is given. */
  metrics?: number;
}
export interface NodePaths {
  /** Configuration and keys, root only. */
  etc: string;
  /** etcd's data, blobs, the manifest. */
  state: string;
  run: string;
  log: string;
  /** Artefacts `<lib>/<sha256>/hcd.cjs`, link `<lib>/current`; Node `<lib>/node-<version>/node`, link `<lib>/node`. */
  lib: string;
  /** Mount point of the datasets. */
  data: string;
}
export const defaultPorts: NodePorts = { http: 80, https: 443, peer: 4430, control: 4431, etcdClient: 2379, etcdPeer: 2380, apache: 8079 };
export const defaultPaths: NodePaths = {
  etc: "/etc/hybridcluster",
  state: "/var/lib/hybridcluster",
  run: "/run/hybridcluster",
  log: "/var/log/hybridcluster",
  lib: "/usr/local/lib/hybridcluster",
  data: "/hc",
};
/** FreeBSD's places (hier(7)). */
export const freebsdPaths: NodePaths = {
  etc: "/usr/local/etc/hybridcluster",
  state: "/var/db/hybridcluster",
  run: "/var/run/hybridcluster",
  log: "/var/log/hybridcluster",
  lib: "/usr/local/lib/hybridcluster",
  data: "/hc",
};
export const apiSocket = (paths: NodePaths): string => `${paths.run}/hcd.sock`;
export const hostConfigFile = (paths: NodePaths): string => `${paths.etc}/host.json`;
export const clusterConfigFile = (paths: NodePaths): string => `${paths.etc}/cluster.json`;

export interface Member { node: string; addresses: string[]; zone: string; role: "node" | "witness"; ports: NodePorts }
export interface ClusterConfig {
  version: 1;
  cluster: string;
  /** Random, made once by the Cluster resource; etcd's initial-cluster-token. */
  clusterId: string;
  node: string;
  /** All nodes, in the program's order. */
  members: Member[];
  /** Nodes that shall vote in etcd; `voters[0]` starts etcd, the others join it one at a time as learners. */
  voters: string[];
  /** The dataset that everything lives under, e.g. "hpool/hc"; "" on a witness. */
  dataset: string;
  etcd: { heartbeatMs: number; electionMs: number };
}
/** `PUT /v1/identity`: PEM texts. `ca` signs nodes (control plane, etcd), `edgeCa` signs proxies only. */
export interface Identity {
  version: 1;
  config: ClusterConfig;
  pki: { ca: string; nodeCert: string; nodeKey: string; edgeCa: string; proxyCert: string; proxyKey: string; /** base64 of 32 bytes: the key of secrets that lie in etcd (daemon/lib/sealed.ts). Missing in identities of versions before. */ sealKey?: string };
}
