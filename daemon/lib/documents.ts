import { type AlertsSpec, alertsSpecSchema } from "./alerts-spec.js";
import { type ProxyProtocolSpec, proxyProtocolSchema } from "./networks.js";
import { hostnameSchema, nameSchema, sizeSchema } from "./schema.js";
import { type AcmeSpec, acmeSpecSchema, type CertificateSpec, certificateSpecSchema, type SiteTlsSpec, siteTlsSchema } from "./tls-spec.js";

/**
 * Desired documents: what `up` (origin "git") or the API (origin "api") wants to exist. Kept in etcd under
 * `/hc/desired/<kind>/<name>`, validated both ways against the schemas below. A reader understands this `version` and the one before.
 */
export const documentVersion = 1;
export type Kind = "cluster" | "template" | "customer" | "site" | "alerts" | "certificate";
export type Origin = "git" | "api";

export interface ClusterSpec {
  /** Copies of each unit, home included. */
  redundancy: number;
  /** Names of the nodes, in the order of `pools`; the first three (or one) vote in etcd. */
  nodes: string[];
  settings: {
    /** ZFS transaction group time, seconds (zfs_txg_timeout). */
    txgTimeoutS: number;
    /** How many seconds of writes may be missing on the copies when the home dies while all is well (recovery point objective); a site may have its own. Below 10 is as 10: a look each second is all there is. */
    rpoS: number;
    /** Days that deleted units stay in the trash. */
    trashDays: number;
    /** A unit that failed over so often within an hour waits before the next time; 0 = never; missing: 5. */
    failoversPerHour?: number;
    /** `replaceAfterS`: another node takes the vote of one that is away this long; 0 = never; missing: 600. */
    etcd: { heartbeatMs: number; electionMs: number; replaceAfterS?: number };
  };
  /** Certificates by ACME. Missing: none. */
  acme?: AcmeSpec;
  /** Load balancers that say whose connections they bring (PROXY protocol v2). Missing: none. */
  proxyProtocol?: ProxyProtocolSpec;
}
export interface TemplateSpec {
  /** A recipe of templates/recipes, e.g. "php", "dokuwiki". */
  recipe: string;
  /** `[a-z0-9.-]`, names the snapshot `tmpl-<name>@<version>`. */
  version: string;
  /** Settings that the recipe declares. */
  settings: Record<string, string>;
}
export interface CustomerSpec {
  displayName: string;
  contact: string;
}
export interface SiteSpec {
  customer: string;
  template: string;
  hostnames: string[];
  /** Copies, home included; 0 = the cluster's redundancy. */
  replicas: number;
  placement: { prefer: string[]; require: string[]; avoid: string[]; pin: string; acrossZones: boolean };
  /** Size text; becomes `quota` of the dataset. */
  quota: string;
  limits: { memory: string; cpu: number; tasks: number };
  php: Record<string, string>;
  /** Initial content by digest of a gzipped tar that was uploaded before; "" = the template's. Only used when the unit is made. */
  content: { sha256: string };
  ready: { path: string; status: number };
  /**
   * When its home dies. safe: by itself, unless more than `maxLossS` seconds of writes may be missing on the best copy; manual: `hc promote`; force: by itself, whatever is missing.
   * Missing in documents of versions before: safe, 60.
   */
  failover?: { policy: "safe" | "manual" | "force"; maxLossS: number };
  /**
   * Data Vault: every snapshot of the last `minutes`, the oldest of each hour for `hours`, of each day for `days`, of each week for `weeks`.
   * Missing in documents of versions before: 60, 24, 30, 12.
   */
  retention?: { minutes: number; hours: number; days: number; weeks: number };
  /** `rpoS`: the cluster's setting of that name for this site alone. Missing, as in documents of versions before: the cluster's. */
  replication?: { rpoS: number };
  /** Missing: HTTP only, as in documents of versions before. */
  tls?: SiteTlsSpec;
  /** Each request is written down at the node that has the client. Missing in documents of versions before: true. */
  accessLog?: boolean;
}
export interface SpecOf { cluster: ClusterSpec; template: TemplateSpec; customer: CustomerSpec; site: SiteSpec; alerts: AlertsSpec; certificate: CertificateSpec }

export interface DesiredDocument<K extends Kind = Kind> {
  version: number;
  kind: K;
  name: string;
  origin: Origin;
  spec: SpecOf[K];
}

const names = { type: "array", items: nameSchema, maxItems: 64 } as const;
const settingsMap = { type: "object", additionalProperties: { type: "string", maxLength: 1024 }, propertyNames: { pattern: "^[A-Za-z_][A-Za-z0-9_.-]{0,63}$" }, maxProperties: 64 } as const;
const rpoSeconds = { type: "integer", minimum: 1, maximum: 86_400 } as const;
const versionText = { type: "string", pattern: "^[a-z0-9][a-z0-9.-]{0,31}$" } as const;

export const specSchemas = {
  cluster: {
    type: "object",
    additionalProperties: false,
    required: ["redundancy", "nodes", "settings"],
    properties: {
      redundancy: { type: "integer", minimum: 1, maximum: 16 },
      nodes: { ...names, minItems: 1 },
      settings: {
        type: "object",
        additionalProperties: false,
        required: ["txgTimeoutS", "rpoS", "trashDays", "etcd"],
        properties: {
          txgTimeoutS: { type: "integer", minimum: 1, maximum: 30 },
          rpoS: rpoSeconds,
          trashDays: { type: "integer", minimum: 0, maximum: 3650 },
          failoversPerHour: { type: "integer", minimum: 0, maximum: 32 },
          etcd: {
            type: "object",
            additionalProperties: false,
            required: ["heartbeatMs", "electionMs"],
            properties: { heartbeatMs: { type: "integer", minimum: 50, maximum: 5000 }, electionMs: { type: "integer", minimum: 500, maximum: 50000 }, replaceAfterS: { type: "integer", minimum: 0, maximum: 604_800 } },
          },
        },
      },
      acme: acmeSpecSchema,
      proxyProtocol: proxyProtocolSchema,
    },
  },
  template: {
    type: "object",
    additionalProperties: false,
    required: ["recipe", "version", "settings"],
    properties: { recipe: nameSchema, version: versionText, settings: settingsMap },
  },
  customer: {
    type: "object",
    additionalProperties: false,
    required: ["displayName", "contact"],
    properties: { displayName: { type: "string", maxLength: 128 }, contact: { type: "string", maxLength: 254 } },
  },
  site: {
    type: "object",
    additionalProperties: false,
    required: ["customer", "template", "hostnames", "replicas", "placement", "quota", "limits", "php", "content", "ready"],
    properties: {
      customer: nameSchema,
      template: nameSchema,
      hostnames: { type: "array", items: hostnameSchema, minItems: 1, maxItems: 256, uniqueItems: true },
      replicas: { type: "integer", minimum: 0, maximum: 16 },
      placement: {
        type: "object",
        additionalProperties: false,
        required: ["prefer", "require", "avoid", "pin", "acrossZones"],
        properties: { prefer: names, require: names, avoid: names, pin: { type: "string", pattern: "^([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)?$" }, acrossZones: { type: "boolean" } },
      },
      quota: sizeSchema,
      limits: {
        type: "object",
        additionalProperties: false,
        required: ["memory", "cpu", "tasks"],
        properties: { memory: sizeSchema, cpu: { type: "number", exclusiveMinimum: 0, maximum: 256 }, tasks: { type: "integer", minimum: 8, maximum: 65536 } },
      },
      php: settingsMap,
      content: { type: "object", additionalProperties: false, required: ["sha256"], properties: { sha256: { type: "string", pattern: "^([0-9a-f]{64})?$" } } },
      ready: {
        type: "object",
        additionalProperties: false,
        required: ["path", "status"],
        // status 0 = any answer below 500
        properties: { path: { type: "string", pattern: "^/[!-~]*$", maxLength: 1024 }, status: { type: "integer", minimum: 0, maximum: 599 } },
      },
      failover: {
        type: "object",
        additionalProperties: false,
        required: ["policy", "maxLossS"],
        properties: { policy: { enum: ["safe", "manual", "force"] }, maxLossS: { type: "integer", minimum: 0, maximum: 31_536_000 } },
      },
      retention: {
        type: "object",
        additionalProperties: false,
        required: ["minutes", "hours", "days", "weeks"],
        // bounds: a unit never has more than some 3,000 snapshots, and never less than a restore needs to look back on
        properties: { minutes: { type: "integer", minimum: 10, maximum: 1440 }, hours: { type: "integer", minimum: 0, maximum: 336 }, days: { type: "integer", minimum: 0, maximum: 400 }, weeks: { type: "integer", minimum: 0, maximum: 520 } },
      },
      replication: { type: "object", additionalProperties: false, required: ["rpoS"], properties: { rpoS: rpoSeconds } },
      tls: siteTlsSchema,
      accessLog: { type: "boolean" },
    },
  },
  alerts: alertsSpecSchema,
  certificate: certificateSpecSchema,
} as const;

export const documentSchemas: Record<Kind, object> = Object.fromEntries(
  (Object.keys(specSchemas) as Kind[]).map((kind) => [
    kind,
    {
      type: "object",
      additionalProperties: false,
      required: ["version", "kind", "name", "origin", "spec"],
      properties: { version: { type: "integer", minimum: 1, maximum: documentVersion }, kind: { const: kind }, name: nameSchema, origin: { enum: ["git", "api"] }, spec: specSchemas[kind] },
    },
  ]),
) as Record<Kind, object>;

export const defaultRpoS = 10;
export const siteDefaults = {
  replicas: 0,
  placement: { prefer: [], require: [], avoid: [], pin: "", acrossZones: false },
  quota: "10G",
  limits: { memory: "256M", cpu: 1, tasks: 64 },
  php: {},
  content: { sha256: "" },
  ready: { path: "/", status: 0 },
  failover: { policy: "safe", maxLossS: 60 },
  retention: { minutes: 60, hours: 24, days: 30, weeks: 12 },
  accessLog: true,
} as const;

/** What a unit runs on; never mixed between copies of a unit (DESIGN §6). Example: `{platform: "linux", php: "8.2"}`. */
export interface Runtime { platform: "linux" | "freebsd"; php: string }
export const runtimeTag = (runtime: Runtime): string => `${runtime.platform}-php${runtime.php}`;

export const siteUnit = (name: string): string => `site-${name}`;
