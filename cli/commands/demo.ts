import { table } from "../output.js";
import { labsOf } from "./lab.js";
import { command, type CommandContext } from "../context.js";
import { entriesOf, removeEntry } from "../../providers/lab/entry.js";
import { workspaceDir } from "../../providers/core/workspace.js";
import { deploy, type DeployArgs } from "../deploy.js";
import { stackOutputs } from "../stack-outputs.js";

interface DemoOutputs { urls?: Record<string, string[]>; nodes?: Record<string, string>; login?: string }

/** What `npm start` prints at the end. Pure. */
export function welcome(outputs: DemoOutputs): string {
  const urls = Object.entries(outputs.urls ?? {}).map(([name, list]) => [name, list.join("  ")]);
  const nodes = Object.entries(outputs.nodes ?? {}).map(([name, address]) => [name, `http://${address}/`]);
  const last = Object.keys(outputs.nodes ?? {}).at(-1) ?? "n3";
  return `\nIt runs. Open\n\n${table(["SITE", "ADDRESS"], urls)}${outputs.login === undefined ? "" : `\n${outputs.login}\n`}\nThe wiki answers at every node's own address too\n\n${table(["NODE", "ADDRESS"], nodes)}
Try next
  npx hc status               nodes, units, lag, what needs a person
  npx hc move wiki --to ${last}    its home moves in seconds; a page under edit stays
  npx hc lab kill n2          a power cut; npx hc lab start n2 brings it back
`;
}

export const startCommand = command<object>({
  command: "start",
  describe: "the demo: three nodes on this machine, DokuWiki on them (npm start)",
  run: async (context) => {
    const args: DeployArgs = { stack: "local", parallel: undefined, config: [], yes: true, allowDelete: 3, removeStack: false };
    const code = await deploy("up", args, context as unknown as CommandContext<DeployArgs>);
    if (code === 0 && !context.args.json) context.output.out(welcome(stackOutputs(context.project(), "local") as DemoOutputs));
    return code;
  },
});

export const stopCommand = command<object>({
  command: "stop",
  describe: "stops the nodes of this project's labs; their data stays (npm stop)",
  run: async ({ args, output, project }) => {
    const stopped: string[] = [];
    const workspace = workspaceDir(project().root);
    for (const entry of entriesOf(workspace)) {
      await removeEntry(workspace, entry.name, entry.port);
      stopped.push(`the entry on port ${entry.port}`);
    }
    for (const lab of labsOf(project())) {
      const nodes = (await lab.nodes()).filter((node) => lab.pid(node) !== undefined);
      await Promise.all(nodes.map((node) => lab.stop(node.name)));
      stopped.push(...nodes.map((node) => `${lab.place.name}/${node.name}`));
    }
    output.out(args.json ? `${JSON.stringify({ stopped })}\n` : stopped.length === 0 ? "Nothing ran.\n" : `Stopped ${stopped.join(", ")}. Their data stays; \`npm start\` goes on with it.\n`);
    return 0;
  },
});
