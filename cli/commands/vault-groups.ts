import type { Argv } from "yargs";
import type { DesiredDocument } from "../../daemon/lib/documents.js";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import type { GroupInfo, GroupMade, GroupRestoreOrder } from "../../daemon/vault/group-routes.js";
import type { ClusterClient } from "../cluster-client.js";
import { command, type GlobalOptions } from "../context.js";
import { json, type Output, table } from "../output.js";
import { patiently, reasonOf, type UnitRestored, untilRestored, utc } from "../restore.js";
import { unitId } from "../unit-name.js";

const unitsOption = (yargs: Argv<GlobalOptions>) => yargs.positional("units", { type: "string", array: true, default: [] as string[], describe: "names of sites, or ids of units" });
/** Units that are named, and those of a customer. Throws INVALID_INPUT when there is none. */
async function unitsOf(client: ClusterClient, names: readonly string[], customer: string | undefined): Promise<string[]> {
  const { documents } = customer === undefined ? { documents: [] } : await client.call<{ documents: DesiredDocument<"site">[] }>("GET", "/v1/documents?kind=site");
  const units = [...new Set([...names.map(unitId), ...documents.filter(({ spec }) => spec.customer === customer).map(({ name }) => unitId(name))])];
  if (units.length === 0) throw new HcError("INVALID_INPUT", customer === undefined ? "Name the sites, or their customer by --customer." : `The customer ${customer} has no site.`);
  return units;
}

export const snapshotCommand = command<{ units: string[]; customer: string | undefined; name: string; for: string }>({
  command: "snapshot [units..]",
  describe: "a snapshot of one site, or of several at one moment, that is kept whatever the grid says",
  builder: (yargs) => unitsOption(yargs)
    .option("customer", { type: "string", requiresArg: true, describe: "all sites of this customer" })
    .option("name", { type: "string", default: "", requiresArg: true, describe: 'by which it is found again, such as "before-upgrade"; default: made from the time' })
    .option("for", { type: "string", default: "30d", requiresArg: true, describe: "how long it is kept, up to 3650d" })
    .epilog("Sites of one node are of one moment; those of several nodes of nearly one, and it is told how near. At most 32 sites in one, and 16 such snapshots of a site.")
    .example("$0 snapshot shop blog --name before-upgrade", "then: hc vault restore --group before-upgrade")
    .example("$0 snapshot --customer acme", "all of a customer's"),
  run: async ({ args, output, cluster }) => {
    const client = cluster();
    const units = await unitsOf(client, args.units, args.customer);
    const made = await client.call<GroupMade>("POST", "/v1/vault/groups", { units, name: args.name, for: args.for, reason: reasonOf("vault snapshot") }, 60_000);
    if (args.json) output.out(json(made));
    else output.out(`${made.name}: ${made.units.length === 1 ? made.units[0]?.unit : `${made.units.length} units ${made.withinMs === 0 ? "at one moment" : `within ${made.withinMs} ms`}`}, kept until ${utc(made.expiresAtMs)} UTC.\n${table(["UNIT", "HOME", "SNAPSHOT"], made.units.map(({ unit, home, snapshot }) => [unit, home, snapshot]))}`);
    return 0;
  },
});

export const groupsCommand = command<object>({
  command: "groups",
  describe: "snapshots that were made by `hc vault snapshot`, each with its sites",
  run: async ({ args, output, cluster }) => {
    const { groups } = await patiently(() => cluster().call<{ groups: GroupInfo[] }>("GET", "/v1/vault/groups"));
    if (args.json) output.out(json(groups));
    else output.out(groups.length === 0 ? "There is none; `hc vault snapshot` makes one.\n" : table(["NAME", "ID", "MADE (UTC)", "UNTIL (UTC)", "UNITS"], groups.map((group) => [group.name, group.id, utc(group.atMs), utc(group.expiresAtMs), `${group.units.map(({ unit }) => unit).join(", ")}${group.units.length < group.of ? ` (${group.of - group.units.length} deleted since)` : ""}`])));
    return 0;
  },
});

export const forgetCommand = command<{ group: string }>({
  command: "forget <group>",
  describe: "gives a group snapshot up: its snapshots are then ones like any others, which the grid thins out",
  builder: (yargs) => yargs.positional("group", { type: "string", demandOption: true, describe: "name or id, as `hc vault groups` shows them" }),
  run: async ({ args, output, cluster }) => {
    const done = await patiently(() => cluster().call<GroupInfo>("DELETE", `/v1/vault/groups/${encodeURIComponent(args.group)}`, undefined, 60_000));
    output.out(args.json ? json(done) : `${done.name} is given up.\n`);
    return 0;
  },
});

/** Several units: all are ordered or none; then each ends by itself, and one that fails is as it was. Throws the first failure, after all have ended. */
export async function restoreSeveral(client: ClusterClient, output: Output, options: { units: readonly string[]; at: string; timeoutS: number; json: boolean }): Promise<void> {
  const order = await patiently(() => client.call<GroupRestoreOrder>("POST", "/v1/vault/restore", { units: options.units, at: options.at, reason: reasonOf("vault restore") }, 60_000));
  if (!options.json) for (const { unit, snapshot, madeMs, node } of order.units) output.err(`  ${unit}: to ${snapshot} (${utc(madeMs)} UTC) on ${node}\n`);
  const ends = await Promise.allSettled(order.units.map((one) => untilRestored(client, one, options.timeoutS)));
  const failed = ends.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
  if (options.json) output.out(json(ends.map((end, index): UnitRestored | object => (end.status === "fulfilled" ? end.value : { ...order.units[index], error: messageOf(end.reason) }))));
  else
    for (const end of ends)
      if (end.status === "fulfilled") output.out(`${end.value.unit} is what it was at ${utc(end.value.madeMs)} UTC: ${end.value.detail}. The present before is snapshot ${end.value.before}.\n`);
      else if (ends.length > 1) output.err(`${messageOf(end.reason)}\n`);
  if (failed.length > 0) throw failed.length === 1 && ends.length === 1 ? failed[0] : new HcError("IMPOSSIBLE_CHANGE", `${failed.length} of ${ends.length} units were not restored and are as they were; the others can be brought back to the present before (--at its snapshot's name).`, { cause: failed[0] });
}
/** The units of a group snapshot. Throws NOT_FOUND, CONFLICT (two bear that name). */
export async function unitsOfGroup(client: ClusterClient, text: string): Promise<{ id: string; units: string[] }> {
  const { groups } = await patiently(() => client.call<{ groups: GroupInfo[] }>("GET", "/v1/vault/groups"));
  const fitting = groups.filter(({ id, name }) => id === text || name === text);
  const [first] = fitting;
  if (first === undefined) throw new HcError("NOT_FOUND", `There is no group snapshot ${JSON.stringify(text)}; \`hc vault groups\` shows what there is.`);
  if (fitting.length > 1) throw new HcError("INVALID_INPUT", `${fitting.length} groups are named ${text}; say which by its id: ${fitting.map(({ id }) => id).join(", ")}.`);
  return { id: first.id, units: first.units.map(({ unit }) => unit) };
}
