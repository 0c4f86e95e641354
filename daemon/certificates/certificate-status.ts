import type { SiteSpec } from "../lib/documents.js";
import { acme, type CertificateSpec } from "../lib/tls-spec.js";
import { type ChainFacts, chainFacts } from "../lib/x509.js";
import { type ClusterState, desiredOf } from "../state/cluster-state.js";
import { acmeNames, acmeSpecOf, renewAtMs } from "./plan-acme.js";

/** One certificate that sites use, or wait for: `GET /v1/certificates`. Kept stable: properties are added, never renamed. */
export interface CertificateStatus {
  /** Of the document, or the host name (ACME). */
  name: string;
  kind: "stack" | "acme";
  /** Host names that it is for. */
  names: string[];
  sites: string[];
  issuer: string;
  /** UTC ms; 0 = there is none yet. */
  validFromMs: number;
  validUntilMs: number;
  /** ACME: when the next attempt is due, at the latest; 0 = nobody will try. */
  nextTryMs: number;
  /** ACME: attempts that failed since the last success, and why the last one did. */
  failures: number;
  lastFailureMs: number;
  reason: string;
}

const dayMs = 86_400_000;
/** One of the stack, which a person renews, is told so long before its end; or at a third of its life, where that is less. */
const stackWarnMs = 14 * dayMs;
/** A name by ACME without a certificate is told after so many tries (about 20 minutes). */
const triesTold = 4;

const facts = new WeakMap<object, ChainFacts | undefined>();
/** A document's object is never changed: it is read once. */
function factsOf(spec: CertificateSpec): ChainFacts | undefined {
  if (!facts.has(spec)) facts.set(spec, chainFacts(spec.chain));
  return facts.get(spec);
}

/** Pure: by name. Documents that no site uses are left out. */
export function certificatesOf(state: Pick<ClusterState, "desired" | "certificates">, atMs: number): CertificateStatus[] {
  const found: CertificateStatus[] = [];
  const used = new Map<string, string[]>();
  for (const { value } of state.desired.values()) {
    const tls = value.kind === "site" ? (value.spec as SiteSpec).tls : undefined;
    if (tls !== undefined && tls.certificate !== acme) used.set(tls.certificate, [...(used.get(tls.certificate) ?? []), value.name]);
  }
  const nothing = { validFromMs: 0, validUntilMs: 0, nextTryMs: 0, failures: 0, lastFailureMs: 0, reason: "" };
  for (const [name, sites] of used) {
    const spec = desiredOf(state as ClusterState, "certificate", name)?.value.spec;
    const seen = spec === undefined ? undefined : factsOf(spec);
    const reason = spec === undefined ? "there is no such certificate" : seen === undefined ? "its chain cannot be read" : "";
    found.push({ ...nothing, name, kind: "stack", names: seen?.names ?? [], sites: sites.sort(), issuer: seen?.issuer ?? "", validFromMs: seen?.notBeforeMs ?? 0, validUntilMs: seen?.notAfterMs ?? 0, reason });
  }
  const agreed = acmeSpecOf(state) !== undefined;
  for (const [name, site] of acmeNames(state)) {
    const record = state.certificates?.get(name)?.value;
    const { attempt } = record ?? {};
    const nextTryMs = !agreed ? 0 : attempt !== undefined ? attempt.nextMs : record === undefined || record.chain === "" ? atMs : Math.round(renewAtMs(record));
    const failed = attempt !== undefined && attempt.reason !== "";
    found.push({
      ...nothing, name, kind: "acme", names: [name], sites: [site], issuer: record === undefined || record.directory === "" ? "" : new URL(record.directory).host, validFromMs: record?.notBeforeMs ?? 0, validUntilMs: record?.notAfterMs ?? 0, nextTryMs,
      failures: attempt === undefined ? 0 : failed ? attempt.count : attempt.count - 1, lastFailureMs: failed ? attempt.atMs : 0, reason: agreed ? (attempt?.reason ?? "") : "the program agrees to no CA's terms: write acme: { termsOfServiceAgreed: true } in the Cluster",
    });
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

const time = (atMs: number): string => `${new Date(atMs).toISOString().slice(0, 16).replace("T", " ")} UTC`;
/** Pure: what a person should know of it; `severity` "" = nothing. */
export function needsPerson(certificate: CertificateStatus, atMs: number): { severity: "" | "warning" | "critical"; text: string } {
  const { kind, validFromMs, validUntilMs, nextTryMs, failures, reason } = certificate;
  const why = reason === "" ? "" : `: ${reason}${nextTryMs > atMs ? ` (next try ${time(nextTryMs)})` : ""}`;
  const leftMs = validUntilMs - atMs;
  const lifeMs = validUntilMs - validFromMs;
  if (validUntilMs === 0) return kind === "stack" || nextTryMs === 0 || failures >= triesTold ? { severity: "warning", text: `is not there${why}` } : { severity: "", text: "" };
  if (leftMs <= 0) return { severity: "critical", text: `has expired${why === "" ? `: ${time(validUntilMs)}` : why}` };
  if (leftMs < (kind === "stack" ? Math.min(stackWarnMs, lifeMs / 3) : lifeMs / 6)) return { severity: "warning", text: `ends ${time(validUntilMs)}${why}` };
  return { severity: "", text: "" };
}
