import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { applyArgv, delegateEnv, findPulumi, planArgv, planOf, selectArgv } from "../../../stacks/engine/delegate.js";
import { type OperationOptions, type PlannedStep, runOperation } from "../../../stacks/engine/index.js";

const fixtures = join(process.cwd(), "test", "fixtures", "engine");
const options = { projectRoot: "/p", stack: "dev", parallel: 3, configOverrides: { "demo:a": "b c", "demo:x": "1" } };

test("argv", () => {
  expect(selectArgv(options)).toEqual(["stack", "select", "dev", "--create", "--cwd", "/p", "--non-interactive"]);
  expect(planArgv("up", options)).toEqual(["preview", "--json", "--show-sames", "--cwd", "/p", "--stack", "dev", "--non-interactive", "--parallel", "3", "--config", "demo:a=b c", "--config", "demo:x=1"]);
  expect(planArgv("destroy", options)).toEqual(["destroy", "--preview-only", "--json", "--cwd", "/p", "--stack", "dev", "--non-interactive", "--parallel", "3"]);
  expect(applyArgv("up", { projectRoot: "/p", stack: "dev" })).toEqual(["up", "--yes", "--skip-preview", "--cwd", "/p", "--stack", "dev", "--non-interactive"]);
  expect(applyArgv("refresh", options)).toEqual(["refresh", "--yes", "--skip-preview", "--cwd", "/p", "--stack", "dev", "--non-interactive", "--parallel", "3"]);
});

test("the workspace's state and passphrase, unless the user has set them", () => {
  const node = { PATH: `${dirname(process.execPath)}:/bin`, NODE_OPTIONS: "--disable-warning=ExperimentalWarning" };
  expect(delegateEnv("/w", { A: "1", PATH: "/bin" })).toEqual({ A: "1", ...node, HC_WORKSPACE: "/w", PULUMI_BACKEND_URL: "file:///w/state", PULUMI_CONFIG_PASSPHRASE_FILE: "/w/passphrase", PULUMI_SKIP_UPDATE_CHECK: "true" });
  expect(delegateEnv("/w", { PULUMI_BACKEND_URL: "s3://mine", PULUMI_CONFIG_PASSPHRASE: "", PATH: "/bin", NODE_OPTIONS: "--x" })).toEqual({ ...node, NODE_OPTIONS: `--x ${node.NODE_OPTIONS}`, HC_WORKSPACE: "/w", PULUMI_BACKEND_URL: "s3://mine", PULUMI_CONFIG_PASSPHRASE: "", PULUMI_SKIP_UPDATE_CHECK: "true" });
});

test("the CLI is found on the PATH; HC_ENGINE decides otherwise", () => {
  const PATH = `/nonexistent:${join(fixtures, "bin")}`;
  expect(findPulumi({ PATH })).toBe(join(fixtures, "bin", "pulumi"));
  expect(findPulumi({ PATH, HC_ENGINE: "embedded" })).toBeUndefined();
  expect(findPulumi({ PATH: "/nonexistent" })).toBeUndefined();
  expect(() => findPulumi({ PATH: "/nonexistent", HC_ENGINE: "pulumi" })).toThrow(expect.objectContaining({ code: "COMMAND_NOT_FOUND" }));
});

test("the CLI's preview becomes a plan", () => {
  const { plan, changes, errors } = planOf(readFileSync(join(fixtures, "preview.json"), "utf8"));
  expect(plan.map((step) => `${step.op} ${step.name}`)).toEqual(["same demo-dev", "create a", "replace b", "discard b", "delete gone"]);
  expect(plan[2]?.diff).toEqual([{ key: "force", kind: "update", old: "1", new: "2", forcesReplacement: true }]);
  expect(plan[1]).toMatchObject({ newInputs: { name: "a" }, diff: [{ key: "name", kind: "add", new: "a" }] });
  expect([changes, errors]).toEqual([{ create: 1, update: 0, replace: 1, delete: 1, same: 1 }, ["bad"]]);
});

describe("an operation by the CLI", () => {
  const dir = mkdtempSync(join(tmpdir(), "engine-delegate-"));
  afterAll(() => rmSync(dir, { recursive: true }));
  const operation = (log: string, env: Record<string, string> = {}): OperationOptions => ({
    kind: "up", projectRoot: dir, program: join(dir, "main.js"), project: "demo", stack: "dev", workspace: join(dir, "ws"),
    env: { PATH: `${join(fixtures, "bin")}:${process.env["PATH"]}`, FAKE_PULUMI_LOG: join(dir, log), FAKE_PULUMI_PREVIEW: join(fixtures, "preview.json"), ...env },
  });
  const calls = (log: string): string[] => readFileSync(join(dir, log), "utf8").trim().split("\n").map((line) => line.split(" --")[0] ?? "");

  test("plans, asks, acts, and tells the outputs; the passphrase is made before", async () => {
    let plan: PlannedStep[] = [];
    const result = await runOperation({ ...operation("a"), beforeApply: async (steps) => {
      plan = steps;
    } });
    expect(result).toEqual({ result: "succeeded", changes: { create: 1, update: 0, replace: 1, delete: 1, same: 1 }, outputs: { x: "y" }, diagnostics: [] });
    expect(plan).toHaveLength(5);
    expect(calls("a")).toEqual(["stack select dev", "preview", "up", "stack output"]);
    expect(readFileSync(join(dir, "a.env"), "utf8").split("\n")[0]).toBe(`file://${dir}/ws/state ${dir}/ws/passphrase ${dir}/ws`);
    expect(readFileSync(join(dir, "ws", "passphrase"), "utf8")).toMatch(/^\S{32}\n$/);
  });
  test("beforeApply stops it before anything is changed", async () => {
    await expect(runOperation({ ...operation("b"), beforeApply: () => Promise.reject(new Error("no")) })).rejects.toThrow("no");
    expect(calls("b")).toEqual(["stack select dev", "preview"]);
  });
  test("its failure is a failure", async () => {
    expect((await runOperation(operation("c", { FAKE_PULUMI_EXIT: "3" }))).result).toBe("failed");
  });
  test("without a CLI, a state elsewhere is refused rather than ignored", async () => {
    await expect(runOperation({ ...operation("d"), env: { PATH: "/nonexistent", PULUMI_BACKEND_URL: "s3://mine" } })).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });
});
