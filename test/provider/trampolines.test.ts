import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { unknownValue } from "../../daemon/lib/schema.js";
import { ProviderProcess } from "../../stacks/engine/process/provider.js";
import type { Properties } from "../../stacks/engine/types.js";
import { hostKey, type Registered, registerAll } from "../support/trampolines.js";

/** The SDK's real dynamic-provider process runs the texts that the resource classes put into state. */
const keys = ["localHost", "localEntry", "host", "zfsPool", "cluster", "template", "customer", "site", "alerts", "certificate"];
let all: Map<string, Registered>;
let provider: ProviderProcess;
const said: string[] = [];
const urnOf = (item: Registered): string => `urn:pulumi:test::test::${item.type}::x`;
const of = (key: string): Registered => {
  const found = all.get(key);
  if (found === undefined) throw new Error(`no ${key}`);
  return found;
};
beforeAll(async () => {
  all = await registerAll();
  provider = await ProviderProcess.start({ cwd: process.cwd(), env: { ...process.env, PULUMI_NODEJS_PROJECT: "test", SSH_AUTH_SOCK: "" }, config: {}, say: (line) => said.push(line) });
}, 60_000);
afterAll(() => provider.stop());

describe.each(keys)("the text of %s", (key) => {
  it("is frozen: state of older versions calls it for ever", () => {
    const { text } = of(key);
    const file = join(process.cwd(), "test/fixtures/trampolines", `${key}.txt`);
    if (process.env["UPDATE_GOLDEN"] === "1" && !existsSync(file)) writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, "utf8"));
  });
  it("is small, captures nothing and names no place of this machine", () => {
    const { text } = of(key);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(2200);
    expect(text).not.toMatch(/require\(|__importStar|\/(work|home|root|usr)\//);
    for (const method of ["configure", "check", "diff", "create", "read", "update", "delete"]) expect(text).toContain(`m.${key}.${method}(`);
  });
  it("checks in the SDK's process: the program's own inputs pass, an unknown property and an unknown value do what they should", async () => {
    const item = of(key);
    const news = { ...JSON.parse(JSON.stringify(item.inputs)) as Properties, __provider: item.text };
    const good = await provider.check(urnOf(item), {}, news);
    expect(good.failures).toEqual([]);
    const bad = await provider.check(urnOf(item), {}, { ...news, nonsense: 1 });
    expect(bad.failures).toEqual([expect.objectContaining({ property: "nonsense", reason: expect.stringContaining("not a known property") })]);
  });
});

test("addresses and passwords of receivers are secrets, though the program did not say so", () => {
  expect(of("alerts").secrets).toEqual(["webhooks"]);
  expect(of("alerts").inputs["webhooks"]).toEqual([{ url: "https://hooks.example/T0KEN" }]);
});

test("a certificate and its key are secrets, though the program did not say so; what it is for is told, and a wrong one is named", async () => {
  const { secrets, inputs, text, type } = of("certificate");
  expect(secrets.sort()).toEqual(["chain", "key"]);
  const { failures } = await provider.check(`urn:pulumi:test::test::${type}::x`, {}, { ...inputs, key: inputs["chain"], __provider: text } as Properties);
  expect(failures).toEqual([{ property: "key", reason: expect.stringMatching(/^cannot be read; give a private key in PEM/) }]);
});

describe("Host in the SDK's process", () => {
  const urn = (): string => urnOf(of("host"));
  const inputs = (more: object = {}): Properties => ({ ...of("host").inputs, address: "127.0.0.1", ...more, __provider: of("host").text }) as Properties;

  it("passes what a preview cannot know, and names what is wrong", async () => {
    expect((await provider.check(urn(), {}, inputs({ address: unknownValue, addresses: unknownValue, hostKey: unknownValue, port: unknownValue }))).failures).toEqual([]);
    const { failures } = await provider.check(urn(), {}, inputs({ hostKey: "none", platform: "windows", ports: { http: 70000 }, paths: { etc: "/etc" } }));
    expect(failures.map((item) => item.property).sort()).toEqual(["hostKey", "platform", "ports.http"]);
    expect((await provider.check(urn(), {}, inputs({ paths: { etc: "/etc", run: "/srv/run" } }))).failures.map((item) => item.property)).toEqual(["paths.etc", "paths.state", "paths.log", "paths.run"].filter((name) => name === "paths.etc" || name === "paths.run"));
  });
  it("fills in defaults, and compares outputs with inputs", async () => {
    const { inputs: full } = await provider.check(urn(), {}, inputs());
    expect(full).toMatchObject({ port: 22, user: "root", role: "node", addresses: [], ports: { http: 80, etcdPeer: 2380 }, paths: { data: "/hc" } });
    expect(await provider.diff(urn(), "fra1", full, { ...full, schemaVersion: 1 }, full, [])).toMatchObject({ changes: false, replaces: [] });
    expect(await provider.diff(urn(), "fra1", full, full, { ...full, zone: "lon" }, [])).toMatchObject({ changes: true, replaces: [] });
    expect(await provider.diff(urn(), "fra1", full, full, { ...full, name: "fra2" }, [])).toMatchObject({ changes: true, replaces: ["name"], deleteBeforeReplace: true });
    expect(await provider.diff(urn(), "fra1", full, full, { ...full, address: unknownValue }, [])).toMatchObject({ changes: true });
  });
  it("says why a create failed, as an error and not as a half-made resource", async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)));
    await new Promise((resolve) => server.close(resolve)); // a port where nobody listens
    const { inputs: full } = await provider.check(urn(), {}, inputs({ port, privateKeyPath: join(process.cwd(), "package.json"), hostKey }));
    const failing = provider.create(urn(), full);
    await expect(failing).rejects.toThrow(/private key .*package\.json cannot be used: .*\(AUTHENTICATION_FAILED\)/);
    await expect(failing).rejects.not.toHaveProperty("properties");
  });
});

describe("the process", () => {
  it("ends by itself when its engine is killed", async () => {
    const item = of("host");
    const script = `const { ProviderProcess } = require(${JSON.stringify(require.resolve("../../stacks/engine/process/provider.js"))});
      ProviderProcess.start({ cwd: process.cwd(), env: process.env, config: {}, say: () => {} }).then(async (p) => { await p.check(${JSON.stringify(urnOf(item))}, {}, ${JSON.stringify({ ...item.inputs, __provider: item.text })}); console.log(p.child.pid); setInterval(() => {}, 1000); });`;
    const engine: ChildProcess = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = (await once(engine.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
    const pid = Number(line.toString());
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    engine.kill("SIGKILL");
    while (existsSync(`/proc/${pid}`)) await new Promise((resolve) => setImmediate(resolve));
  }, 30_000);
});
