import { type CustomerSpec, type DesiredDocument, documentSchemas, type Origin, type Runtime, specSchemas, type TemplateSpec } from "./documents.js";
import { packText, unpackText } from "./packed-text.js";
import type { CustomerRecord, UnitRecord } from "./records.js";
import { nameSchema, validate } from "./schema.js";

/**
 * Configuration in the data: what `hybridcluster:config` on a unit's dataset says beside `:definition` (the site's own document), so that the dataset alone brings the unit back: whose it is, under
 * which numbers its files lie, what it is made from. Kept by the agents of home and replicas.
 */
export interface UnitConfig {
  version: 1;
  customer: { spec: CustomerSpec; origin: Origin; uid: number; gid: number; user: string };
  /** null: its document was gone when this was written, or has settings: those may be secrets, and a property is on command lines and for all to read. It comes back with the program. */
  template: { spec: TemplateSpec; origin: Origin } | null;
  runtime: Runtime;
  /** Template snapshot that it was cloned from. */
  from: UnitRecord["origin"];
}

const number = { type: "integer", minimum: 1, maximum: 2 ** 31 } as const;
const origin = { enum: ["git", "api"] } as const;
const text = (maxLength: number) => ({ type: "string", maxLength }) as const;
const configSchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "customer", "template", "runtime", "from"],
  properties: {
    version: { const: 1 },
    customer: { type: "object", additionalProperties: false, required: ["spec", "origin", "uid", "gid", "user"], properties: { spec: specSchemas.customer, origin, uid: number, gid: number, user: { type: "string", pattern: "^hc-[a-z0-9-]{1,29}$" } } },
    template: { anyOf: [{ type: "null" }, { type: "object", additionalProperties: false, required: ["spec", "origin"], properties: { spec: specSchemas.template, origin } }] },
    runtime: { type: "object", additionalProperties: false, required: ["platform", "php"], properties: { platform: { enum: ["linux", "freebsd"] }, php: text(16) } },
    from: { type: "object", additionalProperties: false, required: ["template", "version", "guid"], properties: { template: { anyOf: [nameSchema, { const: "" }] }, version: text(32), guid: { type: "string", pattern: "^[0-9]{0,20}$" } } },
  },
} as const;

/** Pure: the value of the property; undefined when something of it is not known, or it would be too long. */
export function configText(record: Pick<UnitRecord, "runtime" | "origin">, customer: CustomerRecord | undefined, customerDocument: DesiredDocument<"customer"> | undefined, template: DesiredDocument<"template"> | undefined): string | undefined {
  if (customer === undefined || customerDocument === undefined) return undefined;
  const config: UnitConfig = {
    version: 1,
    customer: { spec: customerDocument.spec, origin: customerDocument.origin, uid: customer.uid, gid: customer.gid, user: customer.user },
    template: template === undefined || Object.keys(template.spec.settings).length > 0 ? null : { spec: template.spec, origin: template.origin },
    runtime: record.runtime,
    from: record.origin,
  };
  return packText(JSON.stringify(config));
}

function read<T>(schema: object, value: string | undefined): T | undefined {
  if (value === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(unpackText(value));
    return validate(schema, parsed).length === 0 ? (parsed as T) : undefined;
  } catch {
    return undefined;
  }
}
/** Undefined for what is missing or cannot be used: a disk may come from anywhere. */
export const readUnitConfig = (value: string | undefined): UnitConfig | undefined => read<UnitConfig>(configSchema, value);
/** The site's document as `hybridcluster:definition` has it. */
export const readDefinition = (value: string | undefined): DesiredDocument<"site"> | undefined => read<DesiredDocument<"site">>(documentSchemas.site, value);
