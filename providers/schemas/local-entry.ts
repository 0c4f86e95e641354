import { nameSchema } from "../../daemon/lib/schema.js";

/** A door on this machine's loopback to the first node that answers. */
export interface LocalEntryInputs {
  name: string;
  /** Port on 127.0.0.1 and ::1; default 8080. */
  port: number;
  /** Addresses of the nodes, in the order in which they are tried. */
  targets: string[];
  /** Port at the nodes; default 80. */
  targetPort: number;
}
export interface LocalEntryOutputs extends LocalEntryInputs {
  /** "http://localhost:8080"; any *.localhost name leads there too. */
  url: string;
}

export const localEntrySchema = {
  type: "object",
  additionalProperties: false,
  required: ["name", "targets"],
  properties: {
    name: nameSchema,
    port: { type: "integer", minimum: 1, maximum: 65535, default: 8080 },
    targets: { type: "array", items: { type: "string", minLength: 1 }, minItems: 1, maxItems: 64 },
    targetPort: { type: "integer", minimum: 1, maximum: 65535, default: 80 },
  },
} as const;
