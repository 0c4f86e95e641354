/** `GET /v1/status` and `hc status --json`. Kept stable: properties are added, never renamed; JSON schema in status-schema.ts. */
export interface Status {
  version: 1;
  cluster: string;
  atMs: number;
  /** ok → exit 0, warning → 1, critical → 2. */
  health: "ok" | "warning" | "critical";
  leader: string;
  nodes: StatusNode[];
  units: StatusUnit[];
  /** What needs a person, with the next command to type. */
  attention: { severity: "warning" | "critical"; what: string; command: string }[];
}
export interface StatusNode {
  name: string;
  address: string;
  addresses: string[];
  alive: boolean;
  zone: string;
  role: "node" | "witness";
  /** May this node be lost now without losing service or quorum? */
  mayBeLost: boolean;
  /** Is it being emptied (`hc node drain`)? */
  drained: boolean;
  /** Is it on its way out of the cluster (`hc node remove`)? */
  removing: boolean;
  hcd: { version: string; sha256: string };
  pool: { name: string; health: string; sizeBytes: string; freeBytes: string } | null;
  memory: { totalBytes: number; availableBytes: number };
  etcd: { role: "voter" | "learner" | "client"; healthy: boolean; fsyncMs: number | null };
  runtime: string;
  lastSeenS: number;
  /** Of the machine's watchdog: "on" = armed and fed. Only where its Host has one. */
  watchdog?: "on" | "off" | "refused";
}
export interface StatusUnit {
  id: string;
  kind: string;
  name: string;
  origin: "git" | "api";
  home: string;
  epoch: number;
  /** creating | serving | starting | moving | restoring | down | failed | deleting */
  state: string;
  hostnames: string[];
  usedBytes: string;
  quota: string;
  /** Missing before version 0.2, and for what is being deleted. */
  failover?: { policy: "safe" | "manual" | "force"; maxLossS: number };
  replicas: { node: string; lagSeconds: number | null; snapshot: string; state: string }[];
  error: string;
}
