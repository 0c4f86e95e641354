import { HcError } from "../lib/errors.js";
import { failuresText } from "../lib/schema.js";
import type { Sealer } from "../lib/sealed.js";
import type { CertificateSpec } from "../lib/tls-spec.js";
import { certificateFailures } from "../lib/x509.js";

/** Where sealed texts stand: what each is bound to. */
export const documentKeyPlace = (name: string): string => `certificate/${name}/key`;

/** Seals the key of a document. Throws INVALID_INPUT for what is no certificate with its key, naming no value; UNSUPPORTED for a sealed text of another place. */
export function sealCertificate(sealer: Sealer, name: string, { chain, key }: CertificateSpec, nowMs: number): CertificateSpec {
  const place = documentKeyPlace(name);
  const sealed = sealer.seal(place, key);
  const failures = certificateFailures({ chain, key: sealer.open(place, sealed) }, nowMs);
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `certificate ${name}: ${failuresText(failures)}`);
  return { chain, key: sealed };
}
export const recordKeyPlace = (name: string): string => `acme-certificate/${name}/key`;
export const orderKeyPlace = (name: string): string => `acme-order/${name}/key`;
export const accountKeyPlace = (id: string): string => `acme-account/${id}/key`;
