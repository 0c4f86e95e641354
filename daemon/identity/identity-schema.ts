import { nameSchema } from "../lib/schema.js";

const port = { type: "integer", minimum: 1, maximum: 65535 } as const;
const ports = {
  type: "object",
  additionalProperties: false,
  required: ["http", "peer", "control", "etcdClient", "etcdPeer", "apache"],
  properties: { http: port, https: { type: "integer", minimum: 0, maximum: 65535 }, peer: port, control: port, etcdClient: port, etcdPeer: port, apache: port, metrics: port },
} as const;
const pem = { type: "string", pattern: "^-----BEGIN [A-Z ]+-----\\n", maxLength: 65536, secret: true } as const;

/** `PUT /v1/identity` (daemon/lib/node-config.ts: Identity). */
export const identitySchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "config", "pki"],
  properties: {
    version: { const: 1 },
    config: {
      type: "object",
      additionalProperties: false,
      required: ["version", "cluster", "clusterId", "node", "members", "voters", "dataset", "etcd"],
      properties: {
        version: { const: 1 },
        cluster: nameSchema,
        clusterId: { type: "string", pattern: "^[A-Za-z0-9_-]{8,64}$" },
        node: nameSchema,
        members: {
          type: "array",
          minItems: 1,
          maxItems: 64,
          items: {
            type: "object",
            additionalProperties: false,
            required: ["node", "addresses", "zone", "role", "ports"],
            properties: {
              node: nameSchema,
              addresses: { type: "array", minItems: 1, maxItems: 16, items: { type: "string", minLength: 1, maxLength: 253 } },
              zone: { type: "string", maxLength: 64 },
              role: { enum: ["node", "witness"] },
              ports,
            },
          },
        },
        voters: { type: "array", minItems: 1, maxItems: 7, uniqueItems: true, items: nameSchema },
        dataset: { type: "string", maxLength: 255 },
        etcd: { type: "object", additionalProperties: false, required: ["heartbeatMs", "electionMs"], properties: { heartbeatMs: { type: "integer", minimum: 50, maximum: 5000 }, electionMs: { type: "integer", minimum: 500, maximum: 50000 } } },
      },
    },
    pki: {
      type: "object",
      additionalProperties: false,
      required: ["ca", "nodeCert", "nodeKey", "edgeCa", "proxyCert", "proxyKey"],
      properties: { ca: pem, nodeCert: pem, nodeKey: pem, edgeCa: pem, proxyCert: pem, proxyKey: pem, sealKey: { type: "string", pattern: "^[A-Za-z0-9+/]{43}=$", secret: true } },
    },
  },
} as const;
