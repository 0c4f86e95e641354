import { nameSchema, sizeSchema } from "../../daemon/lib/schema.js";
import { type Connection, connectionSchema } from "./connection.js";

export type Vdev = { disk: string } | { file: string; size?: string } | { mirror: string[] } | { raidz1: string[] } | { raidz2: string[] } | { raidz3: string[] };
export interface ZfsPoolInputs {
  /** Name of the resource: the ownership mark on the pool's dataset. */
  name: string;
  connection: Connection;
  pool: string;
  vdevs: Vdev[];
  /** Pool properties of `zpool create -o`. */
  properties: Record<string, string>;
  /** Feature sets (zpool-features(7)); "" = what both FreeBSD and Linux can import, where the ZFS knows the property. */
  compatibility: string;
  /** Take over a pool that exists. */
  adopt: boolean;
  /** Dataset that everything lives under, relative to the pool. */
  under: string;
  /** A local pool: may be destroyed with what is in it. */
  ephemeral: boolean;
  allowReplace: string;
}
export type ZfsPoolOutputs = ZfsPoolInputs;

const device = { type: "string", pattern: "^[A-Za-z0-9._:/@-]{1,255}$" } as const;
const group = (minItems: number) => ({ type: "array", items: device, minItems, maxItems: 64, uniqueItems: true }) as const;
const vdev = (property: string, schema: object, more: object = {}) => ({ type: "object", additionalProperties: false, required: [property], properties: { [property]: schema, ...more } });
export const zfsPoolSchema = {
  type: "object",
  additionalProperties: false,
  required: ["name", "connection", "pool", "vdevs"],
  properties: {
    name: nameSchema,
    connection: connectionSchema,
    pool: { type: "string", pattern: "^[A-Za-z][A-Za-z0-9_.-]{0,62}$", default: "hpool" },
    vdevs: { type: "array", maxItems: 64, items: { anyOf: [vdev("disk", device), vdev("file", { ...device, pattern: "^/" }, { size: sizeSchema }), vdev("mirror", group(2)), vdev("raidz1", group(2)), vdev("raidz2", group(3)), vdev("raidz3", group(4))] } },
    properties: { type: "object", additionalProperties: { type: "string", maxLength: 256 }, propertyNames: { pattern: "^[a-z@_]{1,64}$" }, default: {} },
    compatibility: { type: "string", pattern: "^[A-Za-z0-9.,_-]{0,256}$", default: "" },
    adopt: { type: "boolean", default: false },
    under: { type: "string", pattern: "^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", default: "hc" },
    ephemeral: { type: "boolean", default: false },
    allowReplace: { type: "string", default: "" },
  },
} as const;

export const poolDataset = (inputs: Pick<ZfsPoolInputs, "pool" | "under">): string => `${inputs.pool}/${inputs.under}`;
export const devicesOf = (vdev: Vdev): string[] => ("disk" in vdev ? [vdev.disk] : "file" in vdev ? [vdev.file] : (Object.values(vdev)[0] as string[]));
