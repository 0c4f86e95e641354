import { rmSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { HcError } from "../daemon/lib/errors.js";
import { dropAllPending } from "../providers/core/connection-file.js";
import { workspaceDir } from "../providers/core/workspace.js";
import { closeConnections } from "../providers/ssh/pool.js";
import { checkDeletes } from "../stacks/engine/delete-guard.js";
import { createDisplay } from "../stacks/engine/display/index.js";
import { type OperationKind, type PlannedStep, runOperation } from "../stacks/engine/index.js";
import { forgetSalt } from "../stacks/engine/secrets/stack-config.js";
import { removeStack, stacksLeft } from "../stacks/engine/state-reader.js";
import { buildUserProject } from "./build-user.js";
import type { CommandContext } from "./context.js";
import { exitCodes } from "./exit-codes.js";
import { preflight } from "./preflight.js";
import { chooseStack } from "./project.js";

export interface DeployArgs { stack: string | undefined; parallel: number | undefined; config: string[]; yes: boolean; allowDelete: number; removeStack: boolean }

/** `key=value` → the project's own namespace unless one is given. */
export function configOverrides(pairs: readonly string[], project: string): Record<string, string> {
  return Object.fromEntries(pairs.map((pair) => {
    const at = pair.indexOf("=");
    if (at < 1) throw new HcError("INVALID_INPUT", `--config: ${JSON.stringify(pair)} is not key=value.`);
    const key = pair.slice(0, at);
    return [key.includes(":") ? key : `${project}:${key}`, pair.slice(at + 1)];
  }));
}

async function confirm(kind: OperationKind, plan: readonly PlannedStep[], yes: boolean): Promise<void> {
  if (yes || kind === "preview" || !plan.some((step) => step.op !== "same" && step.op !== "read")) return;
  if (!process.stdin.isTTY) throw new HcError("INVALID_INPUT", `There is no terminal to ask on; say --yes to let \`hc ${kind}\` change what the preview shows.`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`Do you want to perform this ${kind === "up" ? "update" : kind}? (yes/no) `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new HcError("ABORTED", "Nothing was changed.");
  } finally {
    terminal.close();
  }
}

/** One operation of the engine, with preflight, delete guard, confirmation and display. Returns the exit code. */
export async function deploy(kind: OperationKind, args: DeployArgs, context: CommandContext<DeployArgs>): Promise<number> {
  const { output } = context;
  const project = context.project();
  const workspace = workspaceDir(project.root);
  const stack = chooseStack(project, args.stack, stacksLeft(workspace, project.name));
  if (kind !== "destroy") buildUserProject(project, output);
  const display = createDisplay({ mode: context.args.json ? "json" : output.terminal ? "tree" : "plain", kind, out: output.out });
  const abort = new AbortController();
  const giveUp = new AbortController();
  // once: no new steps, running ones finish; twice: they are left to themselves
  const onSignal = (): void => (abort.signal.aborted ? giveUp : abort).abort();
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  try {
    const result = await runOperation({
      kind, projectRoot: project.root, program: project.program, project: project.name, stack, workspace,
      configOverrides: configOverrides(args.config, project.name),
      ...(args.parallel === undefined ? {} : { parallel: args.parallel }),
      events: (event) => display.event(event),
      beforeApply: async (plan) => {
        if (kind === "up" || kind === "preview") {
          checkDeletes(plan, args.allowDelete);
          await preflight(plan);
        }
        await confirm(kind, plan, args.yes);
      },
      signal: abort.signal,
      hardSignal: giveUp.signal,
    });
    display.finish(result);
    // from here on the state has the clusters' keys (sealed)
    if (result.result === "succeeded" && kind === "up") dropAllPending(workspace);
    if (result.result === "succeeded" && kind === "destroy" && args.removeStack) {
      removeStack(workspace, project.root, project.name, stack);
      const settled = await forgetSalt(project.root, stack);
      if (stacksLeft(workspace, project.name).length === 0 && settled) rmSync(workspace, { recursive: true, force: true });
    }
    return result.result === "succeeded" ? exitCodes.ok : result.result === "cancelled" ? exitCodes.cancelled : exitCodes.failed;
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    await closeConnections();
  }
}
