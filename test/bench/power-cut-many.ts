import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { delay } from "../../daemon/lib/abort.js";
import type { AlertsReport } from "../../daemon/alerts/alerts.js";
import type { EventRecord } from "../../daemon/lib/records.js";
import { machine, percentBetween, type Usage, usageOf } from "../support/node-usage.js";
import { ask, SitesLab, spread } from "../support/sites-lab.js";

/**
 * `npm run bench power-cut [-- --sites 200]`: sites at home on n1 of three nodes, a copy of each on one of the others; n1 loses power; each site is asked for through a surviving node, one request after the
 * other, until its first good answer. Prints the times from the cut with their parts, and what memory and CPU it took.
 */
const { values } = parseArgs({ options: { sites: { type: "string", default: "200" }, minutes: { type: "string", default: "10" } } });
const [count, minutes] = [Number(values.sites), Number(values.minutes)];
const alertsAtMs = 150_000;
const tell = (line: string): void => void process.stderr.write(`${line}\n`);
const names = Array.from({ length: count }, (_, at) => `s${String(at + 1).padStart(3, "0")}`);
const mega = (bytes: number): number => Math.round(bytes / 1_048_576);
const memoryOf = (usage: Usage): Record<string, number> => Object.fromEntries(Object.entries(usage).map(([program, { pssBytes }]) => [program, mega(pssBytes)]));

async function main(): Promise<number> {
  const sites = await SitesLab.make();
  const [victim, ...survivors] = sites.lab.nodes as [(typeof sites.lab.nodes)[number], ...typeof sites.lab.nodes];
  try {
    const empty = await Promise.all(sites.lab.nodes.map((node) => usageOf(node, true)));
    await sites.declare(names, () => ({ placement: { prefer: [victim.name], require: [], avoid: [], pin: "", acrossZones: false } }));
    const createdMs = await sites.untilInStep(names, 40 * 60_000, tell);
    tell(`${count} sites with their copies: ${Math.round(createdMs / 1000)} s`);
    await delay(20_000);
    const units = (await sites.status()).units;
    const replicas: Record<string, number> = {};
    for (const unit of units) replicas[unit.replicas[0]?.node ?? "none"] = (replicas[unit.replicas[0]?.node ?? "none"] ?? 0) + 1;
    const homes = units.filter(({ home }) => home === victim.name).length;
    if (homes !== count) throw new Error(`${homes} of ${count} sites are at home on ${victim.name}`);
    const full = await Promise.all(sites.lab.nodes.map((node) => usageOf(node, true)));
    const before = machine();

    const cutMs = Date.now();
    await sites.lab.node(victim.name).kill();
    tell(`power cut of ${victim.name}; copies: ${JSON.stringify(replicas)}`);
    const begun = Date.now();
    const served = new Map<string, number>();
    const peak: Record<string, Record<string, number>> = {};
    let leastBytes = before.availableBytes;
    const end = cutMs + minutes * 60_000;
    const ended = new AbortController();
    const watch = (async () => {
      for (let look = 0; !ended.signal.aborted; look += 1) {
        // to add up the memory of all their processes takes a second of CPU: seldom
        for (const node of look % 5 === 4 ? survivors : []) {
          const now = memoryOf(await usageOf(node, true).catch(() => ({})));
          peak[node.name] ??= {};
          const most = peak[node.name] as Record<string, number>;
          for (const [program, size] of Object.entries(now)) most[program] = Math.max(most[program] ?? 0, size);
        }
        leastBytes = Math.min(leastBytes, machine().availableBytes);
        tell(`  ${served.size} of ${count} served ${Math.round((Date.now() - cutMs) / 1000)} s after the cut, load ${machine().load}`);
        await delay(5_000, ended.signal).catch(() => undefined);
      }
    })();
    await Promise.all(names.map(async (site, at) => {
      while (Date.now() < end) {
        if ((await ask(survivors[at % survivors.length]?.address as string, `${site}.localhost`)) === 200) return void served.set(site, Date.now() - cutMs);
        await delay(500);
      }
    }));
    ended.abort();
    const doneMs = Date.now() - begun;
    tell(`all served ${Math.round((Date.now() - cutMs) / 1000)} s after the cut`);
    await watch;
    const after = machine();
    const used = await Promise.all(survivors.map((node) => usageOf(node)));
    const events = await sites.call<{ events: EventRecord[] }>("GET", "/v1/events?limit=1000").then((said) => (Array.isArray(said) ? (said as EventRecord[]) : said.events));
    // longer than a customer may be down before a person is told of it
    await delay(Math.max(0, cutMs + alertsAtMs - Date.now()));
    const alerts = (await sites.call<AlertsReport>("GET", "/v1/alerts")).alerts.filter(({ firedAtMs }) => firedAtMs > cutMs).map(({ kind, title, detail, firedAtMs }) => ({ kind, title, detail: detail.slice(0, 500), afterS: Math.round((firedAtMs - cutMs) / 1000) }));
    const dead = events.find(({ event, atMs }) => event === "node-dead" && atMs > cutMs)?.atMs ?? 0;
    const written = events.filter(({ event, atMs }) => event === "failover" && atMs > cutMs).map(({ atMs }) => atMs - cutMs);
    const steps = (await Promise.all(survivors.map((node) => sites.logged(node, "step done", cutMs)))).flat().filter((line) => Number(line["time"]) > cutMs && String(line["task"]).startsWith("site-"));
    const commands: Record<string, { count: number; seconds: number }> = {};
    for (const line of (await Promise.all(survivors.map((node) => sites.logged(node, "command ended", cutMs)))).flat()) {
      const argv = line["argv"] as string[];
      // what was asked of whom, without names: "zfs get snapshot", "zfs set readonly=off", "systemctl start"
      const after = (option: string): (string | undefined)[] => (argv.includes(option) ? [argv[argv.indexOf(option) + 1]] : []);
      const more = argv[1] === "set" ? [argv[2]?.replace(/^(hybridcluster:\w+=).*/, "$1")] : argv[1] === "get" ? [...after("-t"), argv.includes("-r") ? "-r" : ""] : [];
      const kind = [argv[0]?.split("/").at(-1), argv[1], ...more].filter((word) => word !== undefined && word !== "").join(" ");
      commands[kind] ??= { count: 0, seconds: 0 };
      commands[kind].count += 1;
      commands[kind].seconds += Number(line["durationMs"]) / 1000;
    }
    for (const one of Object.values(commands)) one.seconds = Math.round(one.seconds * 10) / 10;
    const kinds = [...new Set(steps.map((line) => String(line["step"])))];
    const perSite = mega(full.slice(0, 1).reduce((sum, usage) => sum + Object.values(usage).reduce((a, { pssBytes }) => a + pssBytes, 0), 0) - empty.slice(0, 1).reduce((sum, usage) => sum + Object.values(usage).reduce((a, { pssBytes }) => a + pssBytes, 0), 0)) / count;
    const seconds = (values: readonly number[]): object => spread(values.map((ms) => ms / 1000));
    const result = {
      benchmark: "power-cut-many", what: "a node with many sites loses power: seconds from the cut to each site's first good answer through a surviving node", cores: cpus().length, node: process.version, sites: count, replicas,
      createdS: Math.round(createdMs / 1000), served: served.size, servedS: seconds([...served.values()]), parts: { deadS: Math.round((dead - cutMs) / 100) / 10, recordWrittenS: seconds(written), stepsMs: Object.fromEntries(kinds.map((kind) => [kind, spread(steps.filter((line) => line["step"] === kind).map((line) => Number(line["durationMs"])))])), commands },
      alerts,
      memoryMiB: { perSiteAtHome: Math.round(perSite * 10) / 10, before: Object.fromEntries(sites.lab.nodes.map(({ name }, at) => [name, memoryOf(full[at] as Usage)])), mostAfter: peak, machineAvailable: { before: mega(before.availableBytes), least: mega(leastBytes) } },
      cpu: { machineBusyPercent: Math.round(((after.busyS - before.busyS) / doneMs) * 1e5), load: after.load, percentOfACore: Object.fromEntries(survivors.map(({ name }, at) => [name, percentBetween(full[at + 1] as Usage, used[at] as Usage, doneMs)])) },
      wanted: { p95S: 60, lastS: 180 },
    };
    mkdirSync("bench-results", { recursive: true });
    writeFileSync(join("bench-results", `power-cut-many-${count}.json`), `${JSON.stringify(result, null, 2)}\n`);
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return served.size === count ? 0 : 1;
  } finally {
    await sites.lab.destroy();
  }
}

main().then((code) => process.exit(code), (error: unknown) => {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exit(1);
});
