import { retry } from "../../daemon/lib/backoff.js";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import { parseSize } from "../../daemon/lib/sizes.js";
import type { Handler } from "../core/handler.js";
import { progress } from "../core/progress.js";
import { labFolder, labKeyFile, projectRootOf, workspaceDir } from "../core/workspace.js";
import { findLab, type Lab, openLab } from "../lab/lab.js";
import type { NodeRecord } from "../lab/place.js";
import { preflight } from "../lab/preflight.js";
import { ensureRoot, type Progress } from "../lab/root.js";
import { type LocalHostAccess, localHostAccessNames, type LocalHostInputs, type LocalHostOutputs, localHostSchema } from "../schemas/local-host.js";

/** Where labs and the operator's key lie: the workspace (docs/architecture.md). */
export interface LocalHostPlaces {
  labFolder(lab: string): string;
  keyPath(): string;
  progress?: Progress;
  runner?: CommandRunner;
}

const idOf = ({ lab, name }: Pick<LocalHostInputs, "lab" | "name">): string => `${lab}/${name}`;
const sameText = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function accessOf(lab: Lab, node: NodeRecord): LocalHostAccess {
  const { name: _name, ...access } = lab.access(node);
  return access;
}
function outputsOf(inputs: LocalHostInputs, lab: Lab, node: NodeRecord): LocalHostOutputs {
  const wishes = Object.fromEntries(Object.entries(inputs).filter(([property]) => !(localHostAccessNames as string[]).includes(property))) as unknown as LocalHostInputs;
  return { ...wishes, ...accessOf(lab, node) };
}

/**
 * LocalHost. `check` and `diff` look at facts of this machine only (a few small files below the lab's folder and /proc): a node that
 * exists has its addresses in a preview, and a stopped one is a change.
 */
export function makeLocalHostHandler(places: LocalHostPlaces): Handler<LocalHostInputs, LocalHostOutputs> {
  const runner = places.runner ?? new LocalRunner();
  const look = async (inputs: Pick<LocalHostInputs, "lab" | "name">): Promise<{ lab: Lab; node: NodeRecord } | undefined> => {
    const lab = findLab(places.labFolder(inputs.lab), runner);
    const node = (await lab?.nodes())?.find((each) => each.name === inputs.name);
    return lab === undefined || node === undefined ? undefined : { lab, node };
  };

  async function converge(inputs: LocalHostInputs): Promise<LocalHostOutputs> {
    const dir = places.labFolder(inputs.lab);
    await preflight(runner, dir);
    const root = await ensureRoot(runner, places.progress);
    // a lab whose last node is being deleted at this moment is made anew
    const { lab, node } = await retry(`lab ${inputs.lab}`, { withinMs: 120_000 }, async () => {
      const opened = await openLab({ dir, name: inputs.lab, keyPath: places.keyPath(), runner });
      const made = await opened.createNode({
        name: inputs.name, root,
        disks: inputs.diskSizes.map((size) => ({ sizeBytes: String(parseSize(size, "diskSizes")) })),
        ...(inputs.index === undefined ? {} : { index: inputs.index }),
        ...(inputs.memory === undefined ? {} : { memoryBytes: String(parseSize(inputs.memory, "memory")) }),
      });
      return { lab: opened, node: made };
    });
    await lab.start(inputs.name);
    return outputsOf(inputs, lab, node);
  }

  return {
    async check(_olds, news) {
      const inputs: LocalHostInputs & Partial<LocalHostAccess> = structuredClone(news);
      const failures = validate(localHostSchema, inputs);
      if (failures.length > 0 || holdsUnknown([inputs.lab, inputs.name])) return { inputs, failures };
      const present = await look(inputs);
      if (present === undefined) return { inputs, failures };
      const wanted = inputs.diskSizes.filter((size) => !holdsUnknown(size)).map((size) => parseSize(size));
      if (wanted.length === inputs.diskSizes.length && present.node.disks.some((disk, number) => (wanted[number] ?? 0n) < BigInt(disk.sizeBytes)))
        failures.push({ property: "diskSizes", reason: `${JSON.stringify(inputs.diskSizes)} would shrink or take away a disk of node ${inputs.name} (it has ${present.node.disks.map((disk) => disk.sizeBytes).join(", ")} bytes); disks can only grow` });
      const { disks: _disks, ...access } = accessOf(present.lab, present.node);
      return { inputs: { ...inputs, ...access, disks: inputs.diskSizes.map((_, number) => `/disks/d${number}.img`) }, failures };
    },

    async diff(_id, olds, news: LocalHostInputs & Partial<LocalHostAccess>) {
      const present = holdsUnknown([news.lab, news.name]) ? undefined : await look(news);
      const replaces = (["lab", "name"] as const).filter((property) => !sameText(olds[property], news[property])) as string[];
      if (news.index !== undefined && present !== undefined && news.index !== present.node.index) replaces.push("index");
      const stopped = present === undefined || present.lab.pid(present.node) === undefined;
      const wishes = (["diskSizes", "memory", "index"] as const).some((property) => !sameText(olds[property], news[property]));
      const drifted = localHostAccessNames.some((property) => news[property] !== undefined && !sameText(olds[property], news[property]));
      return { changes: replaces.length > 0 || stopped || wishes || drifted, replaces, deleteBeforeReplace: true };
    },

    async create(inputs) {
      return { id: idOf(inputs), outs: await converge(inputs) };
    },

    async update(_id, _olds, news) {
      return { outs: await converge(news) };
    },

    async read(id, props) {
      const present = await look(props);
      if (present === undefined) return { id: "", props };
      return { id, props: outputsOf(props, present.lab, present.node) };
    },

    async delete(_id, props) {
      const lab = findLab(places.labFolder(props.lab), runner);
      if (lab === undefined) return;
      await lab.destroyNode(props.name);
      await lab.destroyIfEmpty();
    },
  };
}

const workspace = (): string => workspaceDir(projectRootOf(process.cwd()));

export const localHostHandler = makeLocalHostHandler({
  labFolder: (lab) => labFolder(workspace(), lab),
  keyPath: () => labKeyFile(workspace()),
  progress: (what, sinceMs) => progress("LocalHost", "root", `${what} (${Math.round(sinceMs / 1000)} s)`),
});
