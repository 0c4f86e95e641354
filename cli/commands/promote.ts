import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import { command } from "../context.js";
import { json } from "../output.js";
import { unitId } from "../unit-name.js";

export const promoteCommand = command<{ unit: string; to: string | undefined }>({
  command: "promote <unit>",
  describe: "brings a site back whose home is dead, on its best copy, whatever may be missing there",
  builder: (yargs) => yargs
    .positional("unit", { type: "string", demandOption: true, describe: "a site's name, or a unit's id" })
    .option("to", { type: "string", describe: "the node whose copy it shall be; needed where copies hold different histories" })
    .epilog("A site comes back by itself unless its policy is manual or more than maxLoss may be missing. `hc why SITE` says what it waits for. What the dead home holds beyond is put into its stash when it comes back.")
    .example("$0 promote shop", "on the best copy that can be reached")
    .example("$0 promote shop --to n2", "on n2's copy"),
  run: async ({ args, output, cluster }) => {
    const unit = unitId(args.unit);
    const done = await cluster().call<{ home: string; epoch: number; detail: string }>("POST", `/v1/units/${unit}/promote`, { to: args.to ?? "", reason: `hc promote by ${userInfo().username}@${hostname()} (${randomUUID().slice(0, 8)})` }, 40_000);
    output.out(args.json ? json(done) : `${unit} is ${done.detail}.\n`);
    return 0;
  },
});
