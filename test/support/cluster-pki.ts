import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
x509.cryptoProvider.set(webcrypto as never);

export interface Pem { cert: string; key: string }
export interface TestCa { ca: string; issue(name: string, addresses?: readonly string[]): Promise<Pem> }

async function pemKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key as never)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}/g, "$&\n")}\n-----END PRIVATE KEY-----\n`;
}

/** A throw-away CA, independent of the product's own, whose certificates serve both ends of a connection. */
export async function testCa(label: string): Promise<TestCa> {
  const notBefore = new Date(Date.now() - 60_000);
  const notAfter = new Date(Date.now() + 6 * 3_600_000);
  const caKeys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const caCert = await x509.X509CertificateGenerator.createSelfSigned({ name: `CN=${label}`, keys: caKeys as never, notBefore, notAfter, signingAlgorithm: algorithm, extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true)] });
  return {
    ca: `${caCert.toString("pem")}\n`,
    async issue(name, addresses = []) {
      const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
      const names = [{ type: "dns", value: name }, { type: "dns", value: "localhost" }, ...["127.0.0.1", "::1", ...addresses].map((value) => ({ type: "ip", value }))] as x509.JsonGeneralNames;
      const cert = await x509.X509CertificateGenerator.create({
        subject: `CN=${name}`, issuer: caCert.subject, publicKey: keys.publicKey as never, signingKey: caKeys.privateKey as never, notBefore, notAfter, signingAlgorithm: algorithm,
        extensions: [new x509.SubjectAlternativeNameExtension(names), new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth])],
      });
      return { cert: `${cert.toString("pem")}\n`, key: await pemKey(keys.privateKey as never) };
    },
  };
}
