import { type SiteSpec, siteDefaults, specSchemas } from "../../daemon/lib/documents.js";
import { nameSchema } from "../../daemon/lib/schema.js";
import { type ClusterConnection, clusterConnectionSchema } from "./cluster.js";
import { timeoutsSchema } from "./template.js";

export interface SiteInputs extends Required<Omit<SiteSpec, "tls" | "replication">>, Pick<SiteSpec, "tls" | "replication"> {
  name: string;
  connection: ClusterConnection;
  /** Folder or archive on the operator's machine that `content.sha256` was made from; "" = none. */
  contentPath: string;
  adopt: boolean;
  allowReplace: string;
  timeouts: { create: number };
}
export interface SiteOutputs extends SiteInputs { home: string; replicaNodes: string[]; urls: string[]; epoch: number }

const spec = specSchemas.site.properties;
const names = { ...spec.placement.properties.prefer, default: [] } as const;
export const siteSchema = {
  type: "object", additionalProperties: false, required: ["name", "connection", "customer", "template", "hostnames"],
  properties: {
    name: nameSchema, connection: clusterConnectionSchema, customer: spec.customer, template: spec.template, hostnames: spec.hostnames,
    replicas: { ...spec.replicas, default: siteDefaults.replicas },
    placement: { ...spec.placement, required: [], properties: { prefer: names, require: names, avoid: names, pin: { ...spec.placement.properties.pin, default: "" }, acrossZones: { type: "boolean", default: false } }, default: {} },
    quota: { ...spec.quota, default: siteDefaults.quota },
    limits: { ...spec.limits, required: [], properties: { memory: { ...spec.limits.properties.memory, default: siteDefaults.limits.memory }, cpu: { ...spec.limits.properties.cpu, default: siteDefaults.limits.cpu }, tasks: { ...spec.limits.properties.tasks, default: siteDefaults.limits.tasks } }, default: {} },
    php: { ...spec.php, default: {} },
    content: { ...spec.content, default: siteDefaults.content },
    ready: { ...spec.ready, required: [], properties: { path: { ...spec.ready.properties.path, default: siteDefaults.ready.path }, status: { ...spec.ready.properties.status, default: siteDefaults.ready.status } }, default: {} },
    failover: { ...spec.failover, required: [], properties: { policy: { ...spec.failover.properties.policy, default: siteDefaults.failover.policy }, maxLossS: { ...spec.failover.properties.maxLossS, default: siteDefaults.failover.maxLossS } }, default: {} },
    retention: {
      ...spec.retention, required: [], default: {},
      properties: {
        minutes: { ...spec.retention.properties.minutes, default: siteDefaults.retention.minutes }, hours: { ...spec.retention.properties.hours, default: siteDefaults.retention.hours },
        days: { ...spec.retention.properties.days, default: siteDefaults.retention.days }, weeks: { ...spec.retention.properties.weeks, default: siteDefaults.retention.weeks },
      },
    },
    replication: spec.replication,
    tls: { ...spec.tls, required: ["certificate"], properties: { ...spec.tls.properties, redirect: { ...spec.tls.properties.redirect, default: true } } },
    accessLog: { ...spec.accessLog, default: siteDefaults.accessLog },
    contentPath: { type: "string", maxLength: 4096, default: "" },
    adopt: { type: "boolean", default: false }, allowReplace: { type: "string", default: "" }, timeouts: timeoutsSchema(120),
    home: {}, replicaNodes: {}, urls: {}, epoch: {},
  },
} as const;

export const siteSpec = (inputs: SiteInputs): SiteSpec => ({
  customer: inputs.customer, template: inputs.template, hostnames: inputs.hostnames, replicas: inputs.replicas, placement: inputs.placement, quota: inputs.quota,
  limits: inputs.limits, php: inputs.php, content: inputs.content, ready: inputs.ready, failover: inputs.failover, retention: inputs.retention, accessLog: inputs.accessLog,
  ...(inputs.replication == null ? {} : { replication: inputs.replication }), ...(inputs.tls == null ? {} : { tls: inputs.tls }),
});
export function siteUrls({ hostnames, tls, connection }: Pick<SiteInputs, "hostnames" | "tls" | "connection">): string[] {
  const secure = tls != null && connection.httpsPort !== 0;
  const [scheme, port, usual] = secure ? ["https", connection.httpsPort ?? 443, 443] : ["http", connection.httpPort, 80];
  return hostnames.map((name) => `${scheme}://${name.includes(":") && !name.startsWith("[") ? `[${name}]` : name}${port === usual ? "" : `:${port}`}/`);
}
