import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createDisplay } from "../../../stacks/engine/display/index.js";
import { durationText, valueText } from "../../../stacks/engine/display/text.js";
import type { EngineEvent, OperationResult, PlannedStep } from "../../../stacks/engine/types.js";

const stack = "urn:pulumi:dev::demo::pulumi:pulumi:Stack::demo-dev";
const site = (name: string, op: PlannedStep["op"], more: Partial<PlannedStep> = {}): PlannedStep => ({ urn: `urn:pulumi:dev::demo::t:t:Group$pulumi-nodejs:dynamic/hybridcluster:Site::${name}`, type: "pulumi-nodejs:dynamic/hybridcluster:Site", name, op, parent: "urn:pulumi:dev::demo::t:t:Group::g", diff: [], ...more });
const root: PlannedStep = { urn: stack, type: "pulumi:pulumi:Stack", name: "demo-dev", op: "same", diff: [] };
const group: PlannedStep = { urn: "urn:pulumi:dev::demo::t:t:Group::g", type: "t:t:Group", name: "g", op: "same", parent: stack, diff: [] };
const wiki = site("wiki", "update", { diff: [{ key: "quota", kind: "update", old: "1G", new: "2G", forcesReplacement: false }, { key: "password", kind: "update", old: "[secret]", new: "[secret]", forcesReplacement: false }, { key: "php", kind: "delete", old: { a: 1 }, forcesReplacement: false }] });
const shop = site("shop", "replace", { diff: [{ key: "customer", kind: "update", old: "a", new: "b", forcesReplacement: true }] });
const blog = site("blog", "create", { diff: [{ key: "hostnames", kind: "add", new: ["blog.example"], forcesReplacement: false }] });
const old = site("old", "delete");

const steps = (preview: boolean, list: PlannedStep[], atMs: number): EngineEvent[] => list.flatMap((step): EngineEvent[] => [{ type: "step-start", step, preview, atMs }, { type: "step-end", step, preview, ok: true, durationMs: 1_400, atMs: atMs + 1_400 }]);
const changes = { create: 1, update: 1, replace: 1, delete: 1, same: 2 };
const preview: EngineEvent[] = [
  { type: "phase", phase: "preview", atMs: 0 }, ...steps(true, [root, group, wiki, shop, blog, old], 100),
  { type: "outputs", outputs: { url: "http://x", pass: "[secret]" }, diff: [{ key: "pass", kind: "add", new: "[secret]", forcesReplacement: false }], preview: true, atMs: 200 },
  { type: "phase-end", phase: "preview", changes, ok: true, atMs: 300 },
];
const failing: EngineEvent[] = [
  { type: "phase", phase: "update", atMs: 1_000 }, ...steps(false, [root, group], 1_000), { type: "step-start", step: wiki, preview: false, atMs: 1_100 },
  { type: "message", severity: "info", from: "provider", text: "Site wiki: waiting for n1", atMs: 1_200 },
  { type: "message", severity: "warning", from: "program", text: "old setting", atMs: 1_250 },
  { type: "step-end", step: wiki, preview: false, ok: false, error: "disk full", durationMs: 900, atMs: 2_000 },
  { type: "message", severity: "error", from: "engine", text: "disk full", urn: wiki.urn, atMs: 2_000 },
  { type: "phase-end", phase: "update", changes: { create: 0, update: 0, replace: 0, delete: 0, same: 2 }, ok: false, atMs: 2_000 },
];
const failed: OperationResult = { result: "failed", changes, outputs: {}, diagnostics: ["disk full"] };

function shown(mode: "tree" | "plain" | "json", events: EngineEvent[], result?: OperationResult): string {
  let text = "";
  let now = 0;
  const display = createDisplay({ mode, kind: "preview", out: (more) => (text += more), width: () => 90, height: () => 30, nowMs: () => now });
  for (const event of events) {
    now = event.atMs;
    display.event(event);
  }
  if (result !== undefined) display.finish(result);
  return text;
}

const golden = (name: string): string => readFileSync(join(process.cwd(), "test", "fixtures", "engine", "display", name), "utf8");
beforeAll(() => {
  process.env["NO_COLOR"] = "1";
});
afterAll(() => {
  delete process.env["NO_COLOR"];
});

test.each<[string, "tree" | "plain", EngineEvent[], OperationResult | undefined]>([["plain-preview.txt", "plain", preview, undefined], ["plain-failed.txt", "plain", failing, failed], ["tree-preview.txt", "tree", preview, undefined], ["tree-failed.txt", "tree", failing, failed]])("%s", (name, mode, events, result) => {
  // the last frame: what stays on the screen
  expect(shown(mode, events, result).split("\u001b[0J").at(-1)).toBe(golden(name));
});

test("a failed preview says that nothing was changed", () => {
  expect(shown("plain", preview, failed)).toMatch(/\nFailed: nothing was changed\.\n$/);
});

test("the tree: a running line with what its handler says, nothing wider than the terminal", () => {
  const frame = shown("tree", [...failing.slice(0, 7), { type: "phase-end", phase: "update", changes, ok: true, atMs: 3_100 }]);
  expect(frame).toContain("updating (2s)  waiting for n1");
  for (const line of frame.split("\n")) expect(line.replace(/\u001b\[\w+/g, "").length).toBeLessThanOrEqual(90);
});

test("JSON: an object a line, the result last, no secret", () => {
  const lines = shown("json", [...preview, { type: "outputs", outputs: { s: { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", value: "hush" } }, diff: [], preview: false, atMs: 0 }], failed).trim().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as { type: string }).type).at(-1)).toBe("result");
  expect(lines.join()).not.toContain("hush");
});

test("values and durations", () => {
  expect(valueText("x".repeat(200))).toHaveLength(100);
  expect([valueText("[secret]"), valueText("a"), valueText(["b"])]).toEqual(["[secret]", '"a"', '["b"]']);
  expect([durationText(20), durationText(1_600), durationText(75_000)]).toEqual(["<1s", "2s", "1m15s"]);
});
