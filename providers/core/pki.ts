import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

/** PEM texts. */
export interface KeyPair { cert: string; key: string }
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const dayMs = 86_400_000;
export const caDays = 3650;
export const nodeDays = 825;
x509.cryptoProvider.set(webcrypto as never);

async function newKeys(): Promise<{ keys: webcrypto.CryptoKeyPair; pem: string }> {
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]));
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  return { keys, pem: `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}(?=.)/g, "$&\n")}\n-----END PRIVATE KEY-----\n` };
}
async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(pem.replace(/-----[^-]+-----/g, "").replace(/\s/g, ""), "base64");
  return (await webcrypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]));
}
const serial = (): string => Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString("hex").replace(/^[89a-f]/, "7"); // positive (RFC 5280 §4.1.2.2)

/** A certificate authority (RFC 5280), ECDSA P-256, valid ten years. */
export async function makeCa(commonName: string, now: Date): Promise<KeyPair> {
  const { keys, pem } = await newKeys();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(), name: `CN=${commonName}`, notBefore: new Date(now.getTime() - dayMs), notAfter: new Date(now.getTime() + caDays * dayMs), keys: keys as never, signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never), // RFC 5280 §4.2.1.2: every CA has one
    ],
  });
  return { cert: `${cert.toString("pem")}\n`, key: pem };
}

/** A node's certificate: CN = its name, alternative names = name and all addresses, for server and client. */
export async function issue(ca: KeyPair, name: string, addresses: readonly string[], now: Date): Promise<KeyPair> {
  const authority = new x509.X509Certificate(ca.cert);
  const { keys, pem } = await newKeys();
  const isIp = (text: string): boolean => /^[0-9.]+$/.test(text) || text.includes(":");
  const names = [...new Set([name, "localhost", "127.0.0.1", "::1", ...addresses])].map((value) => ({ type: isIp(value) ? ("ip" as const) : ("dns" as const), value }));
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: serial(), subject: `CN=${name}`, issuer: authority.subject, notBefore: new Date(now.getTime() - dayMs), notAfter: new Date(now.getTime() + nodeDays * dayMs),
    publicKey: keys.publicKey as never, signingKey: (await importKey(ca.key)) as never, signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.AuthorityKeyIdentifierExtension.create(authority), // RFC 5280 §4.2.1.1: strict verifiers refuse a certificate without
    ],
  });
  return { cert: `${cert.toString("pem")}\n`, key: pem };
}

export const expiresAt = (cert: string): Date => new x509.X509Certificate(cert).notAfter;
