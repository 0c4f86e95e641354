import type { ClusterSpec, SiteSpec } from "../lib/documents.js";
import type { CertificateRecord } from "../lib/records.js";
import { acme, type AcmeSpec } from "../lib/tls-spec.js";
import type { ClusterState, Versioned } from "../state/cluster-state.js";

const minuteMs = 60_000;
/** Pauses after the first, second, … failure in a row of one name, ms; then the last one. */
const pausesMs = [1, 5, 15, 60, 240, 720, 1440].map((minutes) => minutes * minuteMs);
/** A CA's own wish is kept to up to here. */
export const longestPauseMs = 48 * 60 * minuteMs;
/** So long one attempt may take: whoever leads next waits for it. */
export const attemptMs = 3 * minuteMs;
/** What is wanted no more is kept this long without a certificate; with one until its end. */
const forgetMs = 24 * 60 * minuteMs;

/** `random`: 0 ≤ x < 1. */
export const pauseAfter = (failures: number, random: number, retryAfterMs = 0): number =>
  Math.min(longestPauseMs, Math.max(retryAfterMs, (pausesMs[Math.min(failures, pausesMs.length) - 1] ?? minuteMs) * (1 + random / 10)));

export const acmeSpecOf = (state: Pick<ClusterState, "desired">): AcmeSpec | undefined => {
  const spec = [...state.desired.values()].find(({ value }) => value.kind === "cluster")?.value.spec as ClusterSpec | undefined;
  return spec?.acme?.termsOfServiceAgreed === true ? spec.acme : undefined;
};
/** Host names that shall have a certificate by ACME → their sites. */
export function acmeNames(state: Pick<ClusterState, "desired">): Map<string, string> {
  const names = new Map<string, string>();
  for (const { value } of state.desired.values()) {
    if (value.kind !== "site") continue;
    const { tls, hostnames } = value.spec as SiteSpec;
    if (tls?.certificate === acme) for (const name of hostnames) if (/^[a-z0-9.-]+$/.test(name) && !names.has(name)) names.set(name, value.name);
  }
  return names;
}

/** 0 to 1 by the name alone: renewals of what began together do not come together (FNV-1a). */
function spread(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash / 2 ** 32;
}
/** When a certificate is to be renewed, UTC ms: at a third of its life left, or up to a tenth of that later. */
export const renewAtMs = ({ name, notBeforeMs, notAfterMs }: Pick<CertificateRecord, "name" | "notBeforeMs" | "notAfterMs">): number => notAfterMs - ((notAfterMs - notBeforeMs) / 3) * (1 - spread(name) / 10);

export function isDue(record: CertificateRecord | undefined, directory: string, atMs: number): boolean {
  if (record === undefined) return true;
  const { attempt } = record;
  // further away than any pause: the clock that wrote it was wrong
  if (attempt !== undefined && atMs < attempt.nextMs && attempt.nextMs - atMs <= longestPauseMs) return false;
  return record.chain === "" || record.order !== undefined || record.directory !== directory || atMs >= renewAtMs(record);
}

export interface AcmePlan { /** Names to be worked at, the most urgent first. */ start: string[]; /** Records that nobody needs. */ forget: { name: string; revision: string }[] }
/** Pure. */
export function planAcme(state: Pick<ClusterState, "desired" | "certificates">, atMs: number): AcmePlan {
  const wanted = acmeNames(state);
  const records = state.certificates ?? new Map<string, Versioned<CertificateRecord>>();
  const spec = acmeSpecOf(state);
  const urgency = (name: string): number => records.get(name)?.value.notAfterMs ?? 0;
  const start = spec === undefined ? [] : [...wanted.keys()].filter((name) => isDue(records.get(name)?.value, spec.directory, atMs)).sort((a, b) => urgency(a) - urgency(b) || (a < b ? -1 : 1));
  const over = ({ chain, notAfterMs, attempt }: CertificateRecord): boolean => (chain === "" ? atMs - (attempt?.atMs ?? 0) > forgetMs : notAfterMs < atMs);
  const forget = [...records].filter(([name, { value }]) => !wanted.has(name) && over(value)).map(([name, { revision }]) => ({ name, revision }));
  return { start, forget };
}
