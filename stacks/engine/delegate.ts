import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { HcError } from "../../daemon/lib/errors.js";
import { passphraseFile, stateFolder } from "../../providers/core/workspace.js";
import { lines } from "./process/child.js";
import { noChanges } from "./steps/context.js";
import { propertyDiff } from "./steps/property-diff.js";
import type { Changes, OperationKind, OperationOptions, OperationResult, PlannedStep, Properties, StepOp } from "./types.js";
import { parseUrn, providerType, rootType } from "./urn.js";

/** The real CLI on the PATH; `HC_ENGINE=embedded` keeps to the embedded engine, `HC_ENGINE=pulumi` insists on the CLI. Throws COMMAND_NOT_FOUND. */
export function findPulumi(env: NodeJS.ProcessEnv): string | undefined {
  if (env["HC_ENGINE"] === "embedded") return undefined;
  for (const folder of (env["PATH"] ?? "").split(delimiter)) {
    const file = join(folder, "pulumi");
    try {
      if (folder !== "") accessSync(file, constants.X_OK);
      else continue;
      return file;
    } catch {
      // not here
    }
  }
  if (env["HC_ENGINE"] === "pulumi") throw new HcError("COMMAND_NOT_FOUND", "HC_ENGINE=pulumi, but there is no pulumi on the PATH; install the Pulumi CLI or unset HC_ENGINE.");
  return undefined;
}

/** The workspace's state and passphrase for the CLI; what the user has set wins. Program and provider run in the Node that runs this. */
export function delegateEnv(workspace: string, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const passphrase = env["PULUMI_CONFIG_PASSPHRASE"] !== undefined || env["PULUMI_CONFIG_PASSPHRASE_FILE"] !== undefined ? {} : { PULUMI_CONFIG_PASSPHRASE_FILE: passphraseFile(workspace) };
  const node = { PATH: [dirname(process.execPath), env["PATH"] ?? ""].join(delimiter), NODE_OPTIONS: `${env["NODE_OPTIONS"] ?? ""} --disable-warning=ExperimentalWarning`.trim() };
  return { PULUMI_BACKEND_URL: `file://${stateFolder(workspace)}`, PULUMI_SKIP_UPDATE_CHECK: "true", ...passphrase, ...env, ...node, HC_WORKSPACE: workspace };
}

type Delegated = Pick<OperationOptions, "stack" | "projectRoot" | "parallel" | "configOverrides">;
const common = (options: Delegated): string[] => ["--cwd", options.projectRoot, "--stack", options.stack, "--non-interactive"];
const parallelArgs = (options: Delegated): string[] => (options.parallel === undefined ? [] : ["--parallel", String(options.parallel)]);
const configArgs = (options: Delegated): string[] => Object.entries(options.configOverrides ?? {}).flatMap(([key, value]) => ["--config", `${key}=${value}`]);

/** Pure. Makes the stack when there is none. */
export const selectArgv = (options: Delegated): string[] => ["stack", "select", options.stack, "--create", "--cwd", options.projectRoot, "--non-interactive"];
/** Pure. The plan as JSON, unchanged resources too (the preflight looks at them); a destroy is previewed by its own command. */
export const planArgv = (kind: OperationKind, options: Delegated): string[] => (kind === "destroy" ? ["destroy", "--preview-only", "--json", ...common(options), ...parallelArgs(options)] : ["preview", "--json", "--show-sames", ...common(options), ...parallelArgs(options), ...configArgs(options)]);
/** Pure. `up` keeps its --config in Pulumi.<stack>.yaml: that is how the CLI works. */
export const applyArgv = (kind: Exclude<OperationKind, "preview">, options: Delegated): string[] => [kind, "--yes", "--skip-preview", ...common(options), ...parallelArgs(options), ...(kind === "up" ? configArgs(options) : [])];
export const outputsArgv = (options: Delegated): string[] => ["stack", "output", "--json", "--cwd", options.projectRoot, "--stack", options.stack];

const ops: Record<string, StepOp> = { same: "same", create: "create", update: "update", replace: "replace", delete: "delete", "create-replacement": "discard", "delete-replaced": "discard", read: "read", refresh: "refresh", discard: "discard" };

interface PreviewJson {
  steps?: { op: string; urn: string; oldState?: { inputs?: Properties }; newState?: { inputs?: Properties; parent?: string }; replaceReasons?: string[] }[];
  diagnostics?: { message?: string; severity?: string }[];
}

/** Pure: the CLI's `preview --json` as this engine's plan. */
export function planOf(text: string): { plan: PlannedStep[]; changes: Changes; errors: string[] } {
  const parsed = JSON.parse(text) as PreviewJson;
  const changes = noChanges();
  const plan: PlannedStep[] = [];
  for (const { op: name, urn, oldState, newState, replaceReasons } of parsed.steps ?? []) {
    const { type, name: resource } = parseUrn(urn);
    if (type === providerType) continue;
    const op = ops[name] ?? "same";
    if (op in changes) changes[op as keyof Changes] += 1;
    plan.push({ urn, type, name: resource, op, diff: type === rootType ? [] : propertyDiff(oldState?.inputs ?? {}, newState?.inputs ?? (op === "delete" ? {} : (oldState?.inputs ?? {})), replaceReasons), ...(newState?.parent !== undefined && { parent: newState.parent }), ...(oldState?.inputs && { oldInputs: oldState.inputs }), ...(newState?.inputs && { newInputs: newState.inputs }) });
  }
  return { plan, changes, errors: (parsed.diagnostics ?? []).filter((item) => item.severity === "error").map((item) => item.message ?? "") };
}

interface Ran {
  exitCode: number;
  stdout: string;
}

function run(pulumi: string, argv: readonly string[], options: OperationOptions, say: ((line: string) => void) | undefined): Promise<Ran> {
  return new Promise((resolve, reject) => {
    // detached: the CLI gets a Ctrl-C once, through the signal
    const child = spawn(pulumi, [...argv], { cwd: options.projectRoot, env: delegateEnv(options.workspace, options.env ?? process.env), detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const interrupt = (): void => void child.kill("SIGINT");
    options.signal?.addEventListener("abort", interrupt);
    options.hardSignal?.addEventListener("abort", interrupt);
    let stdout = "";
    if (say === undefined) child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
    else lines(child.stdout, say);
    lines(child.stderr, say ?? ((line) => options.events?.({ type: "message", severity: "warning", from: "engine", text: line, atMs: Date.now() })));
    child.once("error", reject);
    child.once("close", (code) => {
      options.signal?.removeEventListener("abort", interrupt);
      options.hardSignal?.removeEventListener("abort", interrupt);
      resolve({ exitCode: code ?? -1, stdout });
    });
  });
}

/** The whole operation by the CLI: preview → beforeApply → the act. The CLI's own lines are passed on as messages. */
export async function delegate(pulumi: string, options: OperationOptions): Promise<OperationResult> {
  const { kind } = options;
  const say = (text: string): void => options.events?.({ type: "message", severity: "info", from: "engine", text, atMs: Date.now() });
  const failed = (diagnostics: string[], changes = noChanges()): OperationResult => ({ result: options.signal?.aborted === true ? "cancelled" : "failed", changes, outputs: {}, diagnostics });
  if (kind !== "destroy" && kind !== "refresh") {
    const selected = await run(pulumi, selectArgv(options), options, say);
    if (selected.exitCode !== 0) return failed(["pulumi stack select failed"]);
  }
  let changes = noChanges();
  if (kind !== "refresh") {
    const phase = { type: "phase", phase: "preview", atMs: Date.now() } as const;
    options.events?.(phase);
    const looked = await run(pulumi, planArgv(kind, options), options, undefined);
    const planned = looked.stdout.trim() === "" ? { plan: [], changes, errors: ["pulumi said nothing"] } : planOf(looked.stdout);
    changes = planned.changes;
    for (const step of planned.plan) {
      const { oldInputs: _old, newInputs: _new, ...shown } = step;
      options.events?.({ type: "step-start", step: shown, preview: true, atMs: Date.now() });
      options.events?.({ type: "step-end", step: shown, preview: true, ok: true, durationMs: 0, atMs: Date.now() });
    }
    options.events?.({ type: "phase-end", phase: "preview", changes, ok: looked.exitCode === 0, atMs: Date.now() });
    if (looked.exitCode !== 0) return failed(planned.errors, changes);
    await options.beforeApply?.(planned.plan);
  }
  if (kind !== "preview") {
    const acted = await run(pulumi, applyArgv(kind, options), options, say);
    if (acted.exitCode !== 0) return failed([`pulumi ${kind} ended with exit code ${acted.exitCode}`], changes);
  }
  const told = kind === "destroy" ? undefined : await run(pulumi, outputsArgv(options), options, undefined);
  const outputs = told?.exitCode === 0 ? (JSON.parse(told.stdout) as Record<string, unknown>) : {};
  return { result: "succeeded", changes, outputs, diagnostics: [] };
}
