import "reflect-metadata";
import { X509Certificate } from "node:crypto";
import { type AddressInfo, isIP } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import * as x509 from "@peculiar/x509";
import { caDays, expiresAt, issue, type KeyPair, makeCa, nodeDays } from "../../../providers/core/pki.js";

const now = new Date();
const dayMs = 86_400_000;
let ca: KeyPair;
let edgeCa: KeyPair;
let n1: KeyPair;
let n2: KeyPair;
beforeAll(async () => {
  [ca, edgeCa] = [await makeCa("eu nodes", now), await makeCa("eu proxies", now)];
  [n1, n2] = [await issue(ca, "n1", ["192.0.2.1", "2001:db8::1", "n1.example.net"], now), await issue(ca, "n2", ["192.0.2.2"], now)];
});

/** What both ends say of a mutual handshake of `server` and `client`, each trusting `trust` only; the client expects `name`. */
async function handshake(server: KeyPair, client: KeyPair | undefined, trust: string, name: string): Promise<string> {
  const listener = createServer({ ...server, ca: trust, requestCert: true, rejectUnauthorized: true }, (socket) => socket.end(`hello ${socket.getPeerCertificate().subject.CN}`));
  listener.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  try {
    return await new Promise<string>((resolve) => {
      const socket: TLSSocket = connect({ port: (listener.address() as AddressInfo).port, host: "127.0.0.1", servername: isIP(name) === 0 ? name : "", ca: trust, ...client,
        checkServerIdentity: (_host, { raw }) => ((isIP(name) === 0 ? new X509Certificate(raw).checkHost(name) : new X509Certificate(raw).checkIP(name)) === undefined ? new Error("another name") : undefined) });
      socket.on("error", (error) => resolve(`refused: ${error.message}`));
      let text = "";
      socket.setEncoding("utf8").on("data", (part: string) => { text += part; }).on("end", () => resolve(text === "" ? "refused" : text));
    });
  } finally {
    await new Promise((resolve) => listener.close(resolve));
  }
}

describe("a node's certificate", () => {
  it.each(["n1", "192.0.2.1", "2001:db8::1", "n1.example.net", "localhost"])("serves as %s, and proves the client's node by its common name", async (name) => {
    expect(await handshake(n1, n2, ca.cert, name)).toBe("hello n2");
  });
  it("does not serve as another node", async () => {
    expect(await handshake(n1, n2, ca.cert, "n2")).toMatch(/^refused: another name/);
  });
  it("is refused without one, and from the other CA, on either side", async () => {
    const proxy = await issue(edgeCa, "n2", [], now);
    expect(await handshake(n1, undefined, ca.cert, "n1")).toMatch(/^refused/);
    expect(await handshake(n1, proxy, ca.cert, "n1")).toMatch(/^refused/);
    expect(await handshake(await issue(edgeCa, "n1", [], now), n2, ca.cert, "n1")).toMatch(/^refused/);
  });
  it("cannot sign others: a node is no authority", async () => {
    const forged = await issue(n1, "n2", ["192.0.2.2"], now);
    expect(await handshake(n1, { cert: `${forged.cert}${n1.cert}`, key: forged.key }, ca.cert, "n1")).toMatch(/^refused/);
  });
  it("has a key of its own", async () => {
    const again = await issue(ca, "n1", [], now);
    expect(again.key).not.toBe(n1.key);
    expect(new X509Certificate(again.cert).serialNumber).not.toBe(new X509Certificate(n1.cert).serialNumber);
  });
});

describe("lifetimes", () => {
  it("begin a day early, for clocks that are behind", () => {
    expect(new X509Certificate(n1.cert).validFromDate.getTime()).toBeLessThanOrEqual(now.getTime() - dayMs + 1000);
  });
  it("are ten years for a CA and within the 825 days that TLS clients take for a node", () => {
    expect(Math.round((expiresAt(ca.cert).getTime() - now.getTime()) / dayMs)).toBe(caDays);
    expect(Math.round((expiresAt(n1.cert).getTime() - now.getTime()) / dayMs)).toBe(nodeDays);
    expect([caDays, nodeDays]).toEqual([3650, 825]);
  });
});

test("key identifiers lead from a certificate to its authority (RFC 5280 §4.2.1: strict verifiers want them)", () => {
  const [authority, node, edge] = [ca, n1, edgeCa].map(({ cert }) => new x509.X509Certificate(cert)) as [x509.X509Certificate, x509.X509Certificate, x509.X509Certificate];
  const own = (cert: x509.X509Certificate): string | undefined => cert.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  expect(own(authority)).toMatch(/^[0-9a-f]{40}$/);
  expect(own(edge)).not.toBe(own(authority));
  expect(node.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId).toBe(own(authority));
  expect(node.getExtension(x509.ExtendedKeyUsageExtension)?.usages).toEqual([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]);
});
