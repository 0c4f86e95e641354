import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { removeStack, stackOutputs, stackResources, stacksLeft } from "../../stacks/engine/state-reader.js";
import { testStacks, thing } from "./engine-stack.js";

// an `up` is three processes; on a busy machine that takes its time
jest.setTimeout(120_000);
const newStack = testStacks();
const walk = (dir: string): string[] => readdirSync(dir, { recursive: true, withFileTypes: true }).filter((item) => item.isFile()).map((item) => join(item.parentPath, item.name).slice(dir.length + 1)).sort();

test("secrets: encrypted in state and journal, marked in outputs, in clear for the provider and for the reader", async () => {
  const stack = newStack();
  const clear = "hush-hush-4711";
  writeFileSync(join(stack.dir, "project", "Pulumi.dev.yaml"), "config:\n  demo:size: \"5\"\n");
  const go = join(stack.dir, "go");
  const running = stack.up({ resources: [thing("a", { secret: clear, value: "1" }, { additionalSecretOutputs: ["token"] }), thing("b", { refTo: "a", refField: "secret", waitFor: go })], outputs: { s: { of: "a", field: "secret" }, size: { config: "size" }, over: { config: "over" } } }, { configOverrides: { over: "ride" } });
  await stack.begun("b");
  expect(readFileSync(stack.journal, "utf8")).not.toContain(clear);
  stack.touch("go");
  const result = await running;
  expect(result.outputs).toEqual({ s: "[secret]", size: "5", over: "ride" });
  expect(JSON.stringify(stack.events)).not.toContain(clear);
  const text = stack.stateText();
  expect(text).not.toContain(clear);
  expect(text).not.toContain("derived-secret-of-a");
  for (const [name, key] of [["a", "secret"], ["b", "ref"], ["a", "token"]] as const) expect(stack.resource(name)?.outputs?.[key]).toMatchObject({ "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", ciphertext: expect.stringMatching(/^v1:/) });
  expect(stackOutputs(join(stack.dir, "ws"), join(stack.dir, "project"), "demo", "dev", {})).toEqual({ s: clear, size: "5", over: "ride" });
  expect(statSync(join(stack.dir, "ws", "passphrase")).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(stack.dir, "project", "Pulumi.dev.yaml"), "utf8")).toMatch(/^config:\n {2}demo:size: "5"\nencryptionsalt: v1:\S+:v1:\S+:\S+\n$/);
  // opened again by the next operation: no change, and a secret is no reason for one
  expect((await stack.up(undefined, { configOverrides: { over: "ride" } })).changes).toMatchObject({ same: 3, update: 0 });
  await expect(stack.up(undefined, { env: { ...stack.options("up").env, PULUMI_CONFIG_PASSPHRASE: "wrong" } })).rejects.toMatchObject({ code: "INVALID_INPUT" });
});

test("the state folder has the CLI's layout", async () => {
  const stack = newStack();
  await stack.up({ resources: [{ name: "g", component: true }, thing("a", { secret: "x" }, { parent: "g", protect: true }), thing("b", { refTo: "a" })], outputs: { x: { secret: "y" } } });
  await stack.up({ resources: [{ name: "g", component: true }, thing("a", { secret: "x" }, { parent: "g" }), thing("b", { refTo: "a", value: "2" })], outputs: { x: { secret: "y" } } });
  const root = join(stack.dir, "ws", "state");
  expect(walk(root)).toEqual([".pulumi/meta.yaml", ".pulumi/stacks/demo/dev.json", ".pulumi/stacks/demo/dev.json.bak"]);
  expect(readFileSync(join(root, ".pulumi", "meta.yaml"), "utf8")).toBe("version: 1\n");
  const expected = readFileSync(join(process.cwd(), "test", "fixtures", "engine", "layout.json"), "utf8");
  expect(`${JSON.stringify(normalized(JSON.parse(stack.stateText())), undefined, 2)}\n`).toBe(expected);
});

/** What differs from run to run is replaced by its form; keys are sorted, because their order carries no meaning. */
function normalized(value: unknown, key = ""): unknown {
  if (Array.isArray(value)) return value.map((item) => normalized(item));
  if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, item]) => [name, normalized(item, name)]));
  if (typeof value !== "string") return value;
  if (key === "__provider") return "<text>";
  if (key === "ciphertext") return value.replace(/^v1:[\w+/=]{16}:[\w+/=]+$/, "v1:<nonce>:<ciphertext and tag>");
  if (key === "salt") return value.replace(/^v1:[\w+/=]{12}:v1:[\w+/=]{16}:[\w+/=]+$/, "v1:<salt>:v1:<nonce>:<ciphertext and tag>");
  if (["created", "modified", "time"].includes(key)) return value.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, "<time>");
  return value.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uuid>").replace(/^([a-z])-[0-9a-z]{9,}$/, "$1-<id>");
}

test("a state of the CLI is taken over: unknown fields stay, a fresh stack may have no resources", async () => {
  const stack = newStack();
  const spec = { resources: [thing("a", { value: "1" })] };
  await stack.up(spec);
  const state = JSON.parse(stack.stateText()) as { checkpoint: { latest: { manifest: object; resources: Record<string, unknown>[] } } };
  const { latest } = state.checkpoint;
  latest.manifest = { time: "2026-01-01T00:00:00Z", magic: "abc", version: "v3.100.0" };
  for (const resource of latest.resources) resource["sourcePosition"] = "project:///index.js#1,1";
  writeFileSync(stack.stateFile, JSON.stringify(state));
  expect((await stack.up()).changes).toMatchObject({ same: 2 });
  await stack.up({ resources: [thing("a", { value: "2" })] });
  expect(stack.resource("a")).toMatchObject({ sourcePosition: "project:///index.js#1,1" });

  const fresh = newStack();
  await fresh.run("destroy", { resources: [] });
  expect(fresh.latest()).not.toHaveProperty("resources");
  expect((await fresh.up(spec)).result).toBe("succeeded");
});

test("stacks are listed, read and removed", async () => {
  const stack = newStack();
  const place = [join(stack.dir, "ws"), join(stack.dir, "project"), "demo", "dev"] as const;
  expect(stackOutputs(...place)).toEqual({});
  await stack.up({ resources: [thing("a")] });
  expect(stackResources(...place).map((record) => record.type)).toContain("pulumi-nodejs:dynamic/test:Thing");
  expect(() => removeStack(...place)).toThrow(expect.objectContaining({ code: "CONFLICT" }));
  await stack.run("destroy");
  expect(stacksLeft(place[0], "demo")).toEqual(["dev"]);
  removeStack(...place);
  expect(stacksLeft(place[0], "demo")).toEqual([]);
});
