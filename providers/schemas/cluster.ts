import { defaultRpoS } from "../../daemon/lib/documents.js";
import type { Member } from "../../daemon/lib/node-config.js";
import { type ProxyProtocolSpec, proxyProtocolSchema } from "../../daemon/lib/networks.js";
import { holdsUnknown, nameSchema } from "../../daemon/lib/schema.js";
import { acmeSpecSchema, type AcmeSpec, letsEncrypt } from "../../daemon/lib/tls-spec.js";
import { type Connection, connectionSchema } from "./connection.js";

export interface ClusterSettings { txgTimeoutS: number; /** Seconds of writes that may be missing on the copies when a home dies while all is well, default 10; a Site may have its own (`replication`). */ rpoS: number; trashDays: number; /** A site that failed over so often within an hour waits (1 to 10 min) for its home before the next time; 0 = never; default 5. */ failoversPerHour?: number; etcd: { heartbeatMs: number; electionMs: number; /** Seconds after which another node takes the vote of one that is away; 0 = never; default 600. */ replaceAfterS?: number } }
export interface ClusterInputs {
  name: string;
  connections: Connection[];
  members: Member[];
  /** node → dataset, "" on a witness. */
  datasets: Record<string, string>;
  redundancy: number;
  settings: ClusterSettings;
  /** Missing: no certificates by ACME. */
  acme?: AcmeSpec;
  /** Missing: no load balancers that say whose connections they bring. */
  proxyProtocol?: ProxyProtocolSpec;
  ephemeral: boolean;
}
export interface ClusterOutputs extends ClusterInputs {
  clusterId: string;
  /** JSON of ClusterSecrets; a secret in the state. */
  secrets: string;
  /** UTC time from which on the next `up` renews certificates. */
  renewAfter: string;
}
export const settingsDefaults: ClusterSettings = { txgTimeoutS: 1, rpoS: defaultRpoS, trashDays: 30, etcd: { heartbeatMs: 100, electionMs: 1000 } };

const integer = (minimum: number, maximum: number) => ({ type: "integer", minimum, maximum }) as const;
export const clusterSchema = {
  type: "object",
  additionalProperties: false,
  required: ["name", "connections", "members", "datasets", "redundancy", "settings"],
  properties: {
    name: nameSchema,
    connections: { type: "array", items: connectionSchema, minItems: 1, maxItems: 50 },
    members: { type: "array", items: { type: "object" }, minItems: 1, maxItems: 50 },
    datasets: { type: "object", additionalProperties: { type: "string" } },
    redundancy: integer(1, 16),
    settings: {
      type: "object", additionalProperties: false, required: ["txgTimeoutS", "rpoS", "trashDays", "etcd"],
      properties: {
        txgTimeoutS: integer(1, 30), rpoS: integer(1, 86_400), trashDays: integer(0, 3650), failoversPerHour: integer(0, 32),
        etcd: { type: "object", additionalProperties: false, required: ["heartbeatMs", "electionMs"], properties: { heartbeatMs: integer(50, 5000), electionMs: integer(500, 50_000), replaceAfterS: integer(0, 604_800) } },
      },
    },
    acme: {
      ...acmeSpecSchema, required: ["termsOfServiceAgreed"],
      properties: { ...acmeSpecSchema.properties, directory: { ...acmeSpecSchema.properties.directory, default: letsEncrypt }, email: { ...acmeSpecSchema.properties.email, default: "" }, ca: { ...acmeSpecSchema.properties.ca, default: "" } },
    },
    proxyProtocol: proxyProtocolSchema,
    ephemeral: { type: "boolean", default: false },
    // outputs, named in the program so that they become Outputs
    clusterId: {}, secrets: {}, renewAfter: {},
  },
} as const;

/** What children carry to reach the cluster. */
export interface ClusterConnection { cluster: string; hosts: Connection[]; /** how many can hold copies */ nodes: number; zones: string[]; httpPort: number; /** 0 = none; missing in states of versions before. */ httpsPort?: number }
/** Is this another cluster? A connection that is not known yet (a host that is still to be made) is the same one until the contrary is known. */
export const otherCluster = (before: ClusterConnection | undefined, after: ClusterConnection): boolean => before !== undefined && !holdsUnknown(after) && before.cluster !== after.cluster;
export const clusterConnectionSchema = {
  type: "object", additionalProperties: false, required: ["cluster", "hosts", "nodes", "zones", "httpPort"],
  properties: { cluster: nameSchema, hosts: { type: "array", items: connectionSchema, minItems: 1 }, nodes: integer(1, 50), zones: { type: "array", items: { type: "string" } }, httpPort: integer(1, 65_535), httpsPort: integer(0, 65_535) },
} as const;
