import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import { until } from "../../daemon/lib/backoff.js";
import { HcError } from "../../daemon/lib/errors.js";
import { command } from "../context.js";
import { json } from "../output.js";
import { unitId } from "../unit-name.js";

interface Operation { id: string; unit: string; state: "running" | "done" | "failed"; phase: string; detail: string; error: unknown }
const errorText = (error: unknown): string => (typeof error === "string" ? error : ((error as { message?: string } | null)?.message ?? JSON.stringify(error)));

export const moveCommand = command<{ unit: string; to: string; timeout: number }>({
  command: "move <unit>",
  describe: "moves a site to another node: stop, last increment, switch, start; requests wait meanwhile",
  builder: (yargs) => yargs
    .positional("unit", { type: "string", demandOption: true, describe: "a site's name, or a unit's id" })
    .option("to", { type: "string", demandOption: true, describe: "the node that shall be its home" })
    .option("timeout", { type: "number", default: 600, describe: "seconds to wait for the end" })
    .example("$0 move wiki --to n3", "the site wiki lives on n3 afterwards"),
  run: async ({ args, output, cluster }) => {
    const unit = unitId(args.unit);
    const begun = performance.now();
    const { operation } = await cluster().call<{ operation: string }>("POST", `/v1/units/${unit}/move`, { to: args.to, reason: `hc move by ${userInfo().username}@${hostname()} (${randomUUID().slice(0, 8)})` }, 30_000);
    let phase = "";
    const end = await until(`the move of ${unit}`, { withinMs: args.timeout * 1000, firstMs: 100, capMs: 500 }, async () => {
      const seen = await cluster().call<Operation>("GET", `/v1/operations/${operation}`);
      if (seen.phase !== phase && !args.json) output.err(`  ${unit}: ${seen.phase}${seen.detail === "" ? "" : ` (${seen.detail})`}\n`);
      phase = seen.phase;
      return seen.state === "running" ? undefined : seen;
    });
    if (end.state === "failed") throw new HcError("IMPOSSIBLE_CHANGE", `${unit} was not moved: ${errorText(end.error)}`);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    output.out(args.json ? json(end) : `${unit} is at home on ${args.to} (${seconds} s). ${end.detail}\n`);
    return 0;
  },
});
