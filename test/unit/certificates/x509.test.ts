import { generateKeyPairSync } from "node:crypto";
import { certificateFailures, chainFacts, coversName } from "../../../daemon/lib/x509.js";
import { siteTlsFailures, type SiteTlsSpec } from "../../../daemon/lib/tls-spec.js";
import { TestCa, type TestCertificate } from "../../support/certificates.js";

let ca: TestCa;
let good: TestCertificate;
beforeAll(async () => {
  ca = await TestCa.create();
  good = await ca.issue(["Shop.example", "*.shop.example", "192.0.2.1"]);
});
const told = (chain: string, key: string, atMs = Date.now()): string => certificateFailures({ chain, key }, atMs).map(({ property, reason }) => `${property}: ${reason}`).join("\n");

test("what a chain says of itself", () => {
  const facts = chainFacts(good.chain);
  expect(facts).toMatchObject({ names: ["shop.example", "*.shop.example", "192.0.2.1"], issuer: "Test CA" });
  expect((facts?.notAfterMs ?? 0) - Date.now()).toBeGreaterThan(89 * 86_400_000);
  expect([chainFacts(""), chainFacts(good.key), chainFacts(`${good.chain}${good.key}`), chainFacts("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----")]).toEqual([undefined, undefined, undefined, undefined]);
  expect(coversName(["shop.example", "*.shop.example"], "www.shop.example")).toBe(true);
  expect(["a.b.shop.example", "example", "shop.example.org", "*.shop.example"].map((name) => coversName(["shop.example", "*.shop.example"], name))).toEqual([false, false, false, true]);
});

test("a good one passes; what is wrong is named, and no value is", async () => {
  expect(told(good.chain, good.key)).toBe("");
  const other = await ca.issue(["other.example"]);
  expect(told(good.chain, other.key)).toBe("key: does not belong to the first certificate of the chain");
  expect(told(good.key, good.chain)).toMatch(/^chain: cannot be read; give 1 to 10 certificates in PEM/);
  expect(told(good.chain, "-----BEGIN PRIVATE KEY-----\nT0KEN\n-----END PRIVATE KEY-----")).toMatch(/^key: cannot be read; give a private key in PEM without a passphrase/);
  const locked = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" }) as string;
  expect(told(good.chain, locked)).toMatch(/^key: cannot be read/);
  expect(told(good.chain, good.key, Date.now() + 91 * 86_400_000)).toMatch(/^chain: the certificate for shop.example, \*.shop.example, 192.0.2.1 has expired: \d{4}-/);
  expect(told(good.chain, good.key, Date.now() - 3 * 86_400_000)).toMatch(/is not valid before/);
  const [leaf, issuer] = good.chain.split(/(?<=-----END CERTIFICATE-----)\n/);
  expect(told(`${issuer}\n${leaf}`, good.key)).toMatch(/certificate 2 is not the issuer of certificate 1/);
  expect(told((await ca.issue([])).chain, good.key)).toMatch(/has no names/);
  const small = await ca.issue(["a.example"], { algorithm: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 1024 } });
  expect(told(small.chain, small.key)).toMatch(/^key: is RSA with 1024 bits/);
  expect(told(good.chain, generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string)).toMatch(/^key: is of the kind ed25519/);
});

test("a site's wishes that cannot be had", () => {
  const wish = (more: Partial<SiteTlsSpec>, ...hostnames: string[]): string[] => siteTlsFailures({ certificate: "acme", redirect: true, ...more }, hostnames).map(({ property }) => property);
  expect(wish({}, "shop.example", "www.shop.example")).toEqual([]);
  expect(wish({}, "*.shop.example", "192.0.2.1", "fd00::1")).toEqual(["hostnames", "hostnames", "hostnames"]);
  expect(wish({ certificate: "own" }, "*.shop.example", "192.0.2.1")).toEqual([]);
  expect(wish({ hsts: { maxAgeSeconds: 60, preload: true } }, "shop.example")).toEqual(["tls.hsts.preload"]);
  expect(wish({ hsts: { maxAgeSeconds: 31_536_000, includeSubDomains: true, preload: true } }, "shop.example")).toEqual([]);
});
