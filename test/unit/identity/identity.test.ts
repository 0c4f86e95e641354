import { mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkIdentity, readClusterConfig, readPki, removeIdentity, writeIdentity } from "../../../daemon/identity/identity.js";
import type { CommandRunner } from "../../../daemon/lib/command.js";
import { defaultPaths, defaultPorts, type HostConfig, type Identity } from "../../../daemon/lib/node-config.js";

const uid = process.getuid?.() ?? 0;
const runner: CommandRunner = { run: async (argv) => ({ code: 0, signal: null, stdout: argv[1] === "-u" ? `${uid}\n` : `${process.getgid?.() ?? 0}\n`, stderr: "", durationMs: 1 }) };
const pem = (text: string): string => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
function setup(): { host: HostConfig; identity: Identity } {
  const etc = join(mkdtempSync(join(tmpdir(), "hc-id-")), "etc");
  const host: HostConfig = { version: 1, node: "n1", platform: "linux", zone: "a", role: "node", addresses: ["10.0.0.1"], ports: defaultPorts, paths: { ...defaultPaths, etc } };
  const member = { node: "n1", addresses: ["10.0.0.1"], zone: "a", role: "node", ports: defaultPorts } as const;
  return { host, identity: { version: 1, config: { version: 1, cluster: "eu", clusterId: "abcdefgh", node: "n1", members: [{ ...member, addresses: [...member.addresses] }], voters: ["n1"], dataset: "hpool/hc", etcd: { heartbeatMs: 250, electionMs: 2500 } }, pki: { ca: pem("a"), nodeCert: pem("b"), nodeKey: pem("c"), edgeCa: pem("d"), proxyCert: pem("e"), proxyKey: pem("f") } } };
}

test("written, read, unchanged, changed, removed; keys readable by their owner only", async () => {
  const { host, identity } = setup();
  expect(await readClusterConfig(host)).toBeUndefined();
  expect(await writeIdentity(host, identity, runner)).toBe(true);
  expect(await writeIdentity(host, identity, runner)).toBe(false);
  expect(await readClusterConfig(host)).toEqual(identity.config);
  expect(await readPki(host)).toEqual(identity.pki);
  const modes = Object.fromEntries(readdirSync(`${host.paths.etc}/pki`).map((name) => [name, (statSync(`${host.paths.etc}/pki/${name}`).mode & 0o777).toString(8)]));
  expect(modes).toEqual({ "ca.crt": "600", "node.crt": "600", "node.key": "600", "edge-ca.crt": "400", "proxy.crt": "400", "proxy.key": "400" });
  expect(await writeIdentity(host, { ...identity, pki: { ...identity.pki, nodeCert: pem("z") } }, runner)).toBe(true);
  expect(readFileSync(`${host.paths.etc}/pki/node.crt`, "utf8")).toBe(pem("z"));
  await removeIdentity(host);
  await removeIdentity(host);
  expect(readdirSync(host.paths.etc)).toEqual([]);
});

test("the key of secrets in etcd is root's alone, and an identity of a version before takes none away", async () => {
  const { host, identity } = setup();
  await writeIdentity(host, identity, runner);
  expect(await readPki(host)).not.toHaveProperty("sealKey");
  const sealKey = Buffer.alloc(32, 5).toString("base64");
  const keyed = { ...identity, pki: { ...identity.pki, sealKey } };
  expect(checkIdentity(keyed, host, undefined)).toBe(keyed);
  expect(() => checkIdentity({ ...keyed, pki: { ...keyed.pki, sealKey: "hush" } }, host, undefined)).toThrow(/pki\.sealKey: what stands there cannot be used/);
  expect(await writeIdentity(host, keyed, runner)).toBe(true);
  expect(statSync(`${host.paths.etc}/pki/seal.key`).mode & 0o777).toBe(0o600);
  expect(await writeIdentity(host, identity, runner)).toBe(false);
  expect((await readPki(host)).sealKey).toBe(sealKey);
});

test("refused: another node's, another cluster's, voters that are no members, unknown properties", () => {
  const { host, identity } = setup();
  expect(checkIdentity(identity, host, undefined)).toBe(identity);
  expect(checkIdentity(identity, host, identity.config)).toBe(identity);
  expect(() => checkIdentity(identity, { ...host, node: "n2" }, undefined)).toThrow(expect.objectContaining({ code: "INVALID_INPUT" }));
  expect(() => checkIdentity(identity, host, { ...identity.config, clusterId: "other-id" })).toThrow(expect.objectContaining({ code: "CONFLICT", retry: "never" }));
  expect(() => checkIdentity({ ...identity, config: { ...identity.config, voters: ["n9"] } }, host, undefined)).toThrow(/n9 is no member/);
  expect(() => checkIdentity({ ...identity, extra: 1 }, host, undefined)).toThrow(/extra/);
  expect(() => checkIdentity({ ...identity, pki: { ...identity.pki, nodeKey: "secret words" } }, host, undefined)).toThrow(/pki\.nodeKey: what stands there/);
});
