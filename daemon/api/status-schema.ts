const text = { type: "string" } as const;
const count = { type: "number" } as const;
const object = (properties: Record<string, object>, optional: Record<string, object> = {}): object => ({ type: "object", additionalProperties: false, required: Object.keys(properties), properties: { ...properties, ...optional } });

/** JSON schema of `GET /v1/status` and `hc status --json`: properties are added, never renamed or removed. */
export const statusSchema: object = object({
  version: { const: 1 },
  cluster: text,
  atMs: count,
  health: { enum: ["ok", "warning", "critical"] },
  leader: text,
  nodes: {
    type: "array",
    items: object({
      name: text,
      address: text,
      addresses: { type: "array", items: text },
      alive: { type: "boolean" },
      zone: text,
      role: { enum: ["node", "witness"] },
      mayBeLost: { type: "boolean" },
      drained: { type: "boolean" },
      removing: { type: "boolean" },
      hcd: object({ version: text, sha256: text }),
      pool: { anyOf: [{ type: "null" }, object({ name: text, health: text, sizeBytes: text, freeBytes: text })] },
      memory: object({ totalBytes: count, availableBytes: count }),
      etcd: object({ role: { enum: ["voter", "learner", "client"] }, healthy: { type: "boolean" }, fsyncMs: { type: ["number", "null"] } }),
      runtime: text,
      lastSeenS: count,
    }, { watchdog: { enum: ["on", "off", "refused"] } }),
  },
  units: {
    type: "array",
    items: object({
      id: text,
      kind: text,
      name: text,
      origin: { enum: ["git", "api"] },
      home: text,
      epoch: { type: "integer" },
      state: { enum: ["creating", "serving", "starting", "moving", "restoring", "down", "failed", "deleting"] },
      hostnames: { type: "array", items: text },
      usedBytes: text,
      quota: text,
      replicas: { type: "array", items: object({ node: text, lagSeconds: { type: ["number", "null"] }, snapshot: text, state: text }) },
      error: text,
    }, { failover: object({ policy: { enum: ["safe", "manual", "force"] }, maxLossS: count }) }),
  },
  attention: { type: "array", items: object({ severity: { enum: ["warning", "critical"] }, what: text, command: text }) },
});
