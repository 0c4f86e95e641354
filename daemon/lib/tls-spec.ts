import { type Failure, nameSchema } from "./schema.js";

/** Desired document `certificate/<name>`. */
export interface CertificateSpec {
  /** PEM: the certificate first, then those of its issuers, as in "fullchain.pem". Every visitor is shown it, so it lies in clear. */
  chain: string;
  /** PEM of its private key; a secret: sealed in etcd (daemon/lib/sealed.ts). */
  key: string;
}
/** RFC 6797 §6.1. */
export interface HstsSpec { maxAgeSeconds: number; includeSubDomains?: boolean; preload?: boolean }
/** HTTPS of a site. */
export interface SiteTlsSpec {
  /** A Certificate's name, or "acme": one for each host name by ACME. */
  certificate: string;
  /** Requests over HTTP are sent to HTTPS, for names that have a certificate. */
  redirect: boolean;
  hsts?: HstsSpec;
}
export const acme = "acme";

/** The cluster's account at an ACME CA (RFC 8555). */
export interface AcmeSpec {
  /** Directory of the CA. */
  directory: string;
  /** Where the CA may write to; "" = nowhere. */
  email: string;
  /** The CA's terms of service are agreed to: nothing is asked of it without. */
  termsOfServiceAgreed: boolean;
  /** PEM of a CA that the directory's own certificate comes from; "" = one that Node knows. */
  ca: string;
}
/** A service's address (https://letsencrypt.org/docs/acme-protocol-updates/). */
export const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory";

export const certificateSpecSchema = {
  type: "object", additionalProperties: false, required: ["chain", "key"], secret: true,
  properties: { chain: { type: "string", minLength: 1, maxLength: 65_536, secret: true }, key: { type: "string", minLength: 1, maxLength: 32_768, secret: true } },
} as const;
export const siteTlsSchema = {
  type: "object", additionalProperties: false, required: ["certificate", "redirect"],
  properties: {
    certificate: nameSchema,
    redirect: { type: "boolean" },
    hsts: {
      type: "object", additionalProperties: false, required: ["maxAgeSeconds"],
      properties: { maxAgeSeconds: { type: "integer", minimum: 0, maximum: 315_360_000 }, includeSubDomains: { type: "boolean" }, preload: { type: "boolean" } },
    },
  },
} as const;
export const acmeSpecSchema = {
  type: "object", additionalProperties: false, required: ["directory", "email", "termsOfServiceAgreed", "ca"],
  properties: {
    directory: { type: "string", pattern: "^https://[!-~]+$", maxLength: 1024 },
    email: { type: "string", maxLength: 254, pattern: "^([^\\s@,:?&]+@[^\\s@,:?&]+)?$" },
    termsOfServiceAgreed: { type: "boolean" },
    ca: { type: "string", maxLength: 65_536 },
  },
} as const;

/** Pure: what no schema says of a site's HTTPS. */
export function siteTlsFailures(tls: SiteTlsSpec | undefined, hostnames: readonly string[]): Failure[] {
  if (tls === undefined) return [];
  const { hsts } = tls;
  const failures: Failure[] = [];
  if (hsts?.preload === true && (hsts.includeSubDomains !== true || hsts.maxAgeSeconds < 31_536_000))
    failures.push({ property: "tls.hsts.preload", reason: "browsers take a name into their lists only with includeSubDomains: true and maxAgeSeconds of at least 31536000 (a year); see https://hstspreload.org" });
  if (tls.certificate !== acme) return failures;
  for (const name of hostnames) {
    if (name.startsWith("*.")) failures.push({ property: "hostnames", reason: `${name}: a wildcard cannot be proven over HTTP (RFC 8555 §7.1.3), so ACME gives no certificate for it here; give the site a Certificate that has it` });
    else if (name.includes(":") || /^[0-9.]+$/.test(name)) failures.push({ property: "hostnames", reason: `${name} is an address: ACME certificates are for names; leave it out, or give the site a Certificate` });
  }
  return failures;
}

/** The field's value, e.g. "max-age=31536000; includeSubDomains". */
export const hstsValue = ({ maxAgeSeconds, includeSubDomains, preload }: HstsSpec): string =>
  `max-age=${maxAgeSeconds}${includeSubDomains === true ? "; includeSubDomains" : ""}${preload === true ? "; preload" : ""}`;
