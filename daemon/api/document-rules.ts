import type { ClusterSpec, DesiredDocument, Kind, SiteSpec } from "../lib/documents.js";
import { acme, type CertificateSpec, siteTlsFailures } from "../lib/tls-spec.js";
import { chainFacts, coversName } from "../lib/x509.js";
import { HcError } from "../lib/errors.js";
import { networkFailures } from "../lib/networks.js";
import { failuresText } from "../lib/schema.js";
import { checkPhpSettings } from "../platform/php-settings.js";

export interface PutFacts {
  document: DesiredDocument;
  present: DesiredDocument | undefined;
  adopt: boolean;
  /** All documents as they are. */
  all: readonly DesiredDocument[];
  /** Nodes that can hold copies. */
  nodes: number;
}

/**
 * Pure: may this document be put? Git owns what the program declares, the API what was made through it; only `adopt` hands over.
 * Throws CONFLICT (another owner, a host name in use), INVALID_INPUT (customer or template missing, more copies than nodes).
 */
export function putRule({ document, present, adopt, all, nodes }: PutFacts): void {
  const label = `${document.kind} ${document.name}`;
  if (present !== undefined && present.origin !== document.origin && !adopt)
    throw new HcError(
      "CONFLICT",
      present.origin === "api" ? `${label} exists and was made through the cluster's API; write adopt to take it over into the program.` : `${label} is declared by the program in git; change it there.`,
      { retry: "never", context: { origin: present.origin } },
    );
  if (document.kind === "site") siteRule(document as DesiredDocument<"site">, all, nodes);
  if (document.kind === "certificate") certificateRule(document as DesiredDocument<"certificate">, all);
  if (document.kind === "template" && present !== undefined) {
    const before = present.spec as { recipe: string; version: string };
    const now = document.spec as { recipe: string; version: string };
    if (before.recipe !== now.recipe && before.version === now.version)
      throw new HcError("INVALID_INPUT", `${label}: version: ${now.version} was already built from the recipe ${before.recipe}; give another version.`);
  }
  if (document.kind === "cluster") {
    const spec = document.spec as ClusterSpec;
    const refused = spec.proxyProtocol === undefined ? [] : networkFailures(spec.proxyProtocol);
    if (refused.length > 0) throw new HcError("INVALID_INPUT", `${label}: ${failuresText(refused)}`);
    if (spec.redundancy > spec.nodes.length) throw new HcError("INVALID_INPUT", `${label}: redundancy: ${spec.redundancy} copies need as many nodes; there are ${spec.nodes.length}.`);
  }
}

function siteRule(document: DesiredDocument<"site">, all: readonly DesiredDocument[], nodes: number): void {
  const { spec, name } = document;
  const has = (kind: Kind, wanted: string): boolean => all.some((one) => one.kind === kind && one.name === wanted);
  if (!has("customer", spec.customer)) throw new HcError("INVALID_INPUT", `site ${name}: customer: there is no customer ${JSON.stringify(spec.customer)}.`);
  if (!has("template", spec.template)) throw new HcError("INVALID_INPUT", `site ${name}: template: there is no template ${JSON.stringify(spec.template)}.`);
  if (nodes > 0 && spec.replicas > nodes) throw new HcError("INVALID_INPUT", `site ${name}: replicas: ${spec.replicas} copies need as many nodes; there are ${nodes}.`);
  const mine = spec.hostnames.map(plain);
  const reserved = mine.find((hostname) => hostname.endsWith("hybridcluster.invalid"));
  const refused = checkPhpSettings(spec.php);
  if (refused.length > 0) throw new HcError("INVALID_INPUT", `site ${name}: ${failuresText(refused)}`);
  if (reserved !== undefined) throw new HcError("INVALID_INPUT", `site ${name}: hostnames: ${reserved} is kept for the cluster itself.`);
  tlsRule(document, all);
  const exact = new Set(mine);
  const wild = mine.filter((hostname) => hostname.startsWith("*."));
  for (const other of all) {
    if (other.kind !== "site" || other.name === name) continue;
    const taken = (other.spec as SiteSpec).hostnames.map(plain).find((hostname) => exact.has(hostname) || wild.some((mask) => covers(mask, hostname)) || (hostname.startsWith("*.") && mine.some((own) => covers(hostname, own))));
    if (taken !== undefined) throw new HcError("CONFLICT", `site ${name}: hostnames: ${taken} belongs to the site ${other.name}.`, { retry: "never", context: { site: other.name } });
  }
}
/** Its certificate is there and has all its names: a visitor must not be warned of what could be known here. */
function tlsRule({ name, spec }: DesiredDocument<"site">, all: readonly DesiredDocument[]): void {
  const { tls } = spec;
  if (tls === undefined) return;
  const failures = siteTlsFailures(tls, spec.hostnames);
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `site ${name}: ${failuresText(failures)}`);
  if (tls.certificate === acme) {
    const cluster = all.find((one) => one.kind === "cluster");
    if ((cluster?.spec as ClusterSpec | undefined)?.acme?.termsOfServiceAgreed !== true)
      throw new HcError("INVALID_INPUT", `site ${name}: tls.certificate: "acme" asks a CA for certificates, and the program agrees to no CA's terms: write acme: { termsOfServiceAgreed: true } in the Cluster.`);
    return;
  }
  const certificate = all.find((one) => one.kind === "certificate" && one.name === tls.certificate);
  if (certificate === undefined) throw new HcError("INVALID_INPUT", `site ${name}: tls.certificate: there is no certificate ${JSON.stringify(tls.certificate)}.`);
  const missing = uncovered(spec, certificate.spec as CertificateSpec);
  if (missing.length > 0) throw new HcError("INVALID_INPUT", `site ${name}: tls.certificate: ${tls.certificate} is not for ${missing.join(", ")}.`);
}
const uncovered = ({ hostnames }: SiteSpec, { chain }: CertificateSpec): string[] => {
  const names = chainFacts(chain)?.names ?? [];
  return hostnames.filter((hostname) => !coversName(names, plain(hostname)));
};
/** A renewed one must still have the names of the sites that use it. */
function certificateRule({ name, spec }: DesiredDocument<"certificate">, all: readonly DesiredDocument[]): void {
  if (name === acme) throw new HcError("INVALID_INPUT", `certificate ${name}: name: "${acme}" stands for certificates by ACME; choose another.`);
  for (const { kind, name: site, spec: other } of all) {
    if (kind !== "site" || (other as SiteSpec).tls?.certificate !== name) continue;
    const missing = uncovered(other as SiteSpec, spec);
    if (missing.length > 0) throw new HcError("CONFLICT", `certificate ${name}: chain: it is not for ${missing.join(", ")} of the site ${site}, which uses it.`, { context: { site } });
  }
}

/**
 * "*.x" takes every name below x. Such a name of another site is refused: Apache gives it to whichever site's file it reads first, whatever the proxy's table says
 * (https://httpd.apache.org/docs/2.4/vhosts/name-based.html), and it would let one customer take another's visitors.
 */
const covers = (mask: string, hostname: string): boolean => hostname.endsWith(mask.slice(1));
const plain = (hostname: string): string => hostname.replace(/^\[|\]$/g, "");

/** Pure: which sites use this customer, template or certificate. */
export function useOf(kind: Kind, name: string, sites: readonly DesiredDocument<"site">[]): string[] {
  if (kind === "certificate") return sites.filter((site) => site.spec.tls?.certificate === name).map((site) => `site ${site.name}`).sort();
  if (kind !== "customer" && kind !== "template") return [];
  return sites.filter((site) => site.spec[kind] === name).map((site) => `site ${site.name}`).sort();
}
