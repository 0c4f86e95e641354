import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultPaths } from "../../../daemon/lib/node-config.js";
import { currentHosts } from "../../../providers/core/api-connections.js";
import { dropAllPending, keepPending, readConnectionFile, readPending, removeConnectionFile, writeConnectionFile } from "../../../providers/core/connection-file.js";
import type { Connection } from "../../../providers/schemas/connection.js";

const workspace = mkdtempSync(join(tmpdir(), "hc-ws-"));
const before = process.env["HC_WORKSPACE"];
beforeAll(() => { process.env["HC_WORKSPACE"] = workspace; });
afterAll(() => {
  if (before === undefined) delete process.env["HC_WORKSPACE"];
  else process.env["HC_WORKSPACE"] = before;
  rmSync(workspace, { recursive: true, force: true });
});
const host = (node: string, address: string): Connection => ({ node, address, port: 22, user: "root", hostKey: "ssh-ed25519 AAAA", paths: defaultPaths });
const modeOf = (name: string): number => statSync(join(workspace, "clusters", name)).mode & 0o777;

test("the connection file is its owner's alone, and comes before the hosts of old state", async () => {
  const old = { cluster: "eu", hosts: [host("n1", "192.0.2.1"), host("n2", "192.0.2.2")], nodes: 2, zones: [], httpPort: 80 };
  expect(currentHosts(old)).toEqual(old.hosts);
  await writeConnectionFile("eu", "id-1", [host("n1", "198.51.100.1"), host("n2", "192.0.2.2")]);
  expect(modeOf("eu.json")).toBe(0o600);
  expect(statSync(join(workspace, "clusters")).mode & 0o777).toBe(0o700);
  expect(readConnectionFile("eu")).toMatchObject({ version: 1, cluster: "eu", clusterId: "id-1", projectRoot: process.cwd() });
  expect(currentHosts(old).map((each) => each.address)).toEqual(["198.51.100.1", "192.0.2.2", "192.0.2.1"]);
  removeConnectionFile("eu");
  expect(readConnectionFile("eu")).toBeUndefined();
});

test("a new cluster's keys outlive a kill, and nothing of them is left after an up", async () => {
  await keepPending("eu", { clusterId: "id-1", secrets: "{}" });
  expect(modeOf("eu.pending.json")).toBe(0o600);
  expect(readPending("eu")).toEqual({ clusterId: "id-1", secrets: "{}" });
  await writeConnectionFile("eu", "id-1", [host("n1", "192.0.2.1")]);
  dropAllPending(workspace);
  expect(readdirSync(join(workspace, "clusters"))).toEqual(["eu.json"]);
});
