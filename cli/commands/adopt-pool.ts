import type { AdoptAnswer } from "../../daemon/recovery/adopt.js";
import { formatSize } from "../../daemon/lib/sizes.js";
import { command } from "../context.js";
import { json, table } from "../output.js";

const day = (atMs: number | null): string => (atMs === null ? "-" : new Date(atMs).toISOString().slice(0, 19).replace("T", " "));

/** For people. Pure. */
export function adoptText(answer: AdoptAnswer): string {
  if (answer.entries.length === 0) return `${answer.dataset} on ${answer.node} holds no unit.\n`;
  const word = { take: "becomes home", copy: "becomes a copy", keep: "nothing to do", stash: "goes to the stash", blocked: "BLOCKED" } as const;
  const rows = answer.entries.map((entry) => [entry.unit, String(entry.epoch), day(entry.lastAtMs), formatSize(entry.usedBytes), entry.error === "" ? word[entry.action] : "FAILED"]);
  const why = answer.entries.map(({ unit, why: text, owner, error }) => `  ${unit}: ${error === "" ? text : error}${owner === null ? "" : `; its files change owner from ${owner.from.uid}:${owner.from.gid} to ${owner.to.uid}:${owner.to.gid}`}\n`);
  return table(["UNIT", "EPOCH", "NEWEST (UTC)", "USED", "WHAT"], rows) + why.join("");
}

export const adoptPoolCommand = command<{ node: string; from: string | undefined; yes: boolean; "dry-run": boolean }>({
  command: "adopt-pool <node>",
  describe: "brings back the sites that lie on a node's pool and that the cluster does not know as that node's",
  builder: (yargs) => yargs
    .positional("node", { type: "string", demandOption: true, describe: "the node that has the pool" })
    .option("from", { type: "string", describe: "dataset of a pool that was plugged in beside the node's own, such as old/hc; imported before: zpool import -f -R /mnt/old hpool old" })
    .option("yes", { type: "boolean", default: false, describe: "do it; without, the plan is shown" })
    .option("dry-run", { type: "boolean", default: false, describe: "only the plan, whatever else is said" })
    .epilog("For the disks of a dead machine in another one, and after everything else is gone (docs/recovery.md). A site that lives elsewhere with a later history stays there; what the disk holds beyond goes to the stash. It can be repeated.")
    .example("$0 adopt-pool n1", "what lies there, and what would become of it")
    .example("$0 adopt-pool n1 --yes", "brings it back")
    .example("$0 adopt-pool n3 --from old/hc --yes", "copies the sites of a dead machine's pool, imported on n3 as `old`, to n3's own"),
  run: async ({ args, output, cluster }) => {
    const apply = args.yes && !args["dry-run"];
    const answer = await cluster().call<AdoptAnswer>("POST", `/v1/nodes/${encodeURIComponent(args.node)}/adopt`, { apply, from: args.from ?? "" }, 3_600_000);
    if (args.json) output.out(json(answer));
    else {
      output.out(adoptText(answer));
      for (const { node, why } of answer.silent) output.err(`not compared with ${node}: ${why}\n`);
      if (!apply && answer.entries.some(({ action }) => action === "take" || action === "copy" || action === "stash")) output.out("Nothing was changed; say --yes to do it.\n");
    }
    return answer.entries.some(({ action, error }) => action === "blocked" || error !== "") ? 1 : 0;
  },
});
