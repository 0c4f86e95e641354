import { dirname } from "node:path";
import { type CommandRunner, runOk } from "../../daemon/lib/command.js";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import { parseSize } from "../../daemon/lib/sizes.js";
import type { Handler } from "../core/handler.js";
import { PartialError } from "../core/partial-error.js";
import { progress } from "../core/progress.js";
import { devicesOf, poolDataset, type ZfsPoolInputs, type ZfsPoolOutputs, zfsPoolSchema } from "../schemas/zfs-pool.js";
import { SshRunner } from "../ssh/ssh-runner.js";
import { withLease } from "./host/lease.js";
import { lookAtPool } from "./zfs-pool/look-pool.js";
import { lostVdevs, planPool, type PoolStep } from "./zfs-pool/plan-pool.js";

const stepMs = 5 * 60_000;
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
const platformOf = async (runner: CommandRunner): Promise<"linux" | "freebsd"> => ((await runOk(runner, ["uname", "-s"], { timeoutMs: 20_000 })).trim() === "FreeBSD" ? "freebsd" : "linux");
const idOf = (inputs: ZfsPoolInputs): string => `${inputs.connection.node}/${poolDataset(inputs)}`;

async function runStep(runner: CommandRunner, inputs: ZfsPoolInputs, step: PoolStep): Promise<void> {
  switch (step.kind) {
    case "import": {
      const folders = [...new Set(inputs.vdevs.flatMap((vdev) => ("file" in vdev ? [dirname(vdev.file)] : [])))].flatMap((folder) => ["-d", folder]);
      return void (await runOk(runner, ["zpool", "import", ...folders, inputs.pool], { timeoutMs: stepMs }));
    }
    case "make-file": return void (await runOk(runner, ["truncate", "-s", String(parseSize(step.size, "size")), step.path], { timeoutMs: stepMs }));
    case "create": case "add": case "create-dataset": case "mark": return void (await runOk(runner, step.argv, { timeoutMs: stepMs }));
  }
}

async function converge(inputs: ZfsPoolInputs, begin: () => void): Promise<ZfsPoolOutputs> {
  const unleased = new SshRunner(inputs.connection);
  return withLease(unleased, await platformOf(unleased), async (runner) => {
    for (let round = 0; round < 3; round += 1) {
      const plan = planPool(inputs, await lookAtPool(runner, inputs), inputs.connection.paths.data);
      if ("refused" in plan) throw new HcError(plan.refused.code, `ZfsPool ${inputs.name} on ${inputs.connection.node}: ${plan.refused.reason}. Nothing was changed.`);
      if (plan.steps.length === 0) return inputs;
      begin();
      for (const step of plan.steps) {
        if (step.kind === "create" || step.kind === "add") progress("ZfsPool", inputs.name, step.argv.join(" "));
        await runStep(runner, inputs, step);
      }
    }
    throw new HcError("INTERNAL", `ZfsPool ${inputs.name}: the pool does not become what was asked for.`);
  });
}
async function made(inputs: ZfsPoolInputs): Promise<{ id: string; outs: ZfsPoolOutputs }> {
  let began = false;
  try {
    return { id: idOf(inputs), outs: await converge(inputs, () => { began = true; }) };
  } catch (error) {
    if (!began) throw error; // nothing to keep: no resource
    throw new PartialError(`ZfsPool ${inputs.name}: ${messageOf(error)}`, idOf(inputs), inputs);
  }
}

/** Below our dataset, what holds nobody's data: templates, clones that are browsed, and the folders of trash and stash without what is in them. */
const disposable = /^(tmpl-[^/]+|trash|stash|vault(\/[^/]+)?)$/;

export const zfsPoolHandler: Handler<ZfsPoolInputs, ZfsPoolOutputs> = {
  check: async (olds, news) => {
    const inputs = structuredClone(news);
    const failures = validate(zfsPoolSchema, inputs);
    if (failures.length > 0) return { inputs, failures };
    const twice = holdsUnknown(inputs.vdevs) ? undefined : inputs.vdevs.flatMap(devicesOf).find((device, index, all) => all.indexOf(device) !== index);
    if (twice !== undefined) failures.push({ property: "vdevs", reason: `${twice} is named twice; a device can be in one vdev only` });
    if (olds.vdevs !== undefined && olds.pool === inputs.pool && !holdsUnknown([olds.vdevs, inputs.vdevs])) {
      const lost = lostVdevs(olds.vdevs, inputs.vdevs);
      if (lost.length > 0) failures.push({ property: "vdevs", reason: `${JSON.stringify(lost)} would be taken out of pool ${inputs.pool}; a pool can only grow by whole vdevs` });
    }
    // another pool on the same host is another place for all data: never by accident
    const moved = olds.pool !== undefined && (olds.pool !== inputs.pool || olds.under !== inputs.under);
    const old = `${olds.pool}/${olds.under}`;
    if (moved && inputs.allowReplace !== old) failures.push({ property: olds.pool !== inputs.pool ? "pool" : "under", reason: `changing it replaces ${old} on ${olds.connection?.node ?? "the host"} and the data in it; if that is meant, say allowReplace: ${JSON.stringify(old)}` });
    return { inputs, failures };
  },
  diff: async (_id, olds, news) => {
    const fields = ["vdevs", "properties", "compatibility", "adopt", "ephemeral"] as const;
    const replaces = (["name", "pool", "under"] as const).filter((field) => !same(olds[field], news[field])) as string[];
    if (!holdsUnknown(news.connection) && olds.connection.node !== news.connection.node) replaces.push("connection");
    // the connection may change (another address): what is stored must follow, or a later delete cannot reach it
    const changed = fields.some((field) => holdsUnknown(news[field]) || !same(olds[field], news[field])) || !same(olds.connection, news.connection);
    return { changes: replaces.length > 0 || changed, replaces, deleteBeforeReplace: true };
  },
  create: made,
  update: async (_id, _olds, news) => ({ outs: (await made(news)).outs }),
  read: async (id, props) => {
    const facts = await lookAtPool(new SshRunner(props.connection), props);
    const dataset = facts.datasets.find((item) => item.name === poolDataset(props));
    return dataset?.mark === props.name ? { id, props } : { id: "", props };
  },
  delete: async (_id, props) => {
    const unleased = new SshRunner(props.connection);
    await withLease(unleased, await platformOf(unleased), async (runner) => {
      const facts = await lookAtPool(runner, props);
      const root = poolDataset(props);
      const own = facts.datasets.find((item) => item.name === root);
      if (!facts.exists || own === undefined || (own.mark !== "" && own.mark !== props.name)) return;
      const held = facts.datasets.filter((item) => item.name.startsWith(`${root}/`) && (item.unit || !disposable.test(item.name.slice(root.length + 1))));
      if (held.length > 0 && !props.ephemeral)
        throw new HcError("POOL_IN_USE", `ZfsPool ${props.name}: ${root} on ${props.connection.node} holds ${held.slice(0, 5).map((item) => item.name.slice(root.length + 1)).join(", ")}${held.length > 5 ? ` and ${held.length - 5} more` : ""}. Move the units away, and purge the trash (hc trash purge), then delete it.`);
      await runOk(runner, ["zfs", "destroy", "-r", root], { timeoutMs: stepMs });
      const foreign = facts.datasets.some((item) => item.name !== props.pool && item.name !== root && !item.name.startsWith(`${root}/`));
      if (props.adopt || foreign) return; // the pool was there before us, or is used by others
      await runOk(runner, ["zpool", "destroy", props.pool], { timeoutMs: stepMs });
    });
  },
};
