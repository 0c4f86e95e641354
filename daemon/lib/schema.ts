import Ajv, { type ErrorObject, type ValidateFunction } from "ajv";
import { sizePattern } from "./sizes.js";

/** The text that stands for "not known yet" in a preview (pulumi.runtime.unknownValue). */
export const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export interface Failure {
  /** Dotted path of the property, "" for the whole document. */
  property: string;
  reason: string;
}

const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true, verbose: true, useDefaults: true, discriminator: true });
// marks what must not be shown: secrets, and what holds some
ajv.addKeyword({ keyword: "secret", schemaType: "boolean" });
const compiled = new WeakMap<object, ValidateFunction>();

/** Shared sub-schemas. */
export const nameSchema = { type: "string", pattern: "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$" } as const;
export const sizeSchema = { type: "string", pattern: sizePattern } as const;
export const hostnameSchema = {
  type: "string",
  maxLength: 253,
  pattern: "^(?:(?:\\*\\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?|\\[?[0-9a-f:]*:[0-9a-f:]+\\]?)$",
} as const;

const patternHelp: Record<string, string> = {
  [nameSchema.pattern]: 'use 1 to 32 of a-z, 0-9 and "-", not at the ends',
  [sizeSchema.pattern]: 'write digits and one of B K M G T P, such as "10G"',
  [hostnameSchema.pattern]: 'write a host name such as "www.shop.example", in lower case (international names in punycode)',
};

/** True when the value is the unknown sentinel, or holds it at any depth. */
export function holdsUnknown(value: unknown): boolean {
  if (value === unknownValue) return true;
  if (Array.isArray(value)) return value.some(holdsUnknown);
  return typeof value === "object" && value !== null && Object.values(value).some(holdsUnknown);
}

function explain(error: ErrorObject): Failure {
  const path = error.instancePath.split("/").slice(1).map((part) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
  const shown = (): string => {
    if ((error.parentSchema as { secret?: boolean } | undefined)?.secret === true) return "what stands there";
    const text = JSON.stringify(error.data) ?? "undefined";
    return text.length > 80 ? `${text.slice(0, 77)}...` : text;
  };
  switch (error.keyword) {
    case "additionalProperties": {
      const extra = String(error.params["additionalProperty"]);
      const known = Object.keys((error.parentSchema as { properties?: object } | undefined)?.properties ?? {});
      return { property: [...path, extra].join("."), reason: `is not a known property; known here: ${known.join(", ")}` };
    }
    case "required": return { property: [...path, String(error.params["missingProperty"])].join("."), reason: "is required and missing" };
    case "pattern": return { property: path.join("."), reason: `${shown()} cannot be used; ${patternHelp[String(error.params["pattern"])] ?? `it must match ${String(error.params["pattern"])}`}` };
    case "enum": return { property: path.join("."), reason: `${shown()} cannot be used; write one of ${(error.params["allowedValues"] as unknown[]).map((v) => JSON.stringify(v)).join(", ")}` };
    default: return { property: path.join("."), reason: `${shown()} ${error.message ?? "cannot be used"}` };
  }
}

/**
 * Validates `value` against a JSON schema (draft-07, `additionalProperties: false` everywhere) and fills in its defaults
 * in place. Failures whose value is, or holds, the unknown sentinel are dropped: a preview must not refuse what it cannot know.
 */
export function validate(schema: object, value: unknown): Failure[] {
  let check = compiled.get(schema);
  if (check === undefined) {
    check = ajv.compile(schema);
    compiled.set(schema, check);
  }
  if (check(value)) return [];
  const failures = (check.errors ?? []).filter((error) => !(error.keyword !== "additionalProperties" && error.keyword !== "required" && holdsUnknown(error.data))).map(explain);
  const seen = new Set<string>();
  return failures.filter((failure) => {
    const key = `${failure.property}\0${failure.reason}`;
    return seen.has(key) ? false : seen.add(key) !== undefined;
  });
}

export function failuresText(failures: readonly Failure[]): string {
  return failures.map((failure) => `${failure.property === "" ? "value" : failure.property}: ${failure.reason}`).join("; ");
}
