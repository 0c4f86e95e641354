import { nameSchema, sizeSchema } from "../../daemon/lib/schema.js";

/** What a LocalHost is asked for. */
export interface LocalHostInputs {
  /** The lab that the node belongs to; made with its first node, removed with its last. */
  lab: string;
  name: string;
  /** Number in the lab (1 to 200), which fixes the addresses. Default: the number at the end of the name, else a free one. */
  index?: number;
  /** Sizes of the disks, such as "4G"; files that take space only as they are written. May grow, never shrink. */
  diskSizes: string[];
  /** Limit of the whole node, such as "1G"; default: none. */
  memory?: string;
}

/** What is known once the node exists: exactly what Host takes. In later runs `check` fills these in, so that a preview knows them too. */
export interface LocalHostAccess {
  address: string;
  /** IPv4 and IPv6. */
  addresses: string[];
  port: number;
  user: string;
  /** "ssh-ed25519 AAAA…" */
  hostKey: string;
  privateKeyPath: string;
  platform: "linux";
  /** Paths of the disks inside the node. */
  disks: string[];
}
export interface LocalHostOutputs extends LocalHostInputs, LocalHostAccess {}

const access = {
  address: { type: "string" },
  addresses: { type: "array", items: { type: "string" } },
  port: { type: "integer" },
  user: { type: "string" },
  hostKey: { type: "string" },
  privateKeyPath: { type: "string" },
  platform: { type: "string", enum: ["linux"] },
  disks: { type: "array", items: { type: "string" } },
} as const;
/** Names of the properties that are answers, not wishes. */
export const localHostAccessNames = Object.keys(access) as (keyof LocalHostAccess)[];

export const localHostSchema = {
  type: "object",
  additionalProperties: false,
  required: ["lab", "name"],
  properties: {
    lab: nameSchema,
    name: nameSchema,
    index: { type: "integer", minimum: 1, maximum: 200 },
    diskSizes: { type: "array", items: sizeSchema, minItems: 1, maxItems: 16, default: ["4G"] },
    memory: sizeSchema,
    ...access,
  },
} as const;
