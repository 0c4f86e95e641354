import type { Argv } from "yargs";
import type { StashAnswer } from "../../daemon/replication/stash-routes.js";
import { HcError } from "../../daemon/lib/errors.js";
import { formatSize } from "../../daemon/lib/sizes.js";
import { command, type GlobalOptions } from "../context.js";
import { json, table } from "../output.js";

const listCommand = command<object>({
  command: "list",
  describe: "histories that lost: what a node had written when its sites had gone elsewhere",
  run: async ({ args, output, cluster }) => {
    const answer = await cluster().call<StashAnswer>("GET", "/v1/stash", undefined, 30_000);
    const day = (atMs: number): string => new Date(atMs).toISOString().slice(0, 19).replace("T", " ");
    if (args.json) output.out(json(answer));
    else {
      output.out(answer.stashes.length === 0 ? "The stash is empty.\n" : table(["ID", "UNIT", "NODE", "EPOCH", "STASHED (UTC)", "USED", "AFTER"], answer.stashes.map((item) => [item.id, item.unit, item.node, String(item.epoch), day(item.atMs), formatSize(item.usedBytes), item.common === "" ? "(all of it)" : item.common])));
      for (const node of answer.unreachable) output.err(`not asked: ${node}\n`);
    }
    return answer.unreachable.length === 0 ? 0 : 1;
  },
});

const discardCommand = command<{ ids: string[]; yes: boolean }>({
  command: "discard <ids..>",
  describe: "destroys what lies in the stash, for good",
  builder: (yargs) => yargs
    .positional("ids", { type: "string", array: true, demandOption: true, describe: "as `hc stash list` shows them" })
    .option("yes", { type: "boolean", default: false, describe: "it is meant" }),
  run: async ({ args, output, cluster }) => {
    if (!args.yes) throw new HcError("DELETE_GUARD", `This destroys ${args.ids.length === 1 ? args.ids[0] : `${args.ids.length} histories`} for good; say --yes when it is meant.`);
    for (const id of args.ids) {
      await cluster().call<object>("DELETE", `/v1/stash/${encodeURIComponent(id)}`, undefined, 130_000);
      if (!args.json) output.out(`${id} is destroyed.\n`);
    }
    if (args.json) output.out(json(args.ids));
    return 0;
  },
});

export const stashCommand = {
  command: "stash",
  describe: "histories that lost: list, discard",
  builder: (yargs: Argv<GlobalOptions>) => yargs.command(listCommand).command(discardCommand).demandCommand(1),
  handler: () => undefined,
};
