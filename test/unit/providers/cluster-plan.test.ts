import { defaultPaths, defaultPorts } from "../../../daemon/lib/node-config.js";
import { unknownValue } from "../../../daemon/lib/schema.js";
import { clusterHandler, votersOf } from "../../../providers/handlers/cluster.js";
import { customerHandler } from "../../../providers/handlers/customer.js";
import { templateHandler } from "../../../providers/handlers/template.js";
import { type ClusterInputs, type ClusterOutputs, otherCluster, settingsDefaults } from "../../../providers/schemas/cluster.js";
import type { CustomerInputs } from "../../../providers/schemas/customer.js";
import type { TemplateInputs } from "../../../providers/schemas/template.js";

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9Yv0Yq3eL0mQ2tC1mWwq5G3s0bW3mKq3b0x8b5v1r";
const member = (node: string, role: "node" | "witness" = "node") => ({ node, addresses: ["192.0.2.1"], zone: "", role, ports: defaultPorts });
const hosts = (names: string[]) => names.map((node) => ({ node, address: "192.0.2.1", port: 22, user: "root", hostKey, paths: defaultPaths }));
const cluster = (names: string[], more: object = {}): ClusterInputs => ({ name: "eu", connections: hosts(names), members: names.map((node) => member(node)), datasets: Object.fromEntries(names.map((node) => [node, "hpool/hc"])), redundancy: Math.min(2, names.length), settings: settingsDefaults, ephemeral: false, ...more });
const said = (answer: { failures: { property: string; reason: string }[] }): string[] => answer.failures.map(({ property, reason }) => `${property}: ${reason}`);

test.each<[string[], string[], string[]]>([
  [["n1"], [], ["n1"]],
  [["n1", "n2"], [], ["n1"]],
  [["n1", "n2"], ["w"], ["n1", "n2", "w"]],
  [["n1", "n2", "n3"], [], ["n1", "n2", "n3"]],
  [["n1", "n2", "n3", "n4", "n5"], [], ["n1", "n2", "n3"]],
  [["n1", "n2", "n3"], ["w"], ["n1", "n2", "n3"]],
])("of the nodes %j and witnesses %j, %j vote", (nodes, witnesses, voters) => {
  expect(votersOf({ members: [...nodes.map((node) => member(node)), ...witnesses.map((node) => member(node, "witness"))] })).toEqual(voters);
});

describe("Cluster", () => {
  it("refuses more copies than nodes; a witness holds none", async () => {
    expect(said(await clusterHandler.check({}, cluster(["n1", "n2"], { redundancy: 3 })))).toEqual(["redundancy: 3 copies need as many nodes; there are 2"]);
    expect(said(await clusterHandler.check({}, cluster(["n1", "n2"], { redundancy: 3, members: [member("n1"), member("n2"), member("w", "witness")] })))).toHaveLength(1);
  });
  it("names a setting that is wrong", async () => {
    expect(said(await clusterHandler.check({}, cluster(["n1"], { settings: { ...settingsDefaults, rpoS: 0, colour: "red" } })))).toEqual([expect.stringMatching(/^settings\.colour: is not a known property/), expect.stringMatching(/^settings\.rpoS: 0 must be >= 1/)]);
  });
  it("names load balancers that are none, and forgets a null", async () => {
    expect(said(await clusterHandler.check({}, cluster(["n1"], { proxyProtocol: { from: ["192.0.2.1", "everybody", "0.0.0.0/0"] } })))).toEqual([expect.stringMatching(/^proxyProtocol\.from\.1: "everybody" is no address or network/), expect.stringMatching(/^proxyProtocol\.from\.2: "0\.0\.0\.0\/0"/)]);
    expect(said(await clusterHandler.check({}, cluster(["n1"], { proxyProtocol: { from: [] } })))).toEqual([expect.stringMatching(/^proxyProtocol\.from: /)]);
    expect((await clusterHandler.check({}, cluster(["n1"], { proxyProtocol: null }))).inputs).not.toHaveProperty("proxyProtocol");
    expect(said(await clusterHandler.check({}, cluster(["n1"], { proxyProtocol: { from: ["10.0.0.0/8", "2001:db8::1"] } })))).toEqual([]);
  });
  it("takes what is not known yet", async () => expect(said(await clusterHandler.check({}, cluster(["n1"], { connections: unknownValue, members: unknownValue })))).toEqual([]));

  const olds = (more: Partial<ClusterOutputs> = {}): ClusterOutputs => ({ ...cluster(["n1", "n2", "n3"]), clusterId: "id", secrets: '{"sealKey":"x"}', renewAfter: "2999-01-01T00:00:00.000Z", ...more });
  test.each<[string, Partial<ClusterOutputs>, object, object]>([
    ["nothing", {}, {}, { changes: false, replaces: [] }],
    ["a node more", {}, cluster(["n1", "n2", "n3", "n4"]), { changes: true, replaces: [] }],
    ["a node less", {}, cluster(["n1", "n2"]), { changes: true, replaces: [] }],
    ["another redundancy", {}, { redundancy: 3 }, { changes: true, replaces: [] }],
    ["a setting", {}, { settings: { ...settingsDefaults, trashDays: 7 } }, { changes: true, replaces: [] }],
    ["load balancers", {}, { proxyProtocol: { from: ["192.0.2.1"] } }, { changes: true, replaces: [] }],
    ["certificates in their last third", { renewAfter: "2001-01-01T00:00:00.000Z" }, {}, { changes: true, replaces: [] }],
    ["what is not known yet", {}, { members: unknownValue }, { changes: true, replaces: [] }],
    ["another name", {}, { name: "us" }, { changes: true, replaces: ["name"] }],
  ])("diff of %s", async (_what, before, more, expected) => {
    expect(await clusterHandler.diff("id", olds(before), { ...cluster(["n1", "n2", "n3"]), ...more })).toMatchObject(expected);
  });
});

test("a cluster that grows by hosts that are still to be made is the same cluster: nothing in it is replaced", () => {
  const eu = { cluster: "eu", hosts: hosts(["n1"]), nodes: 1, zones: [], httpPort: 80 };
  expect(otherCluster(eu, unknownValue as never)).toBe(false);
  expect(otherCluster(eu, { ...eu, hosts: unknownValue as never })).toBe(false);
  expect(otherCluster(eu, { ...eu, nodes: 3 })).toBe(false);
  expect(otherCluster(eu, { ...eu, cluster: "us" })).toBe(true);
  expect(otherCluster(undefined, eu)).toBe(false);
});

const connection = { cluster: "eu", hosts: hosts(["n1"]), nodes: 1, zones: [], httpPort: 80 };

describe("Template", () => {
  const template = (more: object = {}): TemplateInputs => ({ name: "php", connection, recipe: "php", version: "1", settings: { title: "x" }, adopt: false, timeouts: { create: 600 }, ...more });
  it("is built anew for a new version only", async () => {
    expect(said(await templateHandler.check(template(), template()))).toEqual([]);
    expect(said(await templateHandler.check(template(), template({ version: "2", recipe: "dokuwiki", settings: {} })))).toEqual([]);
    for (const [field, more] of [["recipe", { recipe: "dokuwiki" }], ["settings", { settings: { title: "hunter2" } }]] as const) {
      const failures = said(await templateHandler.check(template(), template(more)));
      expect(failures).toEqual([expect.stringMatching(new RegExp(`^version: ${field} changes what is built, .*give another version`))]);
      expect(failures.join("")).not.toContain("hunter2");
    }
  });
  it("is not judged by what is not known yet, nor by another template's past", async () => {
    expect(said(await templateHandler.check(template(), template({ settings: unknownValue })))).toEqual([]);
    expect(said(await templateHandler.check(template(), template({ name: "other", recipe: "dokuwiki" })))).toEqual([]);
  });
  it("diff", async () => {
    const olds = { ...template(), guid: "1" };
    expect(await templateHandler.diff("php", olds, template({ connection: { ...connection, httpPort: 81 }, timeouts: { create: 1 } }))).toMatchObject({ changes: false, replaces: [] });
    expect(await templateHandler.diff("php", olds, template({ version: "2" }))).toMatchObject({ changes: true, replaces: [] });
    expect(await templateHandler.diff("php", olds, template({ name: "b" }))).toMatchObject({ changes: true, replaces: ["name"] });
    expect(await templateHandler.diff("php", olds, template({ connection: { ...connection, cluster: "us" } }))).toMatchObject({ changes: true, replaces: ["connection"] });
  });
});

test("Customer: contact changes it, name and cluster replace it", async () => {
  const customer = (more: object = {}): CustomerInputs => ({ name: "acme", connection, displayName: "", contact: "", adopt: false, timeouts: { create: 60 }, ...more });
  const olds = { ...customer(), uid: 20000, gid: 20000, user: "hc-acme" };
  expect(await customerHandler.diff("acme", olds, customer({ connection: { ...connection, nodes: 2 } }))).toMatchObject({ changes: false });
  expect(await customerHandler.diff("acme", olds, customer({ contact: "it@acme.example" }))).toMatchObject({ changes: true, replaces: [] });
  expect(await customerHandler.diff("acme", olds, customer({ name: "b" }))).toMatchObject({ replaces: ["name"] });
  expect(said(await customerHandler.check({}, customer({ nick: "a" })))).toEqual([expect.stringMatching(/^nick: is not a known property/)]);
});
