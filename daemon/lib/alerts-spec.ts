import { type Failure, nameSchema } from "./schema.js";

/** After how many seconds a condition is told; `clearS`: how long it must be over before that is told. */
export interface AlertThresholds { downS: number; oneCopyS: number; quorumS: number; poolS: number; behindS: number; clearS: number }
export interface WebhookSpec { name: string; /** Secret: the address often holds a token. */ url: string; /** Values are secrets. */ headers: Record<string, string> }
export interface MailSpec {
  host: string;
  port: number;
  /** starttls: must succeed, else nothing is sent; tls: from the first byte; none: only without a password. */
  security: "starttls" | "tls" | "none";
  user: string;
  /** Secret. */
  password: string;
  from: string;
  to: string[];
}
export interface AlertsSpec {
  webhooks: WebhookSpec[];
  mail?: MailSpec;
  /** A dead man's switch elsewhere, asked every `everyS` seconds by the leader while all is well. The address is a secret. */
  heartbeat?: { url: string; everyS: number };
  /** PEM of a CA that receivers' certificates may come from, besides those that Node knows; "" = none. */
  ca: string;
  thresholds: AlertThresholds;
}

export const alertDefaults: AlertThresholds = { downS: 120, oneCopyS: 1_800, quorumS: 60, poolS: 60, behindS: 300, clearS: 60 };
export const heartbeatDefaultS = 60;

const seconds = (minimum: number, byDefault: number) => ({ type: "integer", minimum, maximum: 604_800, default: byDefault }) as const;
const secret = { type: "string", maxLength: 8192, secret: true } as const;
const address = { type: "string", minLength: 3, maxLength: 320, pattern: "^[^\\r\\n]+@[^\\r\\n]+$" } as const;

/** `secret: true`: no failure shows what stands there (daemon/lib/schema.ts). */
export const alertsSpecSchema = {
  type: "object", additionalProperties: false, required: ["webhooks", "ca", "thresholds"], secret: true,
  properties: {
    webhooks: {
      type: "array", maxItems: 8, secret: true,
      items: {
        type: "object", additionalProperties: false, required: ["name", "url", "headers"], secret: true,
        properties: { name: nameSchema, url: secret, headers: { type: "object", maxProperties: 16, propertyNames: { pattern: "^[A-Za-z0-9-]{1,64}$" }, additionalProperties: secret, secret: true } },
      },
    },
    mail: {
      type: "object", additionalProperties: false, required: ["host", "port", "security", "user", "password", "from", "to"], secret: true,
      properties: {
        host: { type: "string", minLength: 1, maxLength: 253, pattern: "^[A-Za-z0-9.:-]+$" },
        port: { type: "integer", minimum: 1, maximum: 65535 },
        security: { enum: ["starttls", "tls", "none"] },
        user: { type: "string", maxLength: 320 },
        password: secret,
        from: address,
        to: { type: "array", items: address, minItems: 1, maxItems: 16 },
      },
    },
    heartbeat: { type: "object", additionalProperties: false, required: ["url", "everyS"], secret: true, properties: { url: secret, everyS: { type: "integer", minimum: 5, maximum: 86_400 } } },
    ca: { type: "string", maxLength: 65_536, secret: true },
    thresholds: {
      type: "object", additionalProperties: false, required: Object.keys(alertDefaults),
      properties: {
        downS: seconds(5, alertDefaults.downS), oneCopyS: seconds(5, alertDefaults.oneCopyS), quorumS: seconds(5, alertDefaults.quorumS),
        poolS: seconds(5, alertDefaults.poolS), behindS: seconds(10, alertDefaults.behindS), clearS: seconds(1, alertDefaults.clearS),
      },
    },
  },
} as const;

/** Every secret of the document through `change`, which is told where it stands: by name, so that another order changes nothing. Empty texts stay. */
export function mapAlertSecrets(spec: AlertsSpec, change: (place: string, text: string) => string): AlertsSpec {
  const at = (place: string, text: string): string => (text === "" ? "" : change(place, text));
  return {
    ...spec,
    webhooks: spec.webhooks.map((hook) => ({ ...hook, url: at(`webhooks/${hook.name}/url`, hook.url), headers: Object.fromEntries(Object.entries(hook.headers).map(([name, text]) => [name, at(`webhooks/${hook.name}/headers/${name}`, text)])) })),
    ...(spec.mail === undefined ? {} : { mail: { ...spec.mail, password: at("mail/password", spec.mail.password) } }),
    ...(spec.heartbeat === undefined ? {} : { heartbeat: { ...spec.heartbeat, url: at("heartbeat/url", spec.heartbeat.url) } }),
  };
}

function urlFailure(property: string, text: string): Failure[] {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // told below, without the text
  }
  return url?.protocol === "https:" || url?.protocol === "http:" ? [] : [{ property, reason: 'is no address; write one that begins with "https://" (or "http://" in your own network)' }];
}

/** Pure: what no schema can say of a document whose secrets stand in clear. Names no value. */
export function alertsFailures(spec: AlertsSpec): Failure[] {
  const failures = spec.webhooks.flatMap((hook, at) => urlFailure(`webhooks.${at}.url`, hook.url));
  const names = spec.webhooks.map((hook) => hook.name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) failures.push({ property: "webhooks", reason: `two are named ${twice}; each needs a name of its own` });
  if (names.includes("mail")) failures.push({ property: "webhooks", reason: 'none may be named "mail": that is the mail\'s own' });
  for (const [at, hook] of spec.webhooks.entries())
    for (const [name, text] of Object.entries(hook.headers)) if (/[\r\n\0]/.test(text)) failures.push({ property: `webhooks.${at}.headers.${name}`, reason: "may not hold line ends" });
  if (spec.mail?.security === "none" && spec.mail.password !== "") failures.push({ property: "mail.security", reason: '"none" would send the password in clear; write "starttls" or "tls"' });
  if (spec.heartbeat !== undefined) failures.push(...urlFailure("heartbeat.url", spec.heartbeat.url));
  return failures;
}
