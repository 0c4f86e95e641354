import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import type { Failure } from "./schema.js";

/** What a chain says of itself, by its first certificate. Times are UTC ms. */
export interface ChainFacts { /** DNS names in lower case, "*.name" for wildcards, and addresses. */ names: string[]; notBeforeMs: number; notAfterMs: number; issuer: string }

const maxCertificates = 10;
const pemBlock = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

function certificatesOf(chain: string): X509Certificate[] | undefined {
  const blocks = chain.match(pemBlock) ?? [];
  if (blocks.length === 0 || blocks.length > maxCertificates || chain.replace(pemBlock, "").includes("-----BEGIN")) return undefined;
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch {
    return undefined;
  }
}
/** Node quotes a name that holds anything unusual: those are left out. */
function namesOf(certificate: X509Certificate): string[] {
  const entries = (certificate.subjectAltName ?? "").split(", ");
  return [...new Set(entries.flatMap((entry) => {
    const [, kind, name] = /^(DNS|IP Address):(\*?[A-Za-z0-9.:_-]+)$/.exec(entry) ?? [];
    return kind === undefined || name === undefined ? [] : [name.toLowerCase()];
  }))];
}
const factsOf = (leaf: X509Certificate): ChainFacts => ({ names: namesOf(leaf), notBeforeMs: leaf.validFromDate.getTime(), notAfterMs: leaf.validToDate.getTime(), issuer: /(?:^|\n)O=([^\n]*)/.exec(leaf.issuer)?.[1] ?? leaf.issuer.split("\n")[0] ?? "" });

/** Pure. Undefined: this is no chain of certificates in PEM. */
export function chainFacts(chain: string): ChainFacts | undefined {
  const [leaf] = certificatesOf(chain) ?? [];
  return leaf === undefined ? undefined : factsOf(leaf);
}

function keyFailure(key: KeyObject): string | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === "rsa") return (details?.modulusLength ?? 0) >= 2048 ? undefined : `is RSA with ${details?.modulusLength} bits; browsers want at least 2048`;
  if (type === "ec") return ["prime256v1", "secp384r1", "secp521r1"].includes(details?.namedCurve ?? "") ? undefined : `is on the curve ${details?.namedCurve}; use P-256 or P-384`;
  return `is of the kind ${type}, which browsers do not take; use RSA or ECDSA P-256`;
}

/** Pure: what is wrong with a chain and its key. Names no value. */
export function certificateFailures({ chain, key }: { chain: string; key: string }, nowMs: number): Failure[] {
  const [leaf, ...issuers] = certificatesOf(chain) ?? [];
  if (leaf === undefined) return [{ property: "chain", reason: `cannot be read; give 1 to ${maxCertificates} certificates in PEM ("-----BEGIN CERTIFICATE-----"), the site's own first, as in fullchain.pem` }];
  const failures: Failure[] = [];
  const facts = factsOf(leaf);
  const day = (atMs: number): string => new Date(atMs).toISOString().slice(0, 16).replace("T", " ");
  if (facts.names.length === 0) failures.push({ property: "chain", reason: "its first certificate has no names (subjectAltName), so no browser takes it" });
  if (facts.notAfterMs <= nowMs) failures.push({ property: "chain", reason: `the certificate for ${facts.names.slice(0, 3).join(", ")} has expired: ${day(facts.notAfterMs)} UTC` });
  if (facts.notBeforeMs > nowMs + 86_400_000) failures.push({ property: "chain", reason: `the certificate for ${facts.names.slice(0, 3).join(", ")} is not valid before ${day(facts.notBeforeMs)} UTC` });
  const astray = issuers.findIndex((issuer, at) => [leaf, ...issuers][at]?.checkIssued(issuer) !== true);
  if (astray !== -1) failures.push({ property: "chain", reason: `certificate ${astray + 2} is not the issuer of certificate ${astray + 1}; the site's own comes first, then its issuer, and so on` });
  let secret: KeyObject;
  try {
    secret = createPrivateKey(key);
  } catch {
    return [...failures, { property: "key", reason: 'cannot be read; give a private key in PEM without a passphrase ("-----BEGIN PRIVATE KEY-----")' }];
  }
  const weak = keyFailure(secret);
  if (weak !== undefined) failures.push({ property: "key", reason: weak });
  else if (!leaf.checkPrivateKey(secret)) failures.push({ property: "key", reason: "does not belong to the first certificate of the chain" });
  return failures;
}

/** Is the name covered? A wildcard stands for exactly one label (RFC 9525 §6.3). */
export const coversName = (names: readonly string[], host: string): boolean => names.includes(host) || (host.includes(".") && names.includes(`*${host.slice(host.indexOf("."))}`));
