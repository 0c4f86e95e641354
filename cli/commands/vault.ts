import { hostname, userInfo } from "node:os";
import type { Argv } from "yargs";
import { retry, until } from "../../daemon/lib/backoff.js";
import { errorCode, HcError } from "../../daemon/lib/errors.js";
import { parseAgo, parsePointInTime } from "../../daemon/lib/point-in-time.js";
import type { DesiredDocument } from "../../daemon/lib/documents.js";
import type { RestoreResult, UnitRecord } from "../../daemon/lib/records.js";
import { formatSize } from "../../daemon/lib/sizes.js";
import type { BrowseInfo, FileAnswer, UnitOrder, VaultListing } from "../../daemon/vault/routes.js";
import type { ClusterClient } from "../cluster-client.js";
import { command, type GlobalOptions } from "../context.js";
import { json, table } from "../output.js";
import { unitId } from "../unit-name.js";

const utc = (atMs: number): string => new Date(atMs).toISOString().slice(0, 19).replace("T", " ");
const times = 'A time is "2026-11-23T17:05:00Z", local time "2026-11-23 17:05[:30]", "10m", "2h", "3d" ago, or a snapshot\'s name; the newest snapshot at that time or before it is taken.';
/** What the API is told: times of this machine's zone as UTC, the rest as it is (a time "ago" counts from the home's clock). Throws INVALID_INPUT. */
export const atText = (text: string, nowMs: number): string => (parseAgo(text) !== undefined || /^[0-9]+-[0-9]{8}T/.test(text) ? text : new Date(parsePointInTime(text, nowMs, "--at")).toISOString());
const unitOption = (yargs: Argv<GlobalOptions>) => yargs.positional("unit", { type: "string", demandOption: true, describe: "a site's name, or a unit's id" });
const atOption = (yargs: Argv<GlobalOptions>) => unitOption(yargs).option("at", { type: "string", demandOption: true, describe: "the time", requiresArg: true }).epilog(times);
const reason = (): string => `hc vault restore by ${userInfo().username}@${hostname()}`.slice(0, 200);

/** A home that is just starting, or an etcd that is busy, is asked again for a while; all calls of the vault may be repeated. */
const patiently = <T>(call: () => Promise<T>): Promise<T> =>
  retry("the vault", { firstMs: 300, capMs: 2_000, withinMs: 20_000 }, () => call().catch((error: unknown) => {
    const code = errorCode(error);
    throw error instanceof HcError && code !== "NOT_READY" && code !== "NO_QUORUM" && code !== "NOT_HOME" ? new HcError(error.code, error.message, { context: error.context, retry: "never" }) : error;
  })).catch((error: unknown) => {
    throw error instanceof HcError && error.cause instanceof HcError ? error.cause : error;
  });

const listCommand = command<{ unit: string }>({
  command: "list <unit>",
  describe: "the times to which a site can be brought back, and what is browsed now",
  builder: (yargs) => unitOption(yargs).example("$0 list shop", "its snapshots, oldest first"),
  run: async ({ args, output, cluster }) => {
    const answer = await patiently(() => cluster().call<VaultListing>("GET", `/v1/units/${unitId(args.unit)}/vault`, undefined, 70_000));
    if (args.json) output.out(json(answer));
    else {
      output.out(answer.snapshots.length === 0 ? `${answer.unit} has no snapshot yet.\n` : table(["TIME (UTC)", "SNAPSHOT"], answer.snapshots.map((item) => [utc(item.madeMs), item.name])));
      if (answer.browses.length > 0) output.out(`\n${table(["BROWSED AS", "NODE", "SNAPSHOT", "UNTIL (UTC)", "PATH"], answer.browses.map((item) => [item.id, item.node, item.snapshot, utc(item.expiresAtMs), item.path]))}`);
      for (const node of answer.unreachable) output.err(`not asked: ${node}\n`);
    }
    return answer.unreachable.length === 0 ? 0 : 1;
  },
});

interface UnitAnswer { record?: UnitRecord; document: DesiredDocument<"site"> | null; ready?: boolean }
/** Orders the restore of a whole unit and waits for its end. */
async function restoreWhole(client: ClusterClient, unit: string, body: { at: string; from: string }, timeoutS: number, tell: (order: UnitOrder) => void): Promise<UnitOrder & RestoreResult> {
  const order = await patiently(() => client.call<UnitOrder>("POST", `/v1/units/${unit}/vault/restore`, { ...body, reason: reason() }, 30_000));
  tell(order);
  let seen = false;
  const end = await until(`the restore of ${unit}`, { withinMs: timeoutS * 1000, firstMs: 100, capMs: 500 }, async () => {
    const { record } = await client.call<{ record: UnitRecord }>("GET", `/v1/units/${unit}`);
    if (record.restored?.id === order.id) return record.restored;
    seen ||= record.restore?.id === order.id;
    if (seen && record.restore?.id !== order.id) throw new HcError("CONFLICT", `${unit}: the restore was ended by something else; \`hc events ${unit}\` tells by what.`, { retry: "never" });
    return undefined;
  });
  if (end.error !== "") throw new HcError("IMPOSSIBLE_CHANGE", `${unit} was not restored: ${end.error}`);
  return { ...order, ...end };
}

const restoreCommand = command<{ unit: string; at: string; file: string | undefined; from: string | undefined; timeout: number }>({
  command: "restore <unit>",
  describe: "brings a site, or one file or folder of it, back to a time; the present is kept as a snapshot",
  builder: (yargs) => atOption(yargs)
    .option("file", { type: "string", requiresArg: true, describe: "only this file or folder, by its path in the unit, such as www/index.php; the site runs on" })
    .option("from", { type: "string", requiresArg: true, conflicts: "file", describe: "another site of the same customer, whose content at that time this one gets" })
    .option("timeout", { type: "number", default: 900, describe: "seconds to wait for the end" })
    .example('$0 restore shop --at "2026-11-23 17:05"', "the whole site; it stands still meanwhile")
    .example("$0 restore shop --at 10m --file www/index.php", "one file as it was ten minutes ago"),
  run: async ({ args, output, cluster }) => {
    const unit = unitId(args.unit);
    const at = atText(args.at, Date.now());
    if (args.file !== undefined) {
      const done = await patiently(() => cluster().call<FileAnswer>("POST", `/v1/units/${unit}/vault/restore`, { at, file: args.file, reason: reason() }, args.timeout * 1000));
      output.out(args.json ? json(done) : `${unit}: ${done.path} is what it was at ${utc(done.madeMs)} UTC (${formatSize(done.bytes)}${done.skipped === 0 ? "" : `; ${done.skipped} devices, sockets or fifos left out`}). The present before is snapshot ${done.before}.\n`);
      return 0;
    }
    const end = await restoreWhole(cluster(), unit, { at, from: args.from === undefined ? "" : unitId(args.from) }, args.timeout, (order) => {
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
    const name = unit.replace(/^site-/, "");
    const there = await client.call<object>("GET", `/v1/documents/site/${name}`).then(() => true, (error: unknown) => {
      if (errorCode(error) === "NOT_FOUND") return false;
      throw error;
    });
    if (there) throw new HcError("ALREADY_EXISTS", `There is a site ${name}: choose another name, or give it that content by \`hc vault restore ${name} --from ${args.unit} --at ${args.at}\`.`);
    // near the data: the home needs a copy of the source
    const placement = { prefer: [record.home], require: [], avoid: [], pin: "", acrossZones: document.spec.placement.acrossZones };
    const wanted: DesiredDocument<"site"> = { ...document, name, origin: "api", spec: { ...document.spec, hostnames: args.hostname, placement, content: { sha256: "" } } };
    await client.call("PUT", `/v1/documents/site/${name}`, wanted);
    if (!args.json) output.err(`  ${unit}: is being made\n`);
    await until(`site ${name}`, { withinMs: args.timeout * 1000, firstMs: 200, capMs: 1_000 }, async () => ((await client.call<UnitAnswer>("GET", `/v1/units/${unit}`)).ready === true ? true : undefined));
    const end = await restoreWhole(client, unit, { at, from: source }, args.timeout, (order) => {
      if (!args.json) output.err(`  ${unit}: to ${order.snapshot} of ${source} (${utc(order.madeMs)} UTC) on ${order.node}\n`);
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
  describe: "sites at earlier times: list, restore, browse, copy, close",
  builder: (yargs: Argv<GlobalOptions>) => yargs.command(listCommand).command(restoreCommand).command(browseCommand).command(copyCommand).command(closeCommand).demandCommand(1),
  handler: () => undefined,
};
