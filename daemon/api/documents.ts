import type { RouteRegistry } from "../context.js";
import { type DesiredDocument, documentSchemas, documentVersion, type Kind } from "../lib/documents.js";
import { alertsFailures, type AlertsSpec } from "../lib/alerts-spec.js";
import { HcError } from "../lib/errors.js";
import { keys, type TemplateRecord, type UnitRecord } from "../lib/records.js";
import { failuresText, validate } from "../lib/schema.js";
import type { Sealer } from "../lib/sealed.js";
import { acme, type CertificateSpec } from "../lib/tls-spec.js";
import { openAlerts, sealAlerts } from "../alerts/receivers.js";
import { sealCertificate } from "../certificates/sealing.js";
import type { KeyValue, Store } from "../state/store.js";
import { putRule, useOf } from "./document-rules.js";

const kinds = Object.keys(documentSchemas) as Kind[];
const prefix = "/hc/desired/";

export interface StoredDocument { document: DesiredDocument; revision: string }

function parseStored(item: KeyValue): StoredDocument {
  const document = JSON.parse(item.value) as DesiredDocument;
  if (document.version > documentVersion) throw new HcError("UNSUPPORTED", `${item.key} was written by a newer hcd (version ${document.version}).`);
  return { document, revision: item.modRevision };
}

function kindOf(text: string | undefined): Kind {
  const kind = kinds.find((one) => one === text);
  if (kind === undefined) throw new HcError("INVALID_INPUT", `kind: ${JSON.stringify(text)} is none; write one of ${kinds.join(", ")}.`);
  return kind;
}

/** Checks a document that was sent for `kind`/`name`. Throws INVALID_INPUT with the properties named. */
export function checkDocument(kind: Kind, name: string, value: unknown): DesiredDocument {
  const failures = validate(documentSchemas[kind], value);
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `${kind} ${name}: ${failuresText(failures)}`);
  const document = value as DesiredDocument;
  if (document.name !== name) throw new HcError("INVALID_INPUT", `${kind} ${name}: name: ${JSON.stringify(document.name)} is not the name in the address.`);
  return document;
}

/** `/v1/documents`: the meeting point of `up` and the daemon. Reads are linearizable (never the view's, which may lag). */
export function documentRoutes(routes: RouteRegistry, store: Store, nodes: () => number, event: (unit: string, event: string, detail: string) => void, sealer?: Sealer): void {
  const list = async (under = ""): Promise<StoredDocument[]> => (await store.list(`${prefix}${under}`)).items.map(parseStored);

  routes.route("GET", "/v1/documents", async ({ query }) => {
    const kind = query.get("kind");
    const found = await list(kind === null ? "" : `${kindOf(kind)}/`);
    return { documents: found.map(({ document, revision }) => ({ ...document, revision })) };
  });

  routes.route("GET", "/v1/documents/:kind/:name", async ({ params }) => {
    const kind = kindOf(params["kind"]);
    const found = await store.get(keys.desired(kind, params["name"] as string));
    if (found === undefined) throw new HcError("NOT_FOUND", `There is no ${kind} ${params["name"]}.`);
    const { document, revision } = parseStored(found);
    return { document, revision };
  });

  routes.route("PUT", "/v1/documents/:kind/:name", async ({ params, query, headers, json, from }) => {
    const kind = kindOf(params["kind"]);
    const name = params["name"] as string;
    const document = sealDocument(checkDocument(kind, name, await json()), sealer);
    const key = keys.desired(kind, name);
    const found = await store.get(key);
    const present = found === undefined ? undefined : parseStored(found);
    const match = headers["if-match"]?.replaceAll('"', "");
    if (match !== undefined && match !== (present?.revision ?? "0"))
      throw new HcError("CONFLICT", `${kind} ${name} was changed since it was read (revision ${present?.revision ?? "0"}, expected ${match}); look again.`, { context: { revision: present?.revision ?? "0" } });
    const compare = [{ key, modRevision: present?.revision ?? "0" }];
    if (kind === "site") {
      const unit = await store.get(keys.unit(`site-${name}`));
      const record = unit === undefined ? undefined : (JSON.parse(unit.value) as UnitRecord);
      if (record?.state === "deleting") throw new HcError("CONFLICT", `site ${name} is on its way to the trash; repeat in a moment.`);
      const site = document as DesiredDocument<"site">;
      // Customer, template and certificate are compared in the transaction, so that none can be deleted meanwhile.
      const { tls } = site.spec;
      for (const other of [keys.desired("customer", site.spec.customer), keys.desired("template", site.spec.template), ...(tls === undefined || tls.certificate === acme ? [] : [keys.desired("certificate", tls.certificate)])]) compare.push({ key: other, modRevision: (await store.get(other))?.modRevision ?? "0" });
    }
    const all = await list();
    putRule({ document, present: present?.document, adopt: query.get("adopt") === "1", all: all.map((one) => one.document), nodes: nodes() });
    const again = kind === "template" ? await failedBuild(store, document as DesiredDocument<"template">) : undefined;
    if (again !== undefined) await store.txn([{ key: again.key, modRevision: again.modRevision }], [{ delete: again.key }]);
    if (present !== undefined && sameDocument(present.document, document)) return { revision: present.revision, changed: false };
    const result = await store.txn(compare, [{ put: key, value: JSON.stringify(document) }]);
    if (!result.succeeded) throw new HcError("CONFLICT", `${kind} ${name} was changed by somebody else at the same moment; look again.`);
    event(kind === "site" ? `site-${name}` : "", present === undefined ? "document-created" : "document-changed", `${kind} ${name} by ${document.origin} (${from})`);
    return { revision: result.revision, changed: true };
  });

  routes.route("DELETE", "/v1/documents/:kind/:name", async ({ params, from }) => {
    const kind = kindOf(params["kind"]);
    const name = params["name"] as string;
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const found = await store.get(keys.desired(kind, name));
      if (found === undefined) return { deleted: false };
      const use = useOf(kind, name, (await list("site/")).map((one) => one.document as DesiredDocument<"site">));
      if (use.length > 0) throw new HcError("CONFLICT", `${kind} ${name} is used by ${use.slice(0, 5).join(", ")}${use.length > 5 ? ` and ${use.length - 5} more` : ""}; remove these first.`, { retry: "never" });
      const result = await store.txn([{ key: found.key, modRevision: found.modRevision }], [{ delete: found.key }]);
      if (!result.succeeded) continue;
      event(kind === "site" ? `site-${name}` : "", "document-deleted", `${kind} ${name} (${from})`);
      return { deleted: true };
    }
    throw new HcError("CONFLICT", `${kind} ${name} is being changed by somebody else; repeat.`);
  });
}

/** Secrets are sealed before anything else sees the document. Throws INVALID_INPUT, naming no value; NOT_READY without a key. */
function sealDocument(document: DesiredDocument, sealer: Sealer | undefined): DesiredDocument {
  const { kind, name } = document;
  if (kind !== "alerts" && kind !== "certificate") return document;
  if (sealer === undefined) throw new HcError("NOT_READY", `${kind} ${name}: this cluster has no key for secrets yet; \`hc up\` hands it over with the Cluster.`);
  if (kind === "certificate") return { ...document, spec: sealCertificate(sealer, name, document.spec as CertificateSpec, Date.now()) };
  const sealed = sealAlerts(sealer, name, document.spec as AlertsSpec);
  const failures = alertsFailures(openAlerts(sealer, name, sealed));
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `alerts ${name}: ${failuresText(failures)}`);
  return { ...document, spec: sealed };
}

/** A build that failed is tried again when its template is put again: the leader chooses a builder where there is no record. */
async function failedBuild(store: Store, document: DesiredDocument<"template">): Promise<KeyValue | undefined> {
  const found = await store.get(keys.template(document.name, document.spec.version));
  return found !== undefined && (JSON.parse(found.value) as TemplateRecord).state === "failed" ? found : undefined;
}

/** Key order does not matter. */
export function sameDocument(a: DesiredDocument, b: DesiredDocument): boolean {
  return canonical(a) === canonical(b);
}
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "object" && value !== null) return `{${Object.entries(value).sort(([x], [y]) => (x < y ? -1 : 1)).map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(",")}}`;
  return JSON.stringify(value);
}
