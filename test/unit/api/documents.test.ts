import { alertDefaults } from "../../../daemon/lib/alerts-spec.js";
import { createSealer, type Sealer } from "../../../daemon/lib/sealed.js";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RouteHandler, RouteRegistry } from "../../../daemon/context.js";
import { documentRoutes } from "../../../daemon/api/documents.js";
import type { DesiredDocument } from "../../../daemon/lib/documents.js";
import { keys } from "../../../daemon/lib/records.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { TestCa } from "../../support/certificates.js";
import { StateBuilder } from "../placement/fixture.js";

const documentOf = (kind: string, name: string, origin: "git" | "api" = "git"): DesiredDocument => {
  const built = new StateBuilder().customer("acme").template("php").site("wiki").site("blog").cluster(["n1", "n2", "n3"]).build();
  return { ...structuredClone((built.desired.get(`${kind}/${name}`) as { value: DesiredDocument }).value), origin };
};
function setup(sealer?: Sealer) {
  const state = new MemoryState();
  const handlers = new Map<string, RouteHandler>();
  const registry: RouteRegistry = { route: (method, pattern, handler) => void handlers.set(`${method} ${pattern}`, handler) };
  const events: string[] = [];
  documentRoutes(registry, new MemoryStore(state), () => 3, (_unit, event, detail) => void events.push(`${event} ${detail}`), sealer);
  const call = async (method: string, kind: string, name: string, options: { body?: unknown; query?: string; match?: string } = {}): Promise<Record<string, unknown>> => {
    const handler = handlers.get(`${method} /v1/documents/:kind/:name`) as RouteHandler;
    return (await handler({ from: "local", params: { kind, name }, query: new URLSearchParams(options.query), headers: options.match === undefined ? {} : { "if-match": options.match }, stream: {} as IncomingMessage, json: async () => options.body }, {} as ServerResponse)) as Record<string, unknown>;
  };
  const put = (kind: string, name: string, origin: "git" | "api" = "git", more: { query?: string; match?: string; change?(document: DesiredDocument): void } = {}): Promise<Record<string, unknown>> => {
    const body = documentOf(kind, name, origin);
    more.change?.(body);
    return call("PUT", kind, name, { body, ...more });
  };
  return { state, call, put, events, list: handlers.get("GET /v1/documents") as RouteHandler };
}

test("put, read, put again without a change, change, delete, delete again", async () => {
  const { call, put, events } = setup();
  const first = await put("customer", "acme");
  expect(first).toMatchObject({ changed: true });
  expect(await put("customer", "acme")).toEqual({ revision: first["revision"], changed: false });
  expect(await call("GET", "customer", "acme")).toMatchObject({ document: { name: "acme" }, revision: first["revision"] });
  const second = await put("customer", "acme", "git", { change: (document) => { (document.spec as { contact: string }).contact = "it@acme.example"; } });
  expect(second["revision"]).not.toBe(first["revision"]);
  expect(await call("DELETE", "customer", "acme")).toEqual({ deleted: true });
  expect(await call("DELETE", "customer", "acme")).toEqual({ deleted: false });
  await expect(call("GET", "customer", "acme")).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(events.map((event) => event.split(" ")[0])).toEqual(["document-created", "document-changed", "document-deleted"]);
});

test("alerts: refused by name of the property and without the value; without the cluster's key nothing is kept", async () => {
  const spec = { webhooks: [{ name: "chat", url: "T0KEN", headers: {} }], ca: "", thresholds: alertDefaults };
  const body = { version: 1, kind: "alerts", name: "ops", origin: "git", spec };
  const refused = async (world: ReturnType<typeof setup>, change: object): Promise<string> => {
    const error = await world.call("PUT", "alerts", "ops", { body: { ...body, spec: { ...spec, ...change } } }).then(() => new Error("taken"), (caught: Error) => caught);
    expect([error.message.includes("T0KEN"), world.state.list("/hc/").items]).toEqual([false, []]);
    return error.message;
  };
  const keyed = setup(createSealer(Buffer.alloc(32, 1).toString("base64")));
  expect(await refused(keyed, {})).toMatch(/^alerts ops: webhooks\.0\.url: is no address/);
  expect(await refused(keyed, { webhooks: "T0KEN" })).toMatch(/^alerts ops: spec\.webhooks: what stands there must be array/);
  expect(await refused(keyed, { webhooks: [{ name: "chat", url: "sealed:1:T0KEN", headers: {} }] })).toMatch(/cannot be opened/);
  expect(await refused(setup(), { webhooks: [{ name: "chat", url: "https://chat.example/T0KEN", headers: {} }] })).toMatch(/has no key for secrets yet; `hc up`/);
  // what was read may be put back
  const good = { ...body, spec: { ...spec, webhooks: [{ name: "chat", url: "https://chat.example/T0KEN", headers: {} }] } };
  const { revision } = await keyed.call("PUT", "alerts", "ops", { body: good });
  const { document } = await keyed.call("GET", "alerts", "ops");
  expect(await keyed.call("PUT", "alerts", "ops", { body: document })).toEqual({ revision, changed: false });
  expect(await keyed.call("PUT", "alerts", "ops", { body: good })).toEqual({ revision, changed: false });
});

test("certificates: sealed, checked, for the names of the sites that use them, and not taken from under them", async () => {
  const ca = await TestCa.create();
  const [shop, wider, other] = [await ca.issue(["wiki.example"]), await ca.issue(["wiki.example", "*.wiki.example"]), await ca.issue(["other.example"])];
  const { call, put, state } = setup(createSealer(Buffer.alloc(32, 1).toString("base64")));
  const bring = (name: string, { chain, key }: { chain: string; key: string }): Promise<Record<string, unknown>> => call("PUT", "certificate", name, { body: { version: 1, kind: "certificate", name, origin: "git", spec: { chain, key } } });
  await expect(bring("own", { chain: shop.chain, key: other.key })).rejects.toMatchObject({ code: "INVALID_INPUT", message: "certificate own: key: does not belong to the first certificate of the chain" });
  await expect(bring("acme", shop)).rejects.toThrow(/"acme" stands for certificates by ACME/);
  const { revision } = await bring("own", shop);
  expect(JSON.stringify(state.list("/hc/").items)).not.toContain("PRIVATE KEY");
  const { document } = await call("GET", "certificate", "own");
  expect(await call("PUT", "certificate", "own", { body: document })).toEqual({ revision, changed: false });
  await put("customer", "acme");
  await put("template", "php");
  const site = (certificate: string, ...hostnames: string[]) => put("site", "wiki", "git", { change: ({ spec }) => void Object.assign(spec, { hostnames, tls: { certificate, redirect: true } }) });
  await expect(site("none", "wiki.example")).rejects.toThrow(/tls\.certificate: there is no certificate "none"/);
  await expect(site("own", "wiki.example", "www.wiki.example")).rejects.toThrow(/tls\.certificate: own is not for www\.wiki\.example\./);
  await expect(site("acme", "*.wiki.example")).rejects.toThrow(/a wildcard cannot be proven over HTTP/);
  await site("own", "wiki.example");
  await expect(bring("own", other)).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("it is not for wiki.example of the site wiki") });
  await bring("own", wider);
  await site("own", "wiki.example", "*.wiki.example");
  await expect(call("DELETE", "certificate", "own")).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("is used by site wiki") });
});

test("If-Match: only the revision that was read", async () => {
  const { put } = setup();
  const { revision } = await put("customer", "acme", "git", { match: "0" });
  await expect(put("customer", "acme", "git", { match: "1" })).rejects.toMatchObject({ code: "CONFLICT", context: { revision } });
  expect(await put("customer", "acme", "git", { match: `"${String(revision)}"` })).toMatchObject({ changed: false });
});

test("git and the API keep out of each other's documents, but for adopt", async () => {
  const { put } = setup();
  await put("customer", "acme", "api");
  await expect(put("customer", "acme", "git")).rejects.toMatchObject({ code: "CONFLICT", retry: "never", message: expect.stringContaining("adopt") });
  await put("customer", "acme", "git", { query: "adopt=1" });
  await expect(put("customer", "acme", "api")).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("git") });
});

test("a site needs its customer and template, free host names, and no more copies than nodes", async () => {
  const { put } = setup();
  await expect(put("site", "wiki")).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("customer") });
  await put("customer", "acme");
  await expect(put("site", "wiki")).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("template") });
  await put("template", "php");
  await put("site", "wiki");
  await expect(put("site", "blog", "git", { change: (document) => { (document.spec as { hostnames: string[] }).hostnames.push("wiki.example"); } })).rejects.toMatchObject({ code: "CONFLICT", message: expect.stringContaining("wiki.example belongs to the site wiki") });
  await expect(put("site", "blog", "git", { change: (document) => { (document.spec as { replicas: number }).replicas = 4; } })).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("replicas") });
  await expect(put("site", "blog", "git", { change: (document) => { (document.spec as { php: object }).php = { "extension": "x.so" }; } })).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("php.extension") });
});

test("a wildcard and a name below it never belong to two sites, in whichever order they come; the cluster's own names are kept", async () => {
  const { put } = setup();
  const named = (...hostnames: string[]) => ({ change: (document: DesiredDocument) => { (document.spec as { hostnames: string[] }).hostnames = hostnames; } });
  await put("customer", "acme");
  await put("template", "php");
  await put("site", "wiki", "git", named("*.x.example", "a.x.example"));
  for (const name of ["b.x.example", "c.b.x.example", "*.b.x.example", "*.example"])
    await expect(put("site", "blog", "git", named("blog.example.net", name))).rejects.toMatchObject({ code: "CONFLICT", context: { site: "wiki" } });
  await put("site", "blog", "git", named("x.example", "ax.example", "*.y.example"));
  await expect(put("site", "wiki", "git", named("deep.y.example"))).rejects.toMatchObject({ code: "CONFLICT", context: { site: "blog" } });
  await expect(put("site", "wiki", "git", named("site-blog.hybridcluster.invalid"))).rejects.toMatchObject({ code: "INVALID_INPUT" });
});

test("what is in use cannot be deleted", async () => {
  const { put, call } = setup();
  await put("customer", "acme");
  await put("template", "php");
  await put("site", "wiki");
  for (const [kind, name] of [["customer", "acme"], ["template", "php"]] as const) await expect(call("DELETE", kind, name)).rejects.toMatchObject({ code: "CONFLICT", retry: "never", message: expect.stringContaining("site wiki") });
  await call("DELETE", "site", "wiki");
  expect(await call("DELETE", "customer", "acme")).toEqual({ deleted: true });
});

test("a site on its way to the trash is not made anew at once", async () => {
  const { put, state } = setup();
  await put("customer", "acme");
  await put("template", "php");
  state.txn([], [{ put: keys.unit("site-wiki"), value: JSON.stringify({ version: 1, unit: "site-wiki", state: "deleting" }) }]);
  await expect(put("site", "wiki")).rejects.toMatchObject({ code: "CONFLICT", retry: "transient" });
});

test("refuses what the schema does not know, naming the property", async () => {
  const { call } = setup();
  await expect(call("PUT", "customer", "acme", { body: { ...documentOf("customer", "acme"), colour: "red" } })).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("colour") });
  await expect(call("PUT", "customer", "other", { body: documentOf("customer", "acme") })).rejects.toMatchObject({ code: "INVALID_INPUT" });
  await expect(call("PUT", "planet", "x", { body: {} })).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("planet") });
});

test("load balancers that are none are refused here too", async () => {
  const { put } = setup();
  const from = (...networks: string[]) => ({ change: (document: DesiredDocument) => { (document.spec as { proxyProtocol?: object }).proxyProtocol = { from: networks }; } });
  await expect(put("cluster", "eu", "git", from("192.0.2.1", "10.0.0.0/40"))).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("proxyProtocol.from.1") });
  expect(await put("cluster", "eu", "git", from("192.0.2.1", "10.0.0.0/24"))).toMatchObject({ changed: true });
});
