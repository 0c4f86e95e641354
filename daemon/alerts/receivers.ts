import { type AlertsSpec, alertDefaults, type AlertThresholds, mapAlertSecrets, type MailSpec, type WebhookSpec } from "../lib/alerts-spec.js";
import { messageOf } from "../lib/errors.js";
import type { Sealer } from "../lib/sealed.js";
import type { ClusterState } from "../state/cluster-state.js";

/** Somebody to be told. `name`: "<document>/<webhook or mail>"; `where`: for people, without a secret. */
export type Receiver = { name: string; where: string; ca: string } & ({ kind: "webhook"; webhook: WebhookSpec } | { kind: "mail"; mail: MailSpec });
export interface Heartbeat { name: string; where: string; url: string; everyS: number; ca: string }
export interface AlertSettings { receivers: Receiver[]; heartbeats: Heartbeat[]; thresholds: AlertThresholds; /** Documents that could not be opened: name → why. */ problems: Record<string, string> }

/** Where a secret of a document stands: also what its sealed text is bound to. */
export const secretPlace = (document: string, place: string): string => `alerts/${document}/${place}`;

/** Seals every secret of a document. Throws UNSUPPORTED for a sealed text of another place. */
export const sealAlerts = (sealer: Sealer, document: string, spec: AlertsSpec): AlertsSpec => mapAlertSecrets(spec, (place, text) => sealer.seal(secretPlace(document, place), text));
export const openAlerts = (sealer: Sealer, document: string, spec: AlertsSpec): AlertsSpec => mapAlertSecrets(spec, (place, text) => sealer.open(secretPlace(document, place), text));

/** Pure: all documents of the kind → who is to be told. Of several documents the lowest thresholds count. */
export function settingsOf(state: ClusterState, sealer: Sealer | undefined): AlertSettings {
  const settings: AlertSettings = { receivers: [], heartbeats: [], thresholds: { ...alertDefaults }, problems: {} };
  const specs: AlertsSpec[] = [];
  for (const { value } of [...state.desired.values()].sort((a, b) => (a.value.name < b.value.name ? -1 : 1))) {
    if (value.kind !== "alerts") continue;
    const { name } = value;
    const sealed = value.spec as AlertsSpec;
    specs.push(sealed);
    try {
      if (sealer === undefined) throw new Error("this node has no key for secrets; `hc up` hands it over");
      const { webhooks, mail, heartbeat, ca } = openAlerts(sealer, name, sealed);
      for (const webhook of webhooks) settings.receivers.push({ name: `${name}/${webhook.name}`, where: new URL(webhook.url).host, ca, kind: "webhook", webhook });
      if (mail !== undefined) settings.receivers.push({ name: `${name}/mail`, where: `${mail.to.join(", ")} by ${mail.host}:${mail.port}`, ca, kind: "mail", mail });
      if (heartbeat !== undefined) settings.heartbeats.push({ name, where: new URL(heartbeat.url).host, ca, url: heartbeat.url, everyS: heartbeat.everyS });
    } catch (error) {
      settings.problems[name] = messageOf(error);
    }
  }
  for (const key of Object.keys(alertDefaults) as (keyof AlertThresholds)[]) if (specs.length > 0) settings.thresholds[key] = Math.min(...specs.map(({ thresholds }) => thresholds[key]));
  return settings;
}

/** Everything of a receiver that may not be told, longest first. */
export function secretsOf(receiver: Receiver | Heartbeat): string[] {
  const all = "url" in receiver ? [receiver.url] : receiver.kind === "mail" ? [receiver.mail.password] : [receiver.webhook.url, ...Object.values(receiver.webhook.headers)];
  const parts = all.flatMap((text) => (text.startsWith("http") ? [text, new URL(text).pathname, new URL(text).search] : [text, Buffer.from(text).toString("base64")]));
  return parts.filter((text) => text.length > 1).sort((a, b) => b.length - a.length);
}
/** What a receiver or a library said, one line, without that receiver's secrets. */
export function safeReason(error: unknown, receiver: Receiver | Heartbeat): string {
  let text = messageOf(error);
  for (const secret of secretsOf(receiver)) text = text.replaceAll(secret, "***");
  return text.replace(/[\p{Cc}\s]+/gu, " ").slice(0, 300);
}
