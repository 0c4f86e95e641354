import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const hourMs = 3_600_000;
x509.cryptoProvider.set(webcrypto as never);

export interface TestCertificate { /** Leaf, then its issuer. */ chain: string; leaf: string; key: string }
type Algorithm = typeof algorithm | { name: "RSASSA-PKCS1-v1_5"; hash: "SHA-256"; publicExponent: Uint8Array; modulusLength: number };
/** A throw-away CA with an intermediate, as public ones have. */
export class TestCa {
  private constructor(public readonly root: string, private readonly intermediate: x509.X509Certificate, private readonly keys: webcrypto.CryptoKeyPair) {}

  public static async create(): Promise<TestCa> {
    const range = { notBefore: new Date(Date.now() - 400 * 24 * hourMs), notAfter: new Date(Date.now() + 400 * 24 * hourMs) };
    const make = async (): Promise<webcrypto.CryptoKeyPair> => (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]));
    const [rootKeys, keys] = [await make(), await make()];
    const extensions = [new x509.BasicConstraintsExtension(true, undefined, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)];
    const root = await x509.X509CertificateGenerator.createSelfSigned({ serialNumber: "01", name: "CN=test root", keys: rootKeys as never, signingAlgorithm: algorithm, extensions, ...range });
    const intermediate = await x509.X509CertificateGenerator.create({ serialNumber: "02", subject: "CN=test issuer, O=Test CA", issuer: root.subject, publicKey: keys.publicKey as never, signingKey: rootKeys.privateKey as never, signingAlgorithm: algorithm, extensions, ...range });
    return new TestCa(root.toString("pem"), intermediate, keys);
  }

  /** For a key that somebody else has (a certificate request's). */
  public async sign(publicKey: x509.PublicKey | webcrypto.CryptoKey, names: readonly string[], notBefore: Date, notAfter: Date): Promise<string> {
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString("hex").replace(/^[089a-f]/, "7"), subject: names[0] === undefined ? "CN=nobody" : `CN=${names[0]}`, issuer: this.intermediate.subject,
      publicKey: publicKey as never, signingKey: this.keys.privateKey as never, signingAlgorithm: algorithm, notBefore, notAfter,
      extensions: [new x509.BasicConstraintsExtension(false, undefined, true), ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: /^[0-9.]+$/.test(value) ? ("ip" as const) : ("dns" as const), value })))])],
    });
    return leaf.toString("pem");
  }
  public chainOf(leaf: string): string {
    return `${leaf}\n${this.intermediate.toString("pem")}\n`;
  }

  public async issue(names: readonly string[], options: { fromH?: number; untilH?: number; algorithm?: Algorithm } = {}): Promise<TestCertificate> {
    const pair = (await webcrypto.subtle.generateKey((options.algorithm ?? algorithm) as typeof algorithm, true, ["sign", "verify"]));
    const leaf = await this.sign(pair.publicKey, names, new Date(Date.now() + (options.fromH ?? -1) * hourMs), new Date(Date.now() + (options.untilH ?? 24 * 90) * hourMs));
    const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", pair.privateKey)).toString("base64");
    return { leaf, chain: this.chainOf(leaf), key: `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}(?=.)/g, "$&\n")}\n-----END PRIVATE KEY-----\n` };
  }
}
