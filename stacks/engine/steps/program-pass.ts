import { MonitorServer } from "../process/monitor.js";
import { startProgram } from "../process/program.js";
import type { StackConfig } from "../secrets/stack-config.js";
import type { Properties } from "../types.js";
import { stackUrn } from "../urn.js";
import { display, same } from "../values.js";
import { type PassContext, plannedStep } from "./context.js";
import { type Deletion, runDeletes } from "./deletes.js";
import { create } from "./execute.js";
import { Olds } from "./olds.js";
import { propertyDiff } from "./property-diff.js";
import { Registrar } from "./registration.js";

/** Runs the program once: registrations become steps, and what it did not name any more goes, if it ended well. Returns the stack's outputs. */
export async function programPass(context: PassContext, config: StackConfig, parallel: number, env: NodeJS.ProcessEnv): Promise<Properties> {
  const { options, store } = context;
  const olds = new Olds(store.entries());
  const unfinished = new Map(store.unfinished().map((operation): [string, string] => [operation.resource.urn, operation.type]));
  const registrar = new Registrar(context, olds, unfinished);
  registrar.secretKeys = config.secretKeys;
  const root = stackUrn(options.stack, options.project);
  let outputs: Properties | undefined;
  const monitor = await MonitorServer.start({
    register: (goal) => registrar.register(goal),
    registerOutputs: async (urn, told) => {
      // the stack's outputs count only when the whole program ended well
      if (urn === root) outputs = told;
      else await registrar.outputs(urn, told);
    },
    log: (severity, text, urn) => {
      if (severity === "debug" || text === "") return;
      if (severity === "error") context.diagnostics.push(text);
      context.message(severity, text, urn, "program");
    },
  });
  const program = startProgram({
    program: options.program, projectRoot: options.projectRoot, project: options.project, stack: options.stack, address: monitor.address, parallel, dryRun: context.preview,
    config: config.values, secretKeys: config.secretKeys, env, say: (line, isError) => context.message(isError ? "warning" : "info", line, "", "program"),
  });
  const giveUp = (): void => program.kill();
  options.hardSignal?.addEventListener("abort", giveUp, { once: true });
  const exitCode = await program.ended;
  options.hardSignal?.removeEventListener("abort", giveUp);
  monitor.stop();
  await registrar.settled();
  if (!context.failed && !context.cancelled && (exitCode !== 0 || !monitor.signalled)) context.fail("", exitCode === 0 ? "the program ended before it was done" : `the program ended with exit code ${exitCode}; nothing was deleted`);
  if (context.failed || context.cancelled) return outputsOf(olds, root);
  await finishDeletes(context, registrar, olds);
  if (context.failed || context.cancelled) return outputsOf(olds, root);
  const now = outputs ?? {};
  const before = outputsOf(olds, root);
  const diff = propertyDiff(before, now);
  context.dirty ||= diff.length > 0 || !same(before, now);
  if (registrar.news.has(root)) await registrar.outputs(root, now);
  context.event({ type: "outputs", outputs: display(now) as Properties, diff, preview: context.preview, atMs: Date.now() });
  if (!context.preview) for (const operation of store.unfinished()) await store.settle(operation.resource.urn);
  return now;
}

const outputsOf = (olds: Olds, root: string): Properties => olds.get(root)?.record.outputs ?? {};

async function finishDeletes(context: PassContext, registrar: Registrar, olds: Olds): Promise<void> {
  const dropped: Deletion[] = olds.untaken();
  const waiting: Deletion[] = olds.waiting;
  const known = new Set([...registrar.news.keys(), ...dropped.map((entry) => entry.record.urn)]);
  const begun = await takeOver(context, known);
  await runDeletes([...registrar.replaced, ...waiting, ...dropped, ...begun], context);
}

/**
 * Creations that a killed run had begun and that nobody wants any more: whether the thing exists is unknown, and only create (idempotent by its
 * mark) can tell. So it is made known first, and then deleted like the others.
 */
export async function takeOver(context: PassContext, known: ReadonlySet<string>): Promise<Deletion[]> {
  const { store } = context;
  const result: Deletion[] = [];
  for (const { type, resource } of store.unfinished()) {
    if (type !== "creating" || known.has(resource.urn) || !resource.custom) continue;
    context.dirty = true;
    if (context.preview) {
      result.push({ key: "", record: resource });
      continue;
    }
    const key = store.newKey();
    try {
      const record = await context.step(plannedStep(resource.urn, "read", { note: "its creation was cut off and it is not wanted any more; looking for it" }), () => create(resource, key, context));
      result.push({ key, record });
    } catch {
      // told already; the begun operation stays in the state
    }
  }
  return result;
}
