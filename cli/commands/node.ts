import { hostname, userInfo } from "node:os";
import type { Argv } from "yargs";
import { until } from "../../daemon/lib/backoff.js";
import type { Status } from "../../daemon/lib/status.js";
import { command, type GlobalOptions } from "../context.js";
import { json } from "../output.js";
import { checkCommand } from "./node-check.js";
import { removeCommand } from "./node-remove.js";

/** What is still on a node: sites at home there, and copies of sites that live elsewhere, as the records name them; what is named no more the node puts into its trash by itself, moments later. Pure. */
export function leftOn({ units }: Pick<Status, "units">, node: string): { homes: string[]; copies: string[] } {
  return { homes: units.filter(({ home }) => home === node).map(({ id }) => id), copies: units.filter(({ home, replicas }) => home !== node && replicas.some((replica) => replica.node === node)).map(({ id }) => id) };
}

const drainCommand = command<{ node: string; wait: boolean; timeout: number }>({
  command: "drain <node>",
  describe: "empties a node: its sites move away, their copies are made elsewhere, nothing new is put there",
  builder: (yargs) => yargs
    .positional("node", { type: "string", demandOption: true, describe: "a node's name" })
    .option("wait", { type: "boolean", default: true, describe: "wait until it is empty; --no-wait only orders it" })
    .option("timeout", { type: "number", default: 3600, describe: "seconds to wait" })
    .epilog("It goes on by itself when this command is ended; `hc node undrain NODE` takes it back. A site goes where a copy of it is, one after the other.")
    .example("$0 node drain n2", "before its disks are changed"),
  run: async ({ args, output, cluster }) => {
    await cluster().call<object>("POST", `/v1/nodes/${encodeURIComponent(args.node)}/drain`, { reason: `hc node drain by ${userInfo().username}@${hostname()}` }, 30_000);
    let told = "";
    const look = async (): Promise<ReturnType<typeof leftOn>> => leftOn(await cluster().call<Status>("GET", "/v1/status"), args.node);
    const done = !args.wait ? await look() : await until(`${args.node} is empty`, { withinMs: args.timeout * 1000, firstMs: 200, capMs: 2_000 }, async () => {
      const left = await look();
      const text = `  ${args.node}: ${left.homes.length} sites at home, ${left.copies.length} copies left\n`;
      if (text !== told && !args.json) output.err(text);
      told = text;
      return left.homes.length + left.copies.length === 0 ? left : undefined;
    });
    output.out(args.json ? json({ node: args.node, ...done }) : args.wait ? `${args.node} is empty.\n` : `${args.node} is being emptied; see \`hc units\`.\n`);
    return 0;
  },
});

const undrainCommand = command<{ node: string }>({
  command: "undrain <node>",
  describe: "lets a node take sites and copies again",
  builder: (yargs) => yargs.positional("node", { type: "string", demandOption: true, describe: "a node's name" }),
  run: async ({ args, output, cluster }) => {
    await cluster().call<object>("DELETE", `/v1/nodes/${encodeURIComponent(args.node)}/drain`, undefined, 30_000);
    output.out(args.json ? json({ node: args.node }) : `${args.node} takes sites and copies again.\n`);
    return 0;
  },
});

export const nodeCommand = {
  command: "node",
  describe: "one node: check, drain, undrain, remove",
  builder: (yargs: Argv<GlobalOptions>) => yargs.command(checkCommand).command(drainCommand).command(undrainCommand).command(removeCommand).demandCommand(1),
  handler: () => undefined,
};
