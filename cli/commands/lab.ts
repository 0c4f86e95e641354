import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Argv } from "yargs";
import { HcError } from "../../daemon/lib/errors.js";
import { workspaceDir } from "../../providers/core/workspace.js";
import { findLab, type Lab } from "../../providers/lab/lab.js";
import { command, type GlobalOptions } from "../context.js";
import { json, table } from "../output.js";
import type { Project } from "../project.js";

/** The labs of a project, by the folders in its workspace. */
export function labsOf(project: Project): Lab[] {
  const folder = join(workspaceDir(project.root), "labs");
  if (!existsSync(folder)) return [];
  return readdirSync(folder).sort().map((name) => findLab(join(folder, name))).filter((lab): lab is Lab => lab !== undefined);
}

function chooseLab(project: Project, wanted: string | undefined): Lab {
  const labs = labsOf(project).filter((lab) => wanted === undefined || lab.place.name === wanted);
  const [lab] = labs;
  if (lab === undefined) throw new HcError("NOT_FOUND", `This project has no ${wanted === undefined ? "lab" : `lab ${wanted}`}. \`npm start\` makes the demo's.`);
  if (labs.length > 1) throw new HcError("INVALID_INPUT", `This project has several labs (${labs.map((each) => each.place.name).join(", ")}); choose one with --lab.`);
  return lab;
}
type LabArgs = { node: string; lab: string | undefined };
const withLab = <T>(yargs: Argv<T>): Argv<T & { lab: string | undefined }> => yargs.option("lab", { type: "string", describe: "the lab, when the project has several" });

const verbs: readonly [string, string, string, (lab: Lab, node: string) => Promise<void>][] = [
  ["kill", "power cut: everything in the node ends at once", "was killed", (lab, node) => lab.kill(node)],
  ["start", "starts a node that was stopped or killed", "runs", (lab, node) => lab.start(node)],
  ["stop", "shuts a node down: pools exported, then off", "is stopped", (lab, node) => lab.stop(node)],
  ["cut", "pulls the node's network cable", "is cut off", (lab, node) => lab.cut(node)],
  ["heal", "plugs the cable in again", "is connected", (lab, node) => lab.heal(node)],
];
const verbCommands = verbs.map(([name, describe, done, act]) =>
  command<LabArgs>({
    command: `${name} <node>`,
    describe,
    builder: (yargs) => withLab(yargs.positional("node", { type: "string", demandOption: true })),
    run: async ({ args, output, project }) => {
      await act(chooseLab(project(), args.lab), args.node);
      output.out(args.json ? json({ node: args.node, done: name }) : `${args.node} ${done}.\n`);
      return 0;
    },
  }));

const listCommand = command<{ lab: string | undefined }>({
  command: "list",
  describe: "the lab's nodes and whether they run",
  builder: withLab,
  run: async ({ args, output, project }) => {
    const lab = chooseLab(project(), args.lab);
    const nodes = (await lab.nodes()).map((node) => ({ name: node.name, address: lab.access(node).address, running: lab.pid(node) !== undefined }));
    output.out(args.json ? json(nodes) : table(["NODE", "ADDRESS", "RUNS"], nodes.map((node) => [node.name, node.address, node.running ? "yes" : "NO"])));
    return 0;
  },
});

export const labCommand = {
  command: "lab",
  describe: "nodes of a local cluster: list, kill, start, stop, cut, heal",
  builder: (yargs: Argv<GlobalOptions>) => verbCommands.reduce((seen, verb) => seen.command(verb), yargs.command(listCommand)).example("$0 lab kill n2", "what a power cut does").demandCommand(1),
  handler: () => undefined,
};
