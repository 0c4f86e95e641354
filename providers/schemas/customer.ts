import { nameSchema } from "../../daemon/lib/schema.js";
import { specSchemas } from "../../daemon/lib/documents.js";
import { type ClusterConnection, clusterConnectionSchema } from "./cluster.js";
import { timeoutsSchema } from "./template.js";

export interface CustomerInputs { name: string; connection: ClusterConnection; displayName: string; contact: string; adopt: boolean; timeouts: { create: number } }
export interface CustomerOutputs extends CustomerInputs { uid: number; gid: number; user: string }
const { displayName, contact } = specSchemas.customer.properties;
export const customerSchema = {
  type: "object", additionalProperties: false, required: ["name", "connection"],
  properties: { name: nameSchema, connection: clusterConnectionSchema, displayName: { ...displayName, default: "" }, contact: { ...contact, default: "" }, adopt: { type: "boolean", default: false }, timeouts: timeoutsSchema(60), uid: {}, gid: {}, user: {} },
} as const;
