import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keys } from "../../../daemon/lib/records.js";
import { contentDigest, packContent } from "../../../providers/core/pack-content.js";
import { readConnectionFile, readPending } from "../../../providers/core/connection-file.js";
import { clusterHandler } from "../../../providers/handlers/cluster.js";
import { unknownValue } from "../../../daemon/lib/schema.js";
import { alertsHandler } from "../../../providers/handlers/alerts.js";
import { certificateHandler } from "../../../providers/handlers/certificate.js";
import type { CertificateInputs } from "../../../providers/schemas/certificate.js";
import { TestCa, type TestCertificate } from "../../support/certificates.js";
import { customerHandler } from "../../../providers/handlers/customer.js";
import { siteHandler } from "../../../providers/handlers/site.js";
import { templateHandler } from "../../../providers/handlers/template.js";
import { type ClusterConnection, type ClusterInputs, type ClusterOutputs, settingsDefaults } from "../../../providers/schemas/cluster.js";
import type { AlertsInputs } from "../../../providers/schemas/alerts.js";
import type { CustomerInputs } from "../../../providers/schemas/customer.js";
import type { SiteInputs, SiteOutputs } from "../../../providers/schemas/site.js";
import type { TemplateInputs } from "../../../providers/schemas/template.js";
import { defaultPorts } from "../../../daemon/lib/node-config.js";
import { ApiCluster } from "../../support/api-cluster.js";

// Cluster, Template, Customer and Site against the daemon's own API: what comes out, and what happens in trouble.
let cluster: ApiCluster;
let made: ClusterOutputs;
const workspace = mkdtempSync(join(tmpdir(), "hc-converge-"));
const workspaceBefore = process.env["HC_WORKSPACE"];
const said: string[] = [];
beforeAll(async () => {
  jest.spyOn(process.stdout, "write").mockImplementation((text) => said.push(String(text)) > 0);
  process.env["HC_WORKSPACE"] = workspace;
  cluster = await ApiCluster.start();
});
afterEach(() => {
  cluster.withheld.clear();
  cluster.templateError = "";
  cluster.act();
});
afterAll(async () => {
  await cluster.stop();
  if (workspaceBefore === undefined) delete process.env["HC_WORKSPACE"];
  else process.env["HC_WORKSPACE"] = workspaceBefore;
  rmSync(workspace, { recursive: true, force: true });
});

const connection = (): ClusterConnection => ({ cluster: "eu", hosts: cluster.connections(), nodes: 2, zones: [], httpPort: 8080 });
const customer = async (name: string, more: object = {}): Promise<CustomerInputs> => (await customerHandler.check({}, { name, connection: connection(), ...more } as unknown as CustomerInputs)).inputs;
const template = async (name: string, more: object = {}): Promise<TemplateInputs> => (await templateHandler.check({}, { name, connection: connection(), recipe: "php", version: "1", ...more } as unknown as TemplateInputs)).inputs;
const site = async (name: string, more: object = {}): Promise<SiteInputs> => {
  const { inputs, failures } = await siteHandler.check({}, { name, connection: connection(), customer: "acme", template: "php", hostnames: [`${name}.example`], ...more } as unknown as SiteInputs);
  expect(failures).toEqual([]);
  return inputs;
};
const clusterInputs = (nodes: readonly string[] = cluster.nodes): ClusterInputs => ({
  name: "eu", connections: nodes.map((node) => cluster.connection(node)), members: nodes.map((node) => ({ node, addresses: ["192.0.2.1"], zone: "", role: "node" as const, ports: defaultPorts })),
  datasets: Object.fromEntries(nodes.map((node) => [node, "hpool/hc"])), redundancy: nodes.length, settings: settingsDefaults, ephemeral: false,
});

describe("Cluster", () => {
  it("hands an identity to each host, puts its document, and writes the connection file", async () => {
    made = (await clusterHandler.create(clusterInputs())).outs;
    const [outs, id] = [made, made.clusterId];
    expect(cluster.config("n2")).toMatchObject({ cluster: "eu", clusterId: id, node: "n2", voters: ["n1"], dataset: "hpool/hc" });
    expect(cluster.identities.get("n1")?.pki.ca).toBe(cluster.identities.get("n2")?.pki.ca);
    expect(cluster.identities.get("n1")?.pki.nodeKey).not.toBe(cluster.identities.get("n2")?.pki.nodeKey);
    expect(readConnectionFile("eu")).toMatchObject({ clusterId: id, connections: [{ node: "n1" }, { node: "n2" }] });
    // until the state has the keys, they are kept: a kill here must not lose the CA
    expect(readPending("eu")).toEqual({ clusterId: id, secrets: outs.secrets });
    expect((await clusterHandler.create(clusterInputs())).id).toBe(id);
    expect((await clusterHandler.diff(id, outs, clusterInputs())).changes).toBe(false);
    expect(readPending("eu")).toBeUndefined();

    // an update keeps CA and certificates; a changed address gives that node alone a new one
    const again = await clusterHandler.update(id, outs, { ...clusterInputs(), redundancy: 1 });
    expect(again.outs.secrets).toBe(outs.secrets);
    const moved = clusterInputs();
    (moved.members[1] as { addresses: string[] }).addresses = ["198.51.100.9"];
    const before = structuredClone(cluster.identities.get("n1")?.pki);
    const third = await clusterHandler.update(id, again.outs, moved);
    expect(cluster.identities.get("n1")?.pki).toEqual(before);
    expect(JSON.parse(third.outs.secrets).nodes.n2.names).toBe("198.51.100.9");
    expect(JSON.parse(third.outs.secrets).ca).toEqual(JSON.parse(outs.secrets).ca);
  });
  it("renews certificates in their last third, and only them", async () => {
    const { outs } = await clusterHandler.update(made.clusterId, made, clusterInputs());
    const remaining = new Date(outs.renewAfter).getTime() - Date.now();
    jest.useFakeTimers({ doNotFake: ["nextTick", "setImmediate", "setTimeout", "clearTimeout", "setInterval", "clearInterval", "queueMicrotask", "performance"], now: Date.now() + remaining + 86_400_000 });
    try {
      expect((await clusterHandler.diff(outs.clusterId, outs, clusterInputs())).changes).toBe(true);
      const renewed = await clusterHandler.update(outs.clusterId, outs, clusterInputs());
      expect(renewed.outs.renewAfter > outs.renewAfter).toBe(true);
      expect(JSON.parse(renewed.outs.secrets).ca).toEqual(JSON.parse(outs.secrets).ca);
      expect(JSON.parse(renewed.outs.secrets).nodes.n1.node.key).not.toBe(JSON.parse(outs.secrets).nodes.n1.node.key);
    } finally {
      jest.useRealTimers();
    }
  });
  it("keeps the new keys when a host refuses: it belongs to another cluster", async () => {
    const stranger = { ...clusterInputs(), name: "us" };
    await expect(clusterHandler.create(stranger)).rejects.toMatchObject({ partial: true, message: expect.stringContaining("belongs to another cluster"), outs: { secrets: expect.stringContaining("BEGIN PRIVATE KEY") } });
    expect(cluster.config("n1")?.cluster).toBe("eu");
    await clusterHandler.diff("x", { ...stranger, clusterId: "x", secrets: "", renewAfter: "" }, stranger);
  });
  it("is gone only on the word of all its hosts", async () => {
    const outs = made;
    expect((await clusterHandler.read(outs.clusterId, outs)).id).toBe(outs.clusterId);
    await cluster.silence("n1");
    expect((await clusterHandler.read(outs.clusterId, outs)).id).toBe(outs.clusterId);
    const kept = cluster.identities.get("n2");
    cluster.identities.delete("n2");
    await expect(clusterHandler.read(outs.clusterId, outs)).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining("n1 cannot be asked") });
    await cluster.serve("n1");
    cluster.identities.delete("n1");
    expect((await clusterHandler.read(outs.clusterId, outs)).id).toBe("");
    for (const node of cluster.nodes) cluster.identities.set(node, kept as never);
  });
});

describe("Alerts", () => {
  const alerts = async (url: string): Promise<AlertsInputs> => (await alertsHandler.check({}, { name: "ops", connection: connection(), webhooks: [{ url }] } as unknown as AlertsInputs)).inputs;
  it("come with their secrets in clear and lie sealed; the same again changes nothing; gone is gone", async () => {
    // hcd reads the key of its identity when it starts
    for (const node of cluster.nodes) {
      await cluster.silence(node);
      await cluster.serve(node);
    }
    const inputs = await alerts("https://chat.example/T0KEN");
    const { id, outs } = await alertsHandler.create(inputs);
    const kept = (): { value: string; modRevision: string } | undefined => cluster.state.get(keys.desired("alerts", "ops"));
    expect([id, kept()?.value.includes("T0KEN"), kept()?.value.includes("sealed:1:")]).toEqual(["ops", false, true]);
    const revision = kept()?.modRevision;
    await alertsHandler.update(id, outs, inputs);
    expect(kept()?.modRevision).toBe(revision);
    await alertsHandler.update(id, outs, await alerts("https://chat.example/N3W"));
    expect(kept()?.modRevision).not.toBe(revision);
    expect((await alertsHandler.read(id, outs)).id).toBe("ops");
    await alertsHandler.delete(id, outs);
    expect([kept(), (await alertsHandler.read(id, outs)).id]).toEqual([undefined, ""]);
    expect(`${said.join("")}${cluster.asked.join("")}`).not.toMatch(/T0KEN|N3W/);
  });
});

describe("Certificate", () => {
  it("tells what it is for and until when; its key lies sealed; renewed, it is updated and never replaced; gone is gone", async () => {
    const ca = await TestCa.create();
    const [first, second] = [await ca.issue(["shop.example", "*.shop.example"]), await ca.issue(["shop.example"], { untilH: 48 })];
    const given = async ({ chain, key }: TestCertificate): Promise<CertificateInputs> => {
      const { inputs, failures } = await certificateHandler.check({}, { name: "own", connection: connection(), chain, key } as unknown as CertificateInputs);
      expect(failures).toEqual([]);
      return inputs;
    };
    const kept = (): string => cluster.state.get(keys.desired("certificate", "own"))?.value ?? "";
    const { id, outs } = await certificateHandler.create(await given(first));
    expect([id, outs.names, outs.validUntil.slice(0, 10)]).toEqual(["own", ["shop.example", "*.shop.example"], new Date(Date.now() + 90 * 86_400_000).toISOString().slice(0, 10)]);
    expect([kept().includes("PRIVATE KEY"), kept().includes("sealed:1:")]).toEqual([false, true]);
    expect(await certificateHandler.diff(id, outs, await given(first))).toMatchObject({ changes: false });
    expect(await certificateHandler.diff(id, outs, await given(second))).toMatchObject({ changes: true, replaces: [] });
    expect((await certificateHandler.update(id, outs, await given(second))).outs.names).toEqual(["shop.example"]);
    expect((await certificateHandler.read(id, outs)).id).toBe("own");
    await certificateHandler.delete(id, outs);
    expect([kept(), (await certificateHandler.read(id, outs)).id]).toEqual(["", ""]);
    // it expires while the program still names it: nothing else may be kept from being changed by that; a new one that has expired is refused
    const { chain, key } = await ca.issue(["late.example"], { fromH: -48, untilH: -24 });
    const late = { name: "own", connection: connection(), chain, key } as unknown as CertificateInputs;
    expect((await certificateHandler.check(late, late)).failures).toEqual([]);
    expect((await certificateHandler.check({ ...late, key: first.key }, late)).failures).toEqual([{ property: "chain", reason: expect.stringContaining("has expired") }]);
    const unknown = await certificateHandler.check({}, { name: "own", connection: connection(), chain: unknownValue, key: unknownValue } as unknown as CertificateInputs);
    expect(unknown.failures).toEqual([]);
  });
});

describe("Customer and Template", () => {
  it("give what the cluster made of them, and take it back", async () => {
    expect((await customerHandler.create(await customer("acme"))).outs).toMatchObject({ uid: 20000, gid: 20000, user: "hc-acme", displayName: "" });
    expect((await templateHandler.create(await template("php"))).outs).toMatchObject({ guid: "12345678901234567890" });
    expect((await customerHandler.read("acme", { ...(await customer("acme")), uid: 1, gid: 1, user: "" })).props).toMatchObject({ uid: 20000 });
    expect((await templateHandler.read("nothing", { ...(await template("nothing")), guid: "" })).id).toBe("");
    await customerHandler.create(await customer("gone"));
    await customerHandler.delete("gone", (await customerHandler.read("gone", { ...(await customer("gone")), uid: 1, gid: 1, user: "" })).props);
    await customerHandler.delete("gone", { ...(await customer("gone")), uid: 1, gid: 1, user: "" });
  });
  it("are half-made past their time, and become whole by an update", async () => {
    cluster.withheld.add("customer");
    const inputs = await customer("late", { timeouts: { create: 1 } });
    await expect(customerHandler.create(inputs)).rejects.toMatchObject({ partial: true, id: "late", message: expect.stringContaining("Customer late") });
    cluster.withheld.clear();
    cluster.act();
    expect((await customerHandler.update("late", { ...inputs, uid: 0, gid: 0, user: "" }, inputs)).outs).toMatchObject({ user: "hc-late" });
  });
  it("say at once why a build failed, on which node", async () => {
    cluster.templateError = "no space left";
    await expect(templateHandler.create(await template("big"))).rejects.toMatchObject({ partial: true, outs: { guid: "" }, message: expect.stringMatching(/big@1 could not be built on n1: no space left/) });
    cluster.templateError = "";
    expect((await templateHandler.update("big", { ...(await template("big")), guid: "" }, await template("big"))).outs.guid).not.toBe("");
  });
  it("take over what the API made only when told", async () => {
    cluster.state.txn([], [{ put: keys.desired("customer", "self"), value: JSON.stringify({ version: 1, kind: "customer", name: "self", origin: "api", spec: { displayName: "S", contact: "" } }) }]);
    await expect(customerHandler.create(await customer("self"))).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("adopt") });
    expect(cluster.asked.filter((what) => what === "refused PUT self: CONFLICT")).toHaveLength(1); // not asked again: it does not pass
    await customerHandler.create(await customer("self", { adopt: true }));
  });
});

describe("Site", () => {
  const folder = join(workspace, "content");
  const outputsOf = async (name: string, more: Partial<SiteOutputs> = {}): Promise<SiteOutputs> => ({ ...(await site(name)), home: "n1", replicaNodes: ["n2"], urls: [], epoch: 1, ...more });
  beforeAll(() => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    writeFileSync(join(folder, "index.php"), "<?php echo 1;");
  });

  it("is done when its home is ready with this document; placement is what comes out", async () => {
    const { id, outs } = await siteHandler.create(await site("wiki"));
    expect([id, outs]).toEqual(["wiki", expect.objectContaining({ home: "n1", replicaNodes: ["n2"], epoch: 1, urls: ["http://wiki.example:8080/"] })]);
    cluster.withheld.add("site"); // the old revision still serves: not done
    const larger = await site("wiki", { quota: "20G", timeouts: { create: 1 } });
    await expect(siteHandler.update("wiki", outs, larger)).rejects.toMatchObject({ partial: true, outs: { home: "n1", quota: "20G" }, message: expect.stringMatching(/not ready after 1 s: on n1 it is serving/) });
    cluster.withheld.clear();
    cluster.act();
    expect((await siteHandler.update("wiki", outs, larger)).outs).toMatchObject({ quota: "20G" });
  });
  it("says that it has no home when there is none", async () => {
    cluster.withheld.add("site");
    await expect(siteHandler.create(await site("nowhere", { timeouts: { create: 1 } }))).rejects.toMatchObject({ partial: true, id: "nowhere", message: expect.stringContaining("is not placed yet") });
  });
  it("brings its content before its document, through any host that answers", async () => {
    const sha256 = contentDigest(packContent(folder));
    await cluster.silence("n1");
    try {
      await siteHandler.create(await site("full", { content: { sha256 }, contentPath: folder }));
      expect(readdirSync(cluster.blobsOf("n2"))).toEqual([sha256]);
    } finally {
      await cluster.serve("n1");
    }
    writeFileSync(join(folder, "new.php"), "");
    await expect(siteHandler.create(await site("other", { content: { sha256 }, contentPath: folder }))).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("has changed while") });
    expect(cluster.asked.join("\n")).not.toContain("site other");
  });
  it("waits for a host name that another site is just giving up", async () => {
    const taking = siteHandler.update("wiki", await outputsOf("wiki"), await site("wiki", { hostnames: ["wiki.example", "full.example"] }));
    while (!cluster.asked.includes("refused PUT wiki: CONFLICT")) await new Promise((resolve) => setImmediate(resolve));
    await siteHandler.update("full", await outputsOf("full"), await site("full", { hostnames: ["f.example"] }));
    expect((await taking).outs.hostnames).toContain("full.example");
  });
  it("is read as it is: drift shows, a missing one is gone", async () => {
    const found = await siteHandler.read("wiki", await outputsOf("wiki", { home: "n9", quota: "1G" }));
    expect(found).toMatchObject({ id: "wiki", props: { home: "n1", quota: "10G" } });
    expect((await siteHandler.read("none", await outputsOf("none"))).id).toBe("");
  });
  it("is deleted when its record is gone, and deleting it again is success", async () => {
    cluster.withheld.add("delete");
    let gone = false;
    const deleting = siteHandler.delete("wiki", await outputsOf("wiki")).then(() => { gone = true; });
    while (cluster.state.get(keys.desired("site", "wiki")) !== undefined) await new Promise((resolve) => setImmediate(resolve));
    expect(gone).toBe(false);
    cluster.withheld.clear();
    cluster.act();
    await deleting;
    await siteHandler.delete("wiki", await outputsOf("wiki"));
    await expect(customerHandler.delete("acme", { ...(await customer("acme")), uid: 1, gid: 1, user: "" })).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("is used by") });
  });
});

test("a cluster goes although a host is away, and says so; not when none can be asked", async () => {
  const outs = made;
  await cluster.silence("n2");
  await clusterHandler.delete(outs.clusterId, outs);
  expect(said.join("")).toContain("n2 could not be asked");
  expect(said.join("")).not.toContain("PRIVATE KEY");
  expect([...cluster.identities.keys()]).toEqual(["n2"]);
  expect(readConnectionFile("eu")).toBeUndefined();
  await cluster.silence("n1");
  await expect(clusterHandler.delete(outs.clusterId, outs)).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringContaining("none of n1, n2") });
});
