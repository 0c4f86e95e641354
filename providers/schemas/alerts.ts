import { alertsSpecSchema, type AlertsSpec, heartbeatDefaultS } from "../../daemon/lib/alerts-spec.js";
import { nameSchema } from "../../daemon/lib/schema.js";
import { type ClusterConnection, clusterConnectionSchema } from "./cluster.js";

/** `webhooks`, `mail` and `heartbeat` are secrets of the state as a whole: addresses and headers hold tokens. */
export interface AlertsInputs extends AlertsSpec { name: string; connection: ClusterConnection; adopt: boolean }
export type AlertsOutputs = AlertsInputs;

const { webhooks, mail, heartbeat, ca, thresholds } = alertsSpecSchema.properties;
const hook = webhooks.items;
export const alertsSchema = {
  type: "object", additionalProperties: false, required: ["name", "connection"],
  properties: {
    name: nameSchema,
    connection: clusterConnectionSchema,
    webhooks: { ...webhooks, default: [], items: { ...hook, required: ["url"], properties: { ...hook.properties, headers: { ...hook.properties.headers, default: {} } } } },
    mail: {
      ...mail, required: ["host", "from", "to"],
      properties: { ...mail.properties, port: { ...mail.properties.port, default: 587 }, security: { ...mail.properties.security, default: "starttls" }, user: { ...mail.properties.user, default: "" }, password: { ...mail.properties.password, default: "" } },
    },
    heartbeat: { ...heartbeat, required: ["url"], properties: { ...heartbeat.properties, everyS: { ...heartbeat.properties.everyS, default: heartbeatDefaultS } } },
    ca: { ...ca, default: "" },
    thresholds: { ...thresholds, required: [], default: {} },
    adopt: { type: "boolean", default: false },
  },
} as const;
