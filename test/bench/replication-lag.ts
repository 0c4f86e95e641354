import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { delay } from "../../daemon/lib/abort.js";
import { makeSnapshotName, parseSnapshotName } from "../../daemon/zfs/snapshot-name.js";
import { machine, percentBetween, type Usage, usageOf } from "../support/node-usage.js";
import { ask, SitesLab, spread } from "../support/sites-lab.js";
import { type Confirmation, exposures, sampledLag, uncertain, type Write } from "../support/write-lag.js";

/**
 * `npm run bench lag [-- --sites 50 --seconds 180 --every 10000 --idle 60 --aged 0]`: sites with two copies on a real three-node lab, each written to every so often (one fsync'd record, as an application does it).
 * Lag of a site = age of its oldest acknowledged write that no copy has, sampled each second from the clients' own times and the moments at which copies confirmed; nothing of it is taken from what hcd
 * says of its lag. Whether a snapshot that was begun just before a write was acknowledged holds it (a snapshot waits for its transaction group) is looked up in the copy itself. Then nobody writes: snapshots that are made (0 wanted), and CPU of each program of each node. `--aged N`: each site gets so many snapshots more beforehand, at its home and its copy (an hour of writes leaves some 300). `--keep SECONDS` leaves the idle lab for a profiler.
 */
const { values } = parseArgs({ options: { sites: { type: "string", default: "50" }, seconds: { type: "string", default: "180" }, every: { type: "string", default: "10000" }, idle: { type: "string", default: "60" }, keep: { type: "string", default: "0" }, aged: { type: "string", default: "0" } } });
const [count, seconds, everyMs, idleS, aged] = [Number(values.sites), Number(values.seconds), Number(values.every), Number(values.idle), Number(values.aged)];
const tell = (line: string): void => void process.stderr.write(`${line}\n`);
const names = Array.from({ length: count }, (_, at) => `s${String(at + 1).padStart(3, "0")}`);

/** One client a site, each at its own moment of the period, through all nodes in turn. */
async function write(addresses: readonly string[], untilMs: number): Promise<{ writes: Write[]; refused: number }> {
  const writes: Write[] = [];
  let refused = 0;
  await Promise.all(names.map(async (site, at) => {
    await delay((everyMs * at) / count);
    for (let number = 0; Date.now() < untilMs; number += 1) {
      const begunMs = Date.now();
      const status = await ask(addresses[(at + number) % addresses.length] as string, `${site}.localhost`, { method: "POST", path: `/?add=${site}-${number}` });
      if (status === 200) writes.push({ site, ackMs: Date.now(), record: `${site}-${number}` });
      else refused += 1;
      await delay(Math.max(10, begunMs + everyMs - Date.now()));
    }
  }));
  return { writes, refused };
}

/** What an hour of writes would have left, by hand: snapshots at the home, and one stream of them all to the copy. ms that it took. */
async function age(sites: SitesLab): Promise<number> {
  const beganMs = performance.now();
  const { units } = await sites.status();
  for (const { name: node } of sites.lab.nodes) {
    const home = sites.lab.node(node);
    const own = units.filter((unit) => unit.home === node);
    const made = await Promise.all(own.map(async ({ name, replicas }) => {
      const dataset = `hpool/hc/site-${name}`;
      const [last, first] = [Date.now() - 60_000, Date.now() - 60_000 - aged];
      const snapshots = Array.from({ length: aged }, (_, at) => `${dataset}@${makeSnapshotName(1, first + at, node)}`);
      const base = (await home.sh(`zfs list -H -t snapshot -o name -s creation -r -d 1 ${dataset} | tail -n 1`, { timeoutMs: 60_000 })).trim();
      await home.runner.run(["bash", "-c", "while read -r snapshot; do zfs snapshot \"$snapshot\" || exit 1; done"], { timeoutMs: 1_200_000, input: Buffer.from(`${snapshots.join("\n")}\n`) });
      return { dataset, base, last: `${dataset}@${makeSnapshotName(1, last - 1, node)}`, copies: replicas.filter((one) => one.node !== node).map((one) => one.node) };
    }));
    tell(`${node}: ${own.length} sites have them`);
    await Promise.all(made.map(async ({ dataset, base, last, copies }) => {
      const stream = Buffer.from(await home.sh(`zfs send -I ${base} ${last} | base64 -w0`, { timeoutMs: 600_000, maxOutputBytes: 64 << 20 }), "base64");
      for (const copy of copies) await sites.lab.node(copy).ok(["zfs", "receive", "-u", dataset], { timeoutMs: 1_200_000, input: stream });
    }));
    tell(`${node}: and their copies`);
  }
  return performance.now() - beganMs;
}

async function main(): Promise<number> {
  const sites = await SitesLab.make();
  const nodes = sites.lab.nodes;
  try {
    const sha256 = await sites.ledgerBlob();
    await sites.declare(names, () => ({ content: { sha256 } }));
    tell(`${count} sites with their copies: ${Math.round((await sites.untilInStep(names, 15 * 60_000, tell)) / 1000)} s`);
    await delay(15_000);
    const usages = (): Promise<Usage[]> => Promise.all(nodes.map((node) => usageOf(node)));
    const confirmations = async (sinceMs: number): Promise<Confirmation[]> => (await Promise.all(nodes.map((node) => sites.logged(node, "replica confirmed", sinceMs)))).flat().map((line) => ({ site: String(line["unit"]).replace("site-", ""), takenMs: parseSnapshotName(String(line["snapshot"]))?.atMs ?? 0, confirmedMs: Number(line["time"]), snapshot: String(line["snapshot"]), node: String(line["peer"]) }));
    /** The copy's own word, by a clone of its snapshot. */
    const inCopy = async ({ site, snapshot, node }: Confirmation, record: string): Promise<boolean> =>
      (await sites.lab.node(node).sh(`zfs clone -o mountpoint=/mnt/look -o readonly=on hpool/hc/site-${site}@${snapshot} hpool/look; [ -d /mnt/look/www ]; grep -Eqs ' ${record}$' /mnt/look/www/ledger.txt && echo yes || echo no; zfs unmount hpool/look; zfs destroy hpool/look`, { timeoutMs: 60_000 })).includes("yes");

    const addresses = nodes.map(({ address }) => address);
    if (aged > 0) tell(`${aged} snapshots more of each site: ${Math.round((await age(sites)) / 1000)} s`);
    await sites.untilInStep(names, 120_000, tell);
    await delay(5_000);

    tell(`writes: each site every ${everyMs} ms for ${seconds} s`);
    const [beganMs, busy, before] = [Date.now(), machine(), await usages()];
    const { writes, refused } = await write(addresses, beganMs + seconds * 1000);
    const [endedMs, busyAfter, after] = [Date.now(), machine(), await usages()];
    await sites.untilInStep(names, 120_000, tell);
    await delay(20_000);
    const confirmed = await confirmations(beganMs - 5_000);
    const doubtful = uncertain(writes, confirmed);
    const held: typeof doubtful = [];
    for (const one of doubtful) if (await inCopy(one.confirmation, one.write.record)) held.push(one);
    tell(`${doubtful.length} snapshots were begun just before a write was acknowledged; ${held.length} of them hold it`);
    const exposed = exposures(writes, confirmed, (write, confirmation) => held.some((one) => one.write === write && one.confirmation === confirmation));
    const lag = sampledLag(writes, exposed, { fromMs: beganMs + everyMs, untilMs: endedMs, everyMs: 1_000 });
    // which they were: where each of them waited is in the nodes' logs (`--keep`)
    const slowest = writes.map((one, at) => ({ ...one, exposedMs: exposed[at] as number })).sort((x, y) => y.exposedMs - x.exposedMs).slice(0, 10);

    // as an administrator runs it: the log at its usual level
    await Promise.all(nodes.map((node) => node.sh("rm -f /etc/systemd/system/hcd.service.d/log.conf; systemctl daemon-reload; systemctl restart hcd.service")));
    await delay(10_000);
    await sites.untilInStep(names, 120_000, tell);
    await delay(60_000); // what a process compiles in its first minute is over
    tell(`idle for ${idleS} s`);
    const snapshots = async (): Promise<number> => (await Promise.all(nodes.map(async (node) => (await node.ok(["zfs", "list", "-H", "-t", "snapshot", "-o", "name"], { timeoutMs: 60_000 })).split("\n").filter((line) => line.includes("/hc/site-")).length))).reduce((a, b) => a + b, 0);
    const idleSnapshots = await snapshots();
    await delay(5_000); // what the count itself cost is over
    const [idleBeganMs, idleBusy, idleBefore] = [Date.now(), machine(), await usages()];
    await delay(idleS * 1000);
    tell("idle over");
    const [idleMs, idleBusyAfter, idleAfter] = [Date.now() - idleBeganMs, machine(), await usages()];
    const made = (await snapshots()) - idleSnapshots;
    const homes: Record<string, number> = {};
    for (const { home } of (await sites.status()).units) homes[home] = (homes[home] ?? 0) + 1;
    const cpu = (from: Usage[], to: Usage[], ms: number): object => Object.fromEntries(nodes.map(({ name }, at) => [name, percentBetween(from[at] as Usage, to[at] as Usage, ms)]));
    const result = {
      benchmark: "replication-lag", what: "seconds in which an acknowledged write is on one node only", cores: cpus().length, node: process.version, sites: count, homes, everyMs, seconds, aged,
      writes: writes.length, refused, never: exposed.filter((ms) => !Number.isFinite(ms)).length,
      lagS: spread(lag.map((ms) => ms / 1000)), writeExposedS: spread(exposed.filter(Number.isFinite).map((ms) => ms / 1000)), confirmations: confirmed.length, doubtful: { snapshots: doubtful.length, heldTheWrite: held.length }, slowest,
      snapshotsMadeIdle: made, machineBusyPercent: { writing: Math.round(((busyAfter.busyS - busy.busyS) / (endedMs - beganMs)) * 1e5), idle: Math.round(((idleBusyAfter.busyS - idleBusy.busyS) / idleMs) * 1e5) }, load: { writing: busyAfter.load, idle: idleBusyAfter.load },
      cpuPercentOfACore: { writing: cpu(before, after, endedMs - beganMs), idle: cpu(idleBefore, idleAfter, idleMs) }, wanted: { lagP99S: 10, snapshotsMadeIdle: 0, hcdControlIdlePercent: 2 },
    };
    mkdirSync("bench-results", { recursive: true });
    writeFileSync(join("bench-results", "replication-lag.json"), `${JSON.stringify(result, null, 2)}\n`);
    process.stdout.write(`${JSON.stringify(result)}\n`);
    if (Number(values.keep) > 0) tell(`the lab stays for ${values.keep} s: ${sites.lab.lab.place.dir}`);
    await delay(Number(values.keep) * 1000);
    return 0;
  } finally {
    await sites.lab.destroy();
  }
}

main().then((code) => process.exit(code), (error: unknown) => {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exit(1);
});
