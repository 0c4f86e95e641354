import type { Argv } from "yargs";
import { HcError } from "../../daemon/lib/errors.js";
import { parseAgo, parsePointInTime } from "../../daemon/lib/point-in-time.js";
import { formatSize } from "../../daemon/lib/sizes.js";
import type { BrowseInfo, FileAnswer, VaultListing } from "../../daemon/vault/routes.js";
import { command, type GlobalOptions } from "../context.js";
import { json, table } from "../output.js";
import { copySite, patiently, reasonOf, restoreWhole, type UnitAnswer, utc } from "../restore.js";
import { unitId } from "../unit-name.js";
import { forgetCommand, groupsCommand, restoreSeveral, snapshotCommand, unitsOfGroup } from "./vault-groups.js";

const times = 'A time is "2026-11-23T17:05:00Z", local time "2026-11-23 17:05[:30]", "10m", "2h", "3d" ago, or the name of a snapshot or of a group snapshot; the newest snapshot at that time or before it is taken.';
/** What the API is told: times of this machine's zone as UTC, the rest as it is (a time "ago" counts from the home's clock). Throws INVALID_INPUT. */
export const atText = (text: string, nowMs: number): string => (parseAgo(text) !== undefined || /^[0-9]+-[0-9]{8}T|^[a-z]/.test(text) ? text : new Date(parsePointInTime(text, nowMs, "--at")).toISOString());
const unitOption = (yargs: Argv<GlobalOptions>) => yargs.positional("unit", { type: "string", demandOption: true, describe: "a site's name, or a unit's id" });
const atOption = (yargs: Argv<GlobalOptions>) => unitOption(yargs).option("at", { type: "string", demandOption: true, describe: "the time", requiresArg: true }).epilog(times);

const listCommand = command<{ unit: string }>({
  command: "list <unit>",
  describe: "the times to which a site can be brought back, and what is browsed now",
  builder: (yargs) => unitOption(yargs).example("$0 list shop", "its snapshots, oldest first"),
  run: async ({ args, output, cluster }) => {
    const answer = await patiently(() => cluster().call<VaultListing>("GET", `/v1/units/${unitId(args.unit)}/vault`, undefined, 70_000));
    if (args.json) output.out(json(answer));
    else {
      output.out(answer.snapshots.length === 0 ? `${answer.unit} has no snapshot yet.\n` : table(["TIME (UTC)", "SNAPSHOT", "GROUP"], answer.snapshots.map((item) => [utc(item.madeMs), item.name, item.group])));
      if (answer.browses.length > 0) output.out(`\n${table(["BROWSED AS", "NODE", "SNAPSHOT", "UNTIL (UTC)", "PATH"], answer.browses.map((item) => [item.id, item.node, item.snapshot, utc(item.expiresAtMs), item.path]))}`);
      for (const node of answer.unreachable) output.err(`not asked: ${node}\n`);
    }
    return answer.unreachable.length === 0 ? 0 : 1;
  },
});

const restoreCommand = command<{ units: string[]; at: string | undefined; group: string | undefined; file: string | undefined; from: string | undefined; timeout: number }>({
  command: "restore [units..]",
  describe: "brings sites, or one file or folder of one, back to a time; the present is kept as a snapshot",
  builder: (yargs) => yargs
    .positional("units", { type: "string", array: true, default: [] as string[], describe: "a site's name, or a unit's id; several are all restored or none" })
    .option("at", { type: "string", requiresArg: true, describe: "the time" })
    .option("group", { type: "string", requiresArg: true, conflicts: ["at", "file", "from"], describe: "instead of a time: a group snapshot; all its sites when none is named" })
    .epilog(times)
    .option("file", { type: "string", requiresArg: true, describe: "only this file or folder, by its path in the unit, such as www/index.php; the site runs on" })
    .option("from", { type: "string", requiresArg: true, conflicts: "file", describe: "another site of the same customer, whose content at that time this one gets" })
    .option("timeout", { type: "number", default: 900, describe: "seconds to wait for the end" })
    .example('$0 restore shop --at "2026-11-23 17:05"', "the whole site; it stands still meanwhile")
    .example("$0 restore shop --at 10m --file www/index.php", "one file as it was ten minutes ago")
    .example("$0 restore shop blog --at 10m", "two sites, each as it was then")
    .example("$0 restore --group before-upgrade", "all sites of a group snapshot"),
  run: async ({ args, output, cluster }) => {
    const group = args.group === undefined ? undefined : await unitsOfGroup(cluster(), args.group);
    const units = args.units.length > 0 ? args.units.map(unitId) : (group?.units ?? []);
    const [unit] = units;
    if (unit === undefined || (args.at === undefined && group === undefined)) throw new HcError("INVALID_INPUT", "Name the sites and the time (--at), or a group snapshot (--group).");
    const at = group?.id ?? atText(args.at as string, Date.now());
    if (units.length > 1 || group !== undefined) {
      if (args.file !== undefined || args.from !== undefined) throw new HcError("INVALID_INPUT", "--file and --from are of one site.");
      await restoreSeveral(cluster(), output, { units, at, timeoutS: args.timeout, json: args.json });
      return 0;
    }
    if (args.file !== undefined) {
      const done = await patiently(() => cluster().call<FileAnswer>("POST", `/v1/units/${unit}/vault/restore`, { at, file: args.file, reason: reasonOf("vault restore") }, args.timeout * 1000));
      output.out(args.json ? json(done) : `${unit}: ${done.path} is what it was at ${utc(done.madeMs)} UTC (${formatSize(done.bytes)}${done.skipped === 0 ? "" : `; ${done.skipped} devices, sockets or fifos left out`}). The present before is snapshot ${done.before}.\n`);
      return 0;
    }
    const end = await restoreWhole(cluster(), unit, args.from === undefined ? { at } : { at, from: unitId(args.from) }, args.timeout, (order) => {
      if (!args.json) output.err(`  ${unit}: to ${order.snapshot} (${utc(order.madeMs)} UTC) on ${order.node}\n`);
    });
    output.out(args.json ? json(end) : `${unit} is what ${args.from === undefined ? "it" : unitId(args.from)} was at ${utc(end.madeMs)} UTC: ${end.detail}. The present before is snapshot ${end.before}.\n`);
    return 0;
  },
});

const copyCommand = command<{ unit: string; at: string; to: string; hostname: string[]; timeout: number }>({
  command: "copy <unit>",
  describe: "makes a new site of what a site was at a time",
  builder: (yargs) => atOption(yargs)
    .option("to", { type: "string", demandOption: true, requiresArg: true, describe: "name of the new site" })
    .option("hostname", { type: "string", array: true, demandOption: true, requiresArg: true, describe: "host names of the new site" })
    .option("timeout", { type: "number", default: 900, describe: "seconds to wait for the end" })
    .example("$0 copy shop --at 1d --to shop-yesterday --hostname old.shop.example", "beside the living one; it belongs to the API, `adopt` takes it into the program"),
  run: async ({ args, output, cluster }) => {
    const [source, unit] = [unitId(args.unit), unitId(args.to)];
    const client = cluster();
    const at = atText(args.at, Date.now());
    const { document, record } = await patiently(() => client.call<UnitAnswer>("GET", `/v1/units/${source}`));
    if (document === null || record === undefined) throw new HcError("NOT_READY", `${source} is not there to be copied.`);
    const end = await copySite(client, { document, to: args.to, hostnames: args.hostname, near: record.home, from: { at, from: source }, timeoutS: args.timeout, elsewhere: `hc vault restore ${args.to} --from ${args.unit} --at ${args.at}` }, (line) => {
      if (!args.json) output.err(`  ${unit}: ${line}\n`);
    });
    output.out(args.json ? json(end) : `${unit} is what ${source} was at ${utc(end.madeMs)} UTC, at ${args.hostname.join(", ")}: ${end.detail}.\n`);
    return 0;
  },
});

const browseCommand = command<{ unit: string; at: string; for: string }>({
  command: "browse <unit>",
  describe: "shows a site's files as they were, read-only, in a folder on its home for a while",
  builder: (yargs) => atOption(yargs).option("for", { type: "string", default: "1h", requiresArg: true, describe: "how long, up to 24h" }).example("$0 browse shop --at 3d --for 2h", "then: hc ssh NODE, and look below the path that it prints"),
  run: async ({ args, output, cluster }) => {
    const made = await patiently(() => cluster().call<BrowseInfo & { madeMs: number }>("POST", `/v1/units/${unitId(args.unit)}/vault/browse`, { at: atText(args.at, Date.now()), for: args.for }, 70_000));
    output.out(args.json ? json(made) : `${made.unit} as it was at ${utc(made.madeMs)} UTC lies on ${made.node} in ${made.path} (root only) until ${utc(made.expiresAtMs)} UTC.\n  hc ssh ${made.node} -- ls ${made.path}/www\n  hc vault close ${made.id}\n`);
    return 0;
  },
});

const closeCommand = command<{ id: string }>({
  command: "close <id>",
  describe: "ends browsing before its time",
  builder: (yargs) => yargs.positional("id", { type: "string", demandOption: true, describe: "as `hc vault list` shows it" }),
  run: async ({ args, output, cluster }) => {
    const done = await patiently(() => cluster().call<object>("DELETE", `/v1/vault/browses/${encodeURIComponent(args.id)}`, undefined, 70_000));
    output.out(args.json ? json(done) : `${args.id} is closed.\n`);
    return 0;
  },
});

export const vaultCommand = {
  command: "vault",
  describe: "sites at earlier times: list, restore, browse, copy, snapshot, groups",
  builder: (yargs: Argv<GlobalOptions>) => yargs.command(listCommand).command(restoreCommand).command(snapshotCommand).command(groupsCommand).command(forgetCommand).command(browseCommand).command(closeCommand).command(copyCommand).demandCommand(1),
  handler: () => undefined,
};
