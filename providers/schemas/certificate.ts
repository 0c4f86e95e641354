import { nameSchema } from "../../daemon/lib/schema.js";
import { certificateSpecSchema, type CertificateSpec } from "../../daemon/lib/tls-spec.js";
import { type ClusterConnection, clusterConnectionSchema } from "./cluster.js";

/** `chain` and `key` are secrets of the state. */
export interface CertificateInputs extends CertificateSpec { name: string; connection: ClusterConnection; adopt: boolean }
export interface CertificateOutputs extends CertificateInputs { names: string[]; validUntil: string }

export const certificateSchema = {
  type: "object", additionalProperties: false, required: ["name", "connection", "chain", "key"],
  properties: { name: nameSchema, connection: clusterConnectionSchema, ...certificateSpecSchema.properties, adopt: { type: "boolean", default: false }, names: {}, validUntil: {} },
} as const;
