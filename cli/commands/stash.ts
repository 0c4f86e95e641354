import type { Argv } from "yargs";
import type { DesiredDocument } from "../../daemon/lib/documents.js";
import type { StashAnswer } from "../../daemon/replication/stash-routes.js";
import { HcError } from "../../daemon/lib/errors.js";
import type { FileAnswer } from "../../daemon/vault/routes.js";
import type { Difference, Side } from "../../daemon/vault/compare-trees.js";
import type { StashDiff } from "../../daemon/vault/stash-desk.js";
import type { StashAnswerOne } from "../../daemon/vault/stash-desk-routes.js";
import { formatSize } from "../../daemon/lib/sizes.js";
import { command, type GlobalOptions } from "../context.js";
import { json, printable, table } from "../output.js";
import { copySite, patiently, reasonOf, restoreWhole, type UnitAnswer, utc } from "../restore.js";
import { unitId } from "../unit-name.js";

const listCommand = command<object>({
  command: "list",
  describe: "histories that lost: what a node had written when its sites had gone elsewhere",
  run: async ({ args, output, cluster }) => {
    const answer = await cluster().call<StashAnswer>("GET", "/v1/stash", undefined, 30_000);
    if (args.json) output.out(json(answer));
    else {
      output.out(answer.stashes.length === 0 ? "The stash is empty.\n" : table(["ID", "UNIT", "NODE", "EPOCH", "STASHED (UTC)", "USED", "AFTER"], answer.stashes.map((item) => [item.id, item.unit, item.node, String(item.epoch), utc(item.atMs), formatSize(item.usedBytes), item.common === "" ? "(all of it)" : item.common])));
      for (const node of answer.unreachable) output.err(`not asked: ${node}\n`);
    }
    return answer.unreachable.length === 0 ? 0 : 1;
  },
});

const idOption = (yargs: Argv<GlobalOptions>) => yargs.positional("id", { type: "string", demandOption: true, describe: "as `hc stash list` shows it" });
const show = (client: { call<T>(method: "GET", path: string, body?: undefined, timeoutMs?: number): Promise<T> }, id: string): Promise<StashAnswerOne> => patiently(() => client.call<StashAnswerOne>("GET", `/v1/stash/${encodeURIComponent(id)}`, undefined, 30_000));

const showCommand = command<{ id: string }>({
  command: "show <id>",
  describe: "what a history that lost is: whose, of which time, why",
  builder: idOption,
  run: async ({ args, output, cluster }) => {
    const stash = await show(cluster(), args.id);
    if (args.json) output.out(json(stash));
    else {
      const [first, last] = [stash.tail[0], stash.tail.at(-1)];
      const rows = [
        ["unit", `${stash.unit}${stash.customer === "" ? "" : ` of ${stash.customer}`}`], ["on", stash.node], ["epoch", String(stash.epoch)],
        ["starts after", stash.common === null ? "nothing that the unit has too: it is a whole copy" : `${stash.common.name} (${utc(stash.common.madeMs)} UTC)`],
        ["snapshots", first === undefined || last === undefined ? "none after that one: only what was written last" : `${stash.snapshots}, the newest ${last.name} (${utc(last.madeMs)} UTC)`],
        ["stashed", `${utc(stash.stashedAtMs)} UTC; what was written after the newest snapshot is in it too`],
        ["size", `${formatSize(stash.usedBytes)} of its own, ${formatSize(stash.referencedBytes)} with what it shares`], ["why", stash.why],
      ];
      output.out(`${stash.id}\n${rows.map(([name, text]) => `  ${(name as string).padEnd(14)}${text}\n`).join("")}\n  hc stash diff ${stash.id}\n`);
    }
    return 0;
  },
});

const sideText = (side: Side | null): string => (side === null ? "-" : side.kind === "file" ? `${formatSize(side.bytes)}, ${utc(side.mtimeMs)}` : side.kind);
const differenceRow = ({ path, change, other, present, both }: Difference): string[] => [`${change}${both ? ", in both" : ""}`, sideText(other), sideText(present), printable(path)];

const diffCommand = command<{ id: string; limit: number }>({
  command: "diff <id>",
  describe: "the files that a history that lost changed and that the site does not hold so now",
  builder: (yargs) => idOption(yargs)
    .option("limit", { type: "number", default: 200, describe: "differences that are listed, up to 5000; all are counted" })
    .epilog("Compared with the snapshot from which both histories went on, and with the site as the stash's node has it (seconds old). \"in both\": the site changed that entry too, so restoring it takes the newer state away (which is kept as a snapshot).")
    .example("$0 diff site-shop-3-n1-20261123T170500Z --json", "for programs"),
  run: async ({ args, output, cluster }) => {
    const diff = await patiently(() => cluster().call<StashDiff>("GET", `/v1/stash/${encodeURIComponent(args.id)}/diff?limit=${args.limit}`, undefined, 130_000));
    if (args.json) output.out(json(diff));
    else {
      if (diff.differences.length > 0) output.out(table(["CHANGE", "IN THE STASH (UTC)", "NOW (UTC)", "PATH"], diff.differences.map(differenceRow)));
      const more = diff.total - diff.differences.length;
      output.out(`${diff.total === 0 ? "No file differs" : `${diff.total} differ${more > 0 ? `, ${more} of them not shown (--limit)` : ""}`}${diff.same === 0 ? "" : `; ${diff.same} changed just so in both`}${diff.unread === 0 ? "" : `; ${diff.unread} could not be read`}${diff.complete ? "" : "; NOT all was looked at in the time there is"}.\n`);
    }
    return diff.complete ? 0 : 1;
  },
});

const restoreCommand = command<{ id: string; file: string | undefined; to: string | undefined; hostname: string[] | undefined; whole: boolean | undefined; timeout: number }>({
  command: "restore <id>",
  describe: "brings a file, or the whole site, to what a history that lost holds; the present is kept as a snapshot",
  builder: (yargs) => idOption(yargs)
    .option("file", { type: "string", requiresArg: true, conflicts: ["to", "whole"], describe: "this file or folder into the site, by its path in the unit; the site runs on" })
    .option("to", { type: "string", requiresArg: true, conflicts: ["whole"], implies: "hostname", describe: "a new site of it, beside the living one" })
    .option("hostname", { type: "string", array: true, requiresArg: true, describe: "host names of the new site" })
    .option("whole", { type: "boolean", describe: "the whole site; it stands still meanwhile" })
    .option("timeout", { type: "number", default: 900, describe: "seconds to wait for the end" })
    .epilog("What the stash holds stays in it until `hc stash discard`.")
    .example("$0 restore ID --file www/data/orders.txt", "one file")
    .example("$0 restore ID --to shop-lost --hostname lost.shop.example", "look at it as a site of its own"),
  run: async ({ args, output, cluster }) => {
    const client = cluster();
    const { unit, id, document: before, node } = await show(client, args.id);
    const tell = (of: string) => (line: string): void => {
      if (!args.json) output.err(`  ${of}: ${line}\n`);
    };
    if (args.file !== undefined) {
      const done = await patiently(() => client.call<FileAnswer>("POST", `/v1/units/${unit}/vault/restore`, { stash: id, file: args.file, reason: reasonOf("stash restore") }, args.timeout * 1000));
      output.out(args.json ? json(done) : `${unit}: ${printable(done.path)} is what ${id} holds (${formatSize(done.bytes)}). The present before is snapshot ${done.before}.\n`);
    } else if (args.to !== undefined) {
      const living = await client.call<UnitAnswer>("GET", `/v1/units/${unit}`).catch(() => undefined);
      const document: DesiredDocument<"site"> | null = living?.document ?? before;
      if (document === null) throw new HcError("NOT_FOUND", `${unit} is gone, and ${id} bears no definition of it: make a site, then restore into it.`);
      const end = await copySite(client, { document, to: args.to, hostnames: args.hostname ?? [], near: node, from: { stash: id }, timeoutS: args.timeout, elsewhere: "hc stash restore ID --file PATH" }, tell(unitId(args.to)));
      output.out(args.json ? json(end) : `${unitId(args.to)} is what ${id} holds, at ${(args.hostname ?? []).join(", ")}: ${end.detail}.\n`);
    } else if (args.whole === true) {
      const end = await restoreWhole(client, unit, { stash: id }, args.timeout, (order) => tell(unit)(`to ${id} on ${order.node}`));
      output.out(args.json ? json(end) : `${unit} is what ${id} holds: ${end.detail}. The present before is snapshot ${end.before}.\n`);
    } else throw new HcError("INVALID_INPUT", "Say what is to be restored: --file PATH, --to NEW-SITE --hostname NAME, or --whole.");
    return 0;
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
  describe: "histories that lost: list, show, diff, restore, discard",
  builder: (yargs: Argv<GlobalOptions>) => yargs.command(listCommand).command(showCommand).command(diffCommand).command(restoreCommand).command(discardCommand).demandCommand(1),
  handler: () => undefined,
};
