import { defaultPaths } from "../../../daemon/lib/node-config.js";
import { unknownValue } from "../../../daemon/lib/schema.js";
import { siteHandler } from "../../../providers/handlers/site.js";
import type { ClusterConnection } from "../../../providers/schemas/cluster.js";
import { type SiteInputs, type SiteOutputs, siteSpec, siteUrls } from "../../../providers/schemas/site.js";

const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9Yv0Yq3eL0mQ2tC1mWwq5G3s0bW3mKq3b0x8b5v1r";
const connection = (more: Partial<ClusterConnection> = {}): ClusterConnection => ({
  cluster: "eu", nodes: 3, zones: ["fra", "lon"], httpPort: 80,
  hosts: ["n1", "n2", "n3"].map((node, index) => ({ node, address: `192.0.2.${index + 1}`, port: 22, user: "root", hostKey, paths: defaultPaths })), ...more,
});
/** As the program gives it: without defaults. */
const given = (more: object = {}): SiteInputs => ({ name: "shop", connection: connection(), customer: "acme", template: "php", hostnames: ["shop.example"], ...more }) as unknown as SiteInputs;
const full = async (more: object = {}): Promise<SiteInputs> => (await siteHandler.check({}, given(more))).inputs;
const check = async (more: object, olds: Partial<SiteInputs> = {}): Promise<string[]> => (await siteHandler.check(olds, given(more))).failures.map(({ property, reason }) => `${property}: ${reason}`);

test("the shortest program does the safe thing", async () => {
  expect(await full()).toMatchObject({ replicas: 0, quota: "10G", limits: { memory: "256M", cpu: 1, tasks: 64 }, placement: { pin: "", acrossZones: false, prefer: [] }, ready: { path: "/", status: 0 }, adopt: false, allowReplace: "", timeouts: { create: 120 }, retention: { minutes: 60, hours: 24, days: 30, weeks: 12 }, accessLog: true });
});

test.each<[string, object, RegExp]>([
  ["an unknown property", { qouta: "1G" }, /^qouta: is not a known property; known here: .*quota/],
  ["an unknown property below", { placement: { perfer: ["fra"] } }, /^placement\.perfer: is not a known property/],
  ["a size without a unit that is known", { quota: "10 GB" }, /^quota: "10 GB" cannot be used; write digits/],
  ["a memory limit", { limits: { memory: "lots" } }, /^limits\.memory: "lots" cannot be used/],
  ["a host name", { hostnames: ["Shop.example"] }, /^hostnames\.0: "Shop\.example" cannot be used; write a host name/],
  ["a host name twice", { hostnames: ["a.example", "a.example"] }, /^hostnames: .*duplicate/],
  ["no host name", { hostnames: [] }, /^hostnames: /],
  ["more copies than nodes", { replicas: 4 }, /^replicas: 4 copies need as many nodes; the cluster has 3$/],
  ["a pin to no node", { placement: { pin: "n9" } }, /^placement\.pin: there is no node n9; there are n1, n2, n3$/],
  ["a pin to a zone", { placement: { pin: "fra" } }, /^placement\.pin: there is no node fra/],
  ["a wish for no place", { placement: { require: ["fra", "par"] } }, /^placement\.require: there is no node or zone par; there are n1, n2, n3, fra, lon$/],
  ["a path that is none", { ready: { path: "index.php" } }, /^ready\.path: /],
  ["a setting of PHP that no site may have", { php: { extension: "evil.so" } }, /^php\.extension: is not a setting of PHP that a site may have; known here: .*memory_limit/],
  ["a value that PHP would not understand", { php: { memory_limit: "lots" } }, /^php\.memory_limit: "lots" cannot be used/],
  ["a retention that looks back on too little", { retention: { minutes: 5 } }, /^retention\.minutes: 5 must be >= 10/],
  ["a retention without end", { retention: { weeks: 5000 } }, /^retention\.weeks: 5000 must be <= 520/],
  ["a retention of something else", { retention: { years: 1 } }, /^retention\.years: is not a known property; known here: minutes, hours, days, weeks/],
  ["an RPO of nothing", { replication: { rpoS: 0 } }, /^replication\.rpoS: 0 must be >= 1/],
  ["an RPO of more than a day", { replication: { rpoS: 86_401 } }, /^replication\.rpoS: 86401 must be <= 86400/],
  ["an RPO of half seconds", { replication: { rpoS: 1.5 } }, /^replication\.rpoS: /],
  ["a wish for replication that says nothing", { replication: {} }, /^replication\.rpoS: is required/],
  ["HTTPS by nothing", { tls: { redirect: true } }, /^tls\.certificate: is required/],
  ["a wildcard by ACME", { hostnames: ["shop.example", "*.shop.example"], tls: { certificate: "acme" } }, /^hostnames: \*\.shop\.example: a wildcard cannot be proven over HTTP/],
  ["HSTS that no browser would list", { tls: { certificate: "acme", hsts: { maxAgeSeconds: 60, preload: true } } }, /^tls\.hsts\.preload: /],
  ["a customer's name", { customer: "Acme Inc." }, /^customer: "Acme Inc\." cannot be used; use 1 to 32/],
])("%s is refused, and named", async (_what, more, message) => {
  const failures = await check(more);
  expect(failures).toHaveLength(1);
  expect(failures[0]).toMatch(message);
});

test("HTTPS: the redirect is the default, addresses are HTTPS ones, and a change is a change", async () => {
  const before = await full();
  const after = await full({ tls: { certificate: "own" } });
  expect([before.tls, after.tls]).toEqual([undefined, { certificate: "own", redirect: true }]);
  expect([siteUrls(before), siteUrls(after), siteUrls({ ...after, connection: connection({ httpsPort: 8443 }) }), siteUrls({ ...after, connection: connection({ httpsPort: 0 }) })].flat()).toEqual(["http://shop.example/", "https://shop.example/", "https://shop.example:8443/", "http://shop.example/"]);
  const olds = { ...before, home: "n1", replicaNodes: [], epoch: 1, urls: [] } as SiteOutputs;
  expect(await siteHandler.diff("shop", olds, after)).toMatchObject({ changes: true, replaces: [] });
  expect(await siteHandler.diff("shop", { ...olds, tls: null } as unknown as SiteOutputs, before)).toMatchObject({ changes: false });
});

test.each<[string, object]>([
  ["everything", { connection: unknownValue, hostnames: unknownValue, quota: unknownValue, replicas: unknownValue, customer: unknownValue }],
  ["parts", { hostnames: ["shop.example", unknownValue], placement: { prefer: [unknownValue], pin: unknownValue }, limits: { memory: unknownValue }, php: { memory_limit: unknownValue } }],
])("%s that a preview cannot know is no failure", async (_what, more) => expect(await check(more)).toEqual([]));

test.each([{ placement: { prefer: ["fra"], avoid: ["n3"], require: ["n1", "lon"] } }, { replicas: 3 }, { replication: { rpoS: 300 } }, { hostnames: ["*.shop.example", "192.0.2.1", "[2001:db8::1]"] }])("what can be wished: %j", async (more) => {
  expect(await check(more)).toEqual([]);
});

describe("what would replace the data", () => {
  const olds = async (): Promise<SiteInputs> => full();
  test.each<[string, object, RegExp]>([
    ["another name", { name: "store" }, /^name: changing it from "shop" to "store" replaces site shop and its data \(the old data goes to the trash\); if that is meant, say allowReplace: "shop"$/],
    ["another customer", { customer: "other" }, /^customer: /],
    ["another template", { template: "dokuwiki" }, /^template: /],
    ["another cluster", { connection: connection({ cluster: "us" }) }, /^connection\.cluster: changing it from "eu" to "us" replaces site shop/],
  ])("%s needs the word", async (_what, more, message) => {
    const said = await check(more, await olds());
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(message);
    expect(await check({ ...more, allowReplace: "store" }, await olds())).toHaveLength(1);
    expect(await check({ ...more, allowReplace: "shop" }, await olds())).toEqual([]);
  });
  it("needs it also while the cluster is not known yet", async () => {
    expect(await check({ connection: unknownValue, customer: "other" }, await olds())).toEqual([expect.stringMatching(/^customer: /)]);
  });
  it("is not asked for a new site: the engine checks a replacement with empty olds", async () => expect(await check({ name: "store" })).toEqual([]));
});

describe("diff", () => {
  const olds = async (more: Partial<SiteOutputs> = {}): Promise<SiteOutputs> => ({ ...(await full()), home: "n1", replicaNodes: ["n2"], urls: ["http://shop.example/"], epoch: 1, ...more });
  const diff = async (more: object, before: Partial<SiteOutputs> = {}): Promise<object> => siteHandler.diff("shop", await olds(before), await full(more));
  const same = { changes: false, replaces: [] };

  test.each<[string, Partial<SiteOutputs>]>([
    ["a failover", { home: "n2", replicaNodes: ["n1"], epoch: 2 }],
    ["a lost copy", { replicaNodes: [] }],
    ["another address of a host", { connection: connection({ hosts: connection().hosts.map((host) => ({ ...host, address: "198.51.100.7" })) }) }],
    ["one node more", { connection: connection({ nodes: 2, hosts: connection().hosts.slice(0, 2) }) }],
    ["another initial content: the data is the site's now", { content: { sha256: "a".repeat(64) }, contentPath: "/old" }],
    ["words of the program about itself", { adopt: true, allowReplace: "x", timeouts: { create: 9 } }],
  ])("%s is no change", async (_what, before) => expect(await diff({}, before)).toMatchObject(same));

  test.each<[string, object]>([
    ["quota", { quota: "20G" }], ["hostnames", { hostnames: ["shop.example", "www.shop.example"] }], ["replicas", { replicas: 3 }], ["placement", { placement: { pin: "n2" } }],
    ["replication", { replication: { rpoS: 300 } }], ["limits", { limits: { memory: "1G" } }], ["php", { php: { memory_limit: "64M" } }], ["ready", { ready: { path: "/up" } }],
  ])("%s changes the living site", async (_what, more) => expect(await diff(more)).toMatchObject({ changes: true, replaces: [] }));

  test.each<[string, object]>([["name", { name: "store" }], ["customer", { customer: "other" }], ["template", { template: "dokuwiki" }], ["connection", { connection: connection({ cluster: "us" }) }]])("%s replaces it, the old one first", async (property, more) => {
    expect(await diff(more)).toEqual({ changes: true, replaces: [property], deleteBeforeReplace: true });
  });
  it("a state of a version before means the defaults", async () => {
    const before = { accessLog: undefined, failover: undefined, retention: undefined } as unknown as SiteOutputs;
    expect(await diff({}, before)).toMatchObject({ changes: false });
    expect(await diff({ accessLog: false }, before)).toMatchObject({ changes: true, replaces: [] });
  });
  it("without an RPO of its own a site has the cluster's, and its document says nothing; to take the own one away is a change", async () => {
    expect([siteSpec(await full()), siteSpec(await full({ replication: null })), siteSpec(await full({ replication: { rpoS: 300 } }))].map(({ replication }) => replication)).toEqual([undefined, undefined, { rpoS: 300 }]);
    expect(siteSpec(await full())).not.toHaveProperty("replication");
    expect(await diff({}, { replication: null } as unknown as SiteOutputs)).toMatchObject(same);
    expect(await diff({}, { replication: { rpoS: 300 } })).toMatchObject({ changes: true, replaces: [] });
    expect(await diff({ replication: { rpoS: 300 } }, { replication: { rpoS: 300 } })).toMatchObject(same);
  });
  it("what is not known yet is a change", async () => expect(await diff({ quota: unknownValue })).toMatchObject({ changes: true, replaces: [] }));
  it("sees what a refresh found", async () => expect(await diff({}, { quota: "1G" })).toMatchObject({ changes: true }));
});
