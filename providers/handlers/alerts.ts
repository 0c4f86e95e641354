import { alertsFailures, type AlertsSpec } from "../../daemon/lib/alerts-spec.js";
import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import { currentHosts } from "../core/api-connections.js";
import { deleteDocument, getIfAny, putDocument } from "../core/documents.js";
import type { Handler } from "../core/handler.js";
import { type AlertsInputs, type AlertsOutputs, alertsSchema } from "../schemas/alerts.js";

/** With its secrets in clear: the API's socket seals them before they are kept (daemon/lib/sealed.ts). */
const specOf = ({ webhooks, mail, heartbeat, ca, thresholds }: AlertsInputs): AlertsSpec => ({ webhooks, ...(mail == null ? {} : { mail }), ...(heartbeat == null ? {} : { heartbeat }), ca, thresholds });
const fields = ["webhooks", "mail", "heartbeat", "ca", "thresholds"] as const;

export const alertsHandler: Handler<AlertsInputs, AlertsOutputs> = {
  check: async (_olds, news) => {
    const inputs = structuredClone(news);
    // a property that the program leaves out may come as null
    for (const name of fields) if (inputs[name] === null) delete (inputs as Partial<AlertsInputs>)[name];
    if (Array.isArray(inputs.webhooks)) for (const [at, hook] of inputs.webhooks.entries()) if (typeof hook === "object" && hook !== null) hook.name ??= `webhook-${at + 1}`;
    const failures = validate(alertsSchema, inputs);
    if (failures.length > 0 || holdsUnknown(fields.map((name) => inputs[name]))) return { inputs, failures };
    if (inputs.webhooks.length === 0 && inputs.mail === undefined && inputs.heartbeat === undefined) failures.push({ property: "webhooks", reason: "nobody would be told: give at least one of webhooks, mail and heartbeat" });
    return { inputs, failures: [...failures, ...alertsFailures(specOf(inputs))] };
  },
  diff: async (_id, olds, news) => {
    const replaces = olds.name === news.name ? [] : ["name"];
    if (olds.connection.cluster !== news.connection.cluster) replaces.push("connection");
    const changed = fields.some((name) => JSON.stringify(olds[name] ?? null) !== JSON.stringify(news[name] ?? null));
    return { changes: replaces.length > 0 || changed, replaces, deleteBeforeReplace: true };
  },
  create: async (inputs) => {
    await putDocument(inputs.connection.hosts, "alerts", inputs.name, specOf(inputs), inputs.adopt);
    return { id: inputs.name, outs: inputs };
  },
  update: async (_id, _olds, news) => {
    await putDocument(news.connection.hosts, "alerts", news.name, specOf(news), news.adopt);
    return { outs: news };
  },
  read: async (id, props) => ({ id: (await getIfAny(currentHosts(props.connection), `/v1/documents/alerts/${props.name}`)) === undefined ? "" : id, props }),
  delete: async (_id, props) => deleteDocument(props.connection, "alerts", props.name),
};
