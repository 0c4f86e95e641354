import { cpus } from "node:os";
import { dirname } from "node:path";
import { errorCode, HcError } from "../../daemon/lib/errors.js";
import { stateFolder } from "../../providers/core/workspace.js";
import { delegate, findPulumi } from "./delegate.js";
import { ProviderProcess } from "./process/provider.js";
import { passphraseOf, readStackConfig, type StackConfig, stackCrypter } from "./secrets/stack-config.js";
import { readCheckpoint } from "./state/checkpoint.js";
import { readJournal } from "./state/journal.js";
import { takeLock } from "./state/lock.js";
import { StateStore } from "./state/store.js";
import { noChanges, PassContext } from "./steps/context.js";
import { destroyPass } from "./steps/destroy-pass.js";
import { programPass } from "./steps/program-pass.js";
import { refreshPass } from "./steps/refresh-pass.js";
import type { EngineEvent, OperationOptions, OperationResult, Properties } from "./types.js";
import { stackUrn } from "./urn.js";
import { display } from "./values.js";

const stepsPerCpu = 4;

/** One operation on one stack; see DESIGN.md. Throws what beforeApply throws, LOCKED and faults of state or passphrase; all else is in the result. */
export async function runOperation(options: OperationOptions): Promise<OperationResult> {
  const { kind } = options;
  const now = (): Date => new Date();
  const place = { workspace: options.workspace, project: options.project, stack: options.stack };
  const env: NodeJS.ProcessEnv = { ...(options.env ?? process.env), HC_WORKSPACE: options.workspace };
  const pulumi = findPulumi(env);
  const ownBackend = env["PULUMI_BACKEND_URL"] ?? "";
  if (pulumi === undefined && ownBackend !== "" && ownBackend !== `file://${stateFolder(options.workspace)}`) {
    throw new HcError("UNSUPPORTED", `PULUMI_BACKEND_URL names ${ownBackend}, which only the pulumi CLI can use; install it, or unset the variable to use the workspace ${options.workspace}.`);
  }
  if (pulumi !== undefined) {
    if (ownBackend === "") await passphraseOf(options.workspace, env);
    // the CLI knows no journal: what a killed run left is brought into the state file first
    if (ownBackend === "" && (await readJournal(place)) !== undefined) await locked(options, env, now, recover);
    return delegate(pulumi, options);
  }
  const act = (store: StateStore, config: StackConfig): Promise<OperationResult> => withStore(options, store, config, env, now);
  // a preview only looks, also beside somebody's `up`
  return kind === "preview" ? opened(options, env, now, act) : locked(options, env, now, act);
}

type Act<T> = (store: StateStore, config: StackConfig) => Promise<T>;
async function locked<T>(options: OperationOptions, env: NodeJS.ProcessEnv, now: () => Date, act: Act<T>): Promise<T> {
  const lock = await takeLock(options, now());
  try {
    return await opened(options, env, now, act);
  } finally {
    await lock.release();
  }
}

async function opened<T>(options: OperationOptions, env: NodeJS.ProcessEnv, now: () => Date, act: Act<T>): Promise<T> {
  const { projectRoot, project, stack, workspace } = options;
  const file = await readCheckpoint(options);
  const crypter = await stackCrypter({ projectRoot, stack, workspace, stateSalt: file?.salt, env });
  const config = await readStackConfig({ projectRoot, project, stack, overrides: options.configOverrides ?? {} }, crypter);
  return act(await StateStore.open(options, crypter, now), config);
}

async function recover(store: StateStore): Promise<void> {
  await store.startRecording();
  await store.finish();
}

async function withStore(options: OperationOptions, store: StateStore, config: StackConfig, env: NodeJS.ProcessEnv, now: () => Date): Promise<OperationResult> {
  const { kind } = options;
  const emit = (event: EngineEvent): void => options.events?.(event);
  const parallel = options.parallel ?? cpus().length * stepsPerCpu;
  let provider: Promise<ProviderProcess> | undefined;
  const startProvider = (): Promise<ProviderProcess> => {
    provider ??= ProviderProcess.start({
      cwd: dirname(options.program), env: { ...env, PULUMI_NODEJS_PROJECT: options.project }, config: config.values,
      say: (line, isError) => {
        // the SDK prints the stack of what a handler throws; the message comes with the step
        if (line.trim() !== "" && !/^\s+at /.test(line)) emit({ type: "message", severity: isError ? "warning" : "info", from: "provider", text: line, atMs: now().getTime() });
      },
    });
    return provider;
  };
  const giveUp = (): void => void provider?.then((process) => process.kill(), () => undefined);
  options.hardSignal?.addEventListener("abort", giveUp, { once: true });
  const pass = (preview: boolean): PassContext => new PassContext(options, preview, store, startProvider, config.values, parallel, emit, now);
  const root = stackUrn(options.stack, options.project);
  let outputs: Properties = store.entries().find(([, record]) => record.urn === root)?.[1].outputs ?? {};

  const run = async (context: PassContext): Promise<PassContext> => {
    const phase = context.preview ? "preview" : kind === "up" || kind === "preview" ? "update" : kind;
    emit({ type: "phase", phase, atMs: now().getTime() });
    // beside the program: its start takes as long as the program's
    if (kind === "up" || kind === "preview") startProvider().catch((error: Error) => context.fail("", error.message));
    if (kind === "destroy") {
      await destroyPass(context);
      if (!context.preview && store.entries().length === 0) outputs = {};
    }
    else if (kind === "refresh") await refreshPass(context);
    else outputs = await programPass(context, config, parallel, env);
    emit({ type: "phase-end", phase, changes: context.changes, ok: !context.failed && !context.cancelled, atMs: now().getTime() });
    return context;
  };
  const resultOf = (context: PassContext | undefined): OperationResult => ({
    result: context?.failed === true ? "failed" : context?.cancelled === true ? "cancelled" : "succeeded", changes: context?.changes ?? noChanges(), outputs: display(outputs) as Record<string, unknown>, diagnostics: context?.diagnostics ?? [],
  });
  try {
    if (kind !== "refresh") {
      const planned = await run(pass(true));
      if (planned.failed || planned.cancelled) return resultOf(planned);
      await options.beforeApply?.(planned.plan);
      if (kind === "preview") return resultOf(planned);
      if (!planned.dirty && store.unfinished().length === 0) {
        await store.startRecording();
        return resultOf(planned);
      }
    }
    await store.startRecording();
    return resultOf(await run(pass(false)));
  } catch (error) {
    if (errorCode(error) === undefined) emit({ type: "message", severity: "error", from: "engine", text: (error as Error).message, atMs: now().getTime() });
    throw error;
  } finally {
    options.hardSignal?.removeEventListener("abort", giveUp);
    await store.finish();
    await (await provider?.catch(() => undefined))?.stop();
  }
}
