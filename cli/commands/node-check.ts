import { HcError } from "../../daemon/lib/errors.js";
import { checkLoss, type LossCheck, type LostUnit } from "../../daemon/lib/loss-check.js";
import type { Status } from "../../daemon/lib/status.js";
import { exitCodes } from "../exit-codes.js";
import { command } from "../context.js";
import { json } from "../output.js";

const shown = 20;
const list = (units: readonly LostUnit[]): string[] => [...units.slice(0, shown).map(({ unit, why }) => `  ${unit}: ${why}`), ...(units.length > shown ? [`  and ${units.length - shown} more`] : [])];

/** Pure. */
export function lossText({ node, ok, quorum, moves, down, lastCopy }: LossCheck): string {
  const most = Math.max(0, ...moves.map(({ missingS }) => missingS ?? 0));
  const lines = [
    ok ? `${node} may be lost now.` : `${node} must not be lost now:`,
    ...(quorum.ok ? [] : [`  etcd: ${quorum.why}`]),
    ...(down.length > 0 ? [`  down until it is back, or a person acts (${down.length}):`, ...list(down).map((line) => `  ${line}`)] : []),
    ...(moves.length > 0 ? [`${moves.length} site${moves.length === 1 ? "" : "s"} would be served elsewhere after about ${moves[0]?.forS} s, with at most ${most} s of writes missing; none are after \`hc node drain ${node}\`.`] : []),
    ...(lastCopy.length > 0 ? [`${lastCopy.length} site${lastCopy.length === 1 ? "" : "s"} elsewhere would have no other copy until one is made: ${lastCopy.slice(0, 5).join(", ")}${lastCopy.length > 5 ? ", …" : ""}.`] : []),
  ];
  return `${lines.join("\n")}\n`;
}

export const checkCommand = command<{ node: string }>({
  command: "check <node>",
  describe: "can this node be lost now? what would be down, for how long, and what may be missing; exit 0 yes, 1 no",
  builder: (yargs) => yargs.positional("node", { type: "string", demandOption: true, describe: "a node's name" }).example("$0 node check n2 && ssh n2 reboot", "before a reboot"),
  run: async ({ args, output, cluster }) => {
    const status = await cluster().call<Status>("GET", "/v1/status");
    const check = checkLoss(status, args.node);
    if (check === undefined) throw new HcError("NOT_FOUND", `There is no node ${JSON.stringify(args.node)}; nodes are ${status.nodes.map(({ name }) => name).join(", ")}.`);
    output.out(args.json ? json(check) : lossText(check));
    return check.ok ? exitCodes.ok : exitCodes.failed;
  },
});
