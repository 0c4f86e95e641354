import { until } from "../../daemon/lib/backoff.js";
import { siteDefaults, siteUnit } from "../../daemon/lib/documents.js";
import { errorCode, HcError, messageOf } from "../../daemon/lib/errors.js";
import { checkPhpSettings } from "../../daemon/platform/php-settings.js";
import type { ObservedUnit, UnitRecord } from "../../daemon/lib/records.js";
import { siteTlsFailures } from "../../daemon/lib/tls-spec.js";
import { type Failure, holdsUnknown, validate } from "../../daemon/lib/schema.js";
import { currentHosts } from "../core/api-connections.js";
import { deleteDocument, getIfAny, putDocument } from "../core/documents.js";
import type { Handler } from "../core/handler.js";
import { contentDigest, packContent } from "../core/pack-content.js";
import { PartialError } from "../core/partial-error.js";
import { otherCluster } from "../schemas/cluster.js";
import type { Connection } from "../schemas/connection.js";
import { type SiteInputs, type SiteOutputs, siteSchema, siteSpec, siteUrls } from "../schemas/site.js";
import { apiCall } from "../ssh/api-client.js";

/** `error`: there is a document and no unit yet. */
interface UnitAnswer { record?: UnitRecord; observed?: Record<string, ObservedUnit>; ready?: boolean; appliedRevision?: string; error?: { message: string } }
/** What a property means that a state of a version before lacks. */
const defaults: Partial<Record<string, unknown>> = siteDefaults;
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** The initial content lies on one node before the document names it; the home fetches it from there. */
async function bringContent(hosts: readonly Connection[], inputs: SiteInputs): Promise<void> {
  const { sha256 } = inputs.content;
  if (sha256 === "" || inputs.contentPath === "") return;
  const data = packContent(inputs.contentPath);
  if (contentDigest(data) !== sha256) throw new HcError("CONFLICT", `Site ${inputs.name}: content: ${inputs.contentPath} has changed while \`up\` ran; run it again.`, { retry: "never" });
  await apiCall(hosts, "PUT", `/v1/blobs/${sha256}`, data, { timeoutMs: 600_000 });
}

const outputs = (inputs: SiteInputs, record: UnitRecord | undefined): SiteOutputs => ({ ...inputs, home: record?.home ?? "", replicaNodes: record?.replicas ?? [], epoch: record?.epoch ?? 0, urls: siteUrls(inputs) });
const homeError = (seen: UnitAnswer | undefined): string => {
  const home = seen?.record?.home;
  if (home === undefined) return seen?.error?.message ?? "no home was chosen yet; see `hc status`";
  const unit = seen?.observed?.[home];
  return `on ${home} it is ${unit?.state ?? "not made yet"}${unit?.error ? `: ${unit.error}` : ""}; see \`hc why\``;
};

async function converge(inputs: SiteInputs, isNew: boolean): Promise<SiteOutputs> {
  const { hosts } = inputs.connection;
  if (isNew) await bringContent(hosts, inputs);
  const revision = await putDocument(hosts, "site", inputs.name, siteSpec(inputs), inputs.adopt);
  let seen: UnitAnswer | undefined;
  try {
    await until(`site ${inputs.name}`, { withinMs: inputs.timeouts.create * 1000, firstMs: 30, capMs: 300 }, async () => {
      seen = await getIfAny<UnitAnswer>(hosts, `/v1/units/${siteUnit(inputs.name)}`);
      return seen?.ready === true && BigInt(seen.appliedRevision || "0") >= BigInt(revision) ? seen : undefined;
    });
  } catch (error) {
    const lies = errorCode(error) === "ALREADY_EXISTS"; // its data is there from before: no waiting helps
    throw new PartialError(lies ? `Site ${inputs.name}: ${messageOf(error)}` : `Site ${inputs.name} is not ready after ${inputs.timeouts.create} s: ${homeError(seen)} (${messageOf(error)})`, inputs.name, outputs(inputs, seen?.record));
  }
  return outputs(inputs, seen?.record);
}

/** What of the wishes the cluster cannot do. */
function wishesBeyond(inputs: SiteInputs): Failure[] {
  const { nodes, hosts, zones } = inputs.connection;
  const failures: Failure[] = [];
  if (inputs.replicas > nodes) failures.push({ property: "replicas", reason: `${inputs.replicas} copies need as many nodes; the cluster has ${nodes}` });
  const known = hosts.map((host) => host.node);
  const { pin, ...wishes } = inputs.placement;
  if (pin !== "" && !holdsUnknown(pin) && !known.includes(pin)) failures.push({ property: "placement.pin", reason: `there is no node ${pin}; there are ${known.join(", ")}` });
  const places = [...known, ...zones];
  for (const wish of ["prefer", "require", "avoid"] as const)
    for (const place of wishes[wish]) if (!holdsUnknown(place) && !places.includes(place)) failures.push({ property: `placement.${wish}`, reason: `there is no node or zone ${place}; there are ${places.join(", ")}` });
  return failures;
}

/** What replaces the data needs an explicit word: the name of the site whose data goes. */
function unspokenReplace(olds: Partial<SiteInputs>, inputs: SiteInputs): Failure[] {
  if (olds.name === undefined || inputs.allowReplace === olds.name) return [];
  const told = (property: string, before: unknown, after: unknown): Failure[] =>
    before === undefined || holdsUnknown([before, after]) || before === after ? [] : [{ property, reason: `changing it from ${JSON.stringify(before)} to ${JSON.stringify(after)} replaces site ${olds.name} and its data (the old data goes to the trash); if that is meant, say allowReplace: ${JSON.stringify(olds.name)}` }];
  return [
    ...(["name", "customer", "template"] as const).flatMap((field) => told(field, olds[field], inputs[field])),
    ...(otherCluster(olds.connection, inputs.connection) ? told("connection.cluster", olds.connection?.cluster, inputs.connection.cluster) : []),
  ].slice(0, 1);
}

export const siteHandler: Handler<SiteInputs, SiteOutputs> = {
  check: async (olds, news) => {
    const inputs = structuredClone(news);
    for (const field of ["tls", "replication"] as const) if (inputs[field] === null) delete inputs[field];
    const failures = validate(siteSchema, inputs);
    if (failures.length > 0) return { inputs, failures };
    failures.push(...unspokenReplace(olds, inputs), ...checkPhpSettings(Object.fromEntries(Object.entries(inputs.php).filter(([, value]) => !holdsUnknown(value)))));
    if (!holdsUnknown([inputs.tls, inputs.hostnames])) failures.push(...siteTlsFailures(inputs.tls, inputs.hostnames));
    if (!holdsUnknown(inputs.connection)) failures.push(...wishesBeyond(inputs));
    return { inputs, failures };
  },
  diff: async (_id, olds, news) => {
    const replaces = (["name", "customer", "template"] as const).filter((field) => !same(olds[field], news[field])) as string[];
    if (otherCluster(olds.connection, news.connection)) replaces.push("connection");
    // where it is, is an output; initial content matters only when the site is made
    const fields = ["hostnames", "replicas", "placement", "quota", "limits", "php", "ready", "failover", "retention", "replication", "tls", "accessLog"] as const;
    return { changes: replaces.length > 0 || fields.some((field) => holdsUnknown(news[field]) || !same(olds[field] ?? defaults[field] ?? null, news[field] ?? null)), replaces, deleteBeforeReplace: true };
  },
  create: async (inputs) => ({ id: inputs.name, outs: await converge(inputs, true) }),
  update: async (_id, olds, news) => ({ outs: await converge(news, olds.home === "") }),
  read: async (id, props) => {
    const hosts = currentHosts(props.connection);
    const document = await getIfAny<{ document: { spec: SiteInputs } }>(hosts, `/v1/documents/site/${props.name}`);
    if (document === undefined) return { id: "", props };
    const unit = await getIfAny<UnitAnswer>(hosts, `/v1/units/${siteUnit(props.name)}`);
    return { id, props: outputs({ ...props, ...document.document.spec }, unit?.record) };
  },
  delete: async (_id, props) => {
    await deleteDocument(props.connection, "site", props.name);
    const hosts = currentHosts(props.connection);
    await until(`site ${props.name} to be in the trash`, { withinMs: 120_000, firstMs: 50, capMs: 500 }, async () => ((await getIfAny(hosts, `/v1/units/${siteUnit(props.name)}`)) === undefined ? true : undefined));
  },
};
