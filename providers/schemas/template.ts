import { specSchemas } from "../../daemon/lib/documents.js";
import { nameSchema } from "../../daemon/lib/schema.js";
import { type ClusterConnection, clusterConnectionSchema } from "./cluster.js";

export interface TemplateInputs { name: string; connection: ClusterConnection; recipe: string; version: string; settings: Record<string, string>; adopt: boolean; timeouts: { create: number } }
export interface TemplateOutputs extends TemplateInputs { guid: string }
const { recipe, version, settings } = specSchemas.template.properties;
export const timeoutsSchema = (seconds: number) => ({ type: "object", additionalProperties: false, properties: { create: { type: "integer", minimum: 1, maximum: 7200, default: seconds } }, default: {} }) as const;
export const templateSchema = {
  type: "object", additionalProperties: false, required: ["name", "connection", "recipe", "version"],
  properties: { name: nameSchema, connection: clusterConnectionSchema, recipe, version, settings: { ...settings, default: {} }, adopt: { type: "boolean", default: false }, timeouts: timeoutsSchema(600), guid: {} },
} as const;
