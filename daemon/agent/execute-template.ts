import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { keys, type TemplateRecord } from "../lib/records.js";
import type { Executors } from "./executors.js";
import { property } from "./names.js";
import { assertLive, changeKey } from "./records.js";
import type { AgentTools } from "./tools.js";

async function publish({ context }: AgentTools, template: string, version: string, change: Partial<TemplateRecord>): Promise<void> {
  assertLive(context, `template ${template}`);
  await changeKey<TemplateRecord>(context.store, keys.template(template, version), (record) => (record.builder !== context.cluster.node || record.state === "ready" ? "keep" : { ...record, ...change }));
}

/**
 * A build leaves either the finished snapshot `@<version>` or nothing: what a broken build left is rolled back to the version before, or emptied, and built again.
 * The snapshot is made last, so that its presence alone says "finished".
 */
async function build(tools: AgentTools, step: { template: string; version: string; recipe: string; settings: Record<string, string>; dataset: string }, signal: AbortSignal): Promise<string> {
  const { context } = tools;
  const { template, version, dataset } = step;
  const root = `${context.host.paths.data}/tmpl-${template}`;
  const building = { [property("template")]: template, [property("version")]: version, [property("recipe")]: step.recipe, [property("state")]: "building" };
  const local = (await context.zfs.look(dataset))?.dataset;
  if (local === undefined) await context.zfs.create(dataset, { canmount: "noauto", mountpoint: root, atime: "off", ...building });
  else {
    if (local.user["template"] !== template) throw new HcError("ALREADY_EXISTS", `${dataset} exists and is not a template of ours.`);
    if (local.mounted) await context.zfs.unmount(dataset);
    await context.zfs.set(dataset, { readonly: "off", mountpoint: root, ...building });
  }
  const before = (await context.zfs.snapshots(dataset)).at(-1);
  if (before !== undefined) await context.zfs.rollback(`${dataset}@${before.name}`);
  await context.zfs.mount(dataset);
  try {
    // recipes fill an empty folder; the version before keeps its blocks in its snapshot
    await tools.emptyFolder(root);
    await tools.buildTemplate({ recipe: step.recipe, version, settings: step.settings, root, runner: context.runner, log: context.log, signal });
  } finally {
    await context.zfs.unmount(dataset);
  }
  await context.zfs.set(dataset, { readonly: "on", [property("state")]: "ready" });
  await context.zfs.snapshot([`${dataset}@${version}`]);
  const made = (await context.zfs.snapshots(dataset)).find((snapshot) => snapshot.name === version);
  if (made === undefined) throw new HcError("INTERNAL", `${dataset}@${version} is not there after it was made.`);
  return made.guid;
}

export const executeTemplate: Pick<Executors, "build-template" | "publish-template"> = {
  async "build-template"(tools, step, signal) {
    const began = tools.context.clock.monotonicMs();
    try {
      const guid = await build(tools, step, signal);
      await publish(tools, step.template, step.version, { state: "ready", guid, error: "" });
      tools.context.log.info({ template: step.template, version: step.version, guid, durationMs: Math.round(tools.context.clock.monotonicMs() - began) }, "template built");
    } catch (error) {
      if (!signal.aborted && errorCode(error) !== "CONFLICT") await publish(tools, step.template, step.version, { state: "failed", error: messageOf(error) });
      throw error;
    }
  },
  "publish-template": (tools, { template, version, guid }) => publish(tools, template, version, { state: "ready", guid, error: "" }),
};
