import "reflect-metadata";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
x509.cryptoProvider.set(webcrypto as never);

/** A throw-away CA with a certificate for each name: PEM files in a new folder. */
export async function edgePki(names: readonly string[]): Promise<{ folder: string; ca: string; of(name: string): { ca: string; cert: string; key: string } }> {
  const folder = mkdtempSync(join(tmpdir(), "hc-pki-"));
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const notBefore = new Date(Date.now() - 60_000);
  const notAfter = new Date(Date.now() + 3_600_000);
  const caKeys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const caCert = await x509.X509CertificateGenerator.createSelfSigned({ name: "CN=test edge CA", keys: caKeys as never, notBefore, notAfter, signingAlgorithm: algorithm, extensions: [new x509.BasicConstraintsExtension(true, 0, true)] });
  const ca = file("ca.crt", caCert.toString("pem"));
  for (const name of names) {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const cert = await x509.X509CertificateGenerator.create({ subject: `CN=${name}`, issuer: caCert.subject, publicKey: keys.publicKey as never, signingKey: caKeys.privateKey as never, notBefore, notAfter, signingAlgorithm: algorithm });
    file(`${name}.crt`, cert.toString("pem"));
    const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
    file(`${name}.key`, `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`);
  }
  return { folder, ca, of: (name) => ({ ca, cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }) };
}
