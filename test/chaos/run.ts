import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { delay } from "../../daemon/lib/abort.js";
import type { EventRecord } from "../../daemon/lib/records.js";
import type { Status, StatusUnit } from "../../daemon/lib/status.js";
import type { Lab } from "../../providers/lab/lab.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { HcProject } from "../support/hc-project.js";
import { debrisOf } from "../support/kill-matrix.js";
import { judgeLedger, LedgerClient, ledgerContent, type Outcome, readLedger } from "../support/ledger.js";
import { type Fault, type FaultKind, faultKinds, faultsOf, faultText } from "./faults.js";
import { inflict, prepareClock } from "./inflict.js";

export interface ChaosOptions { seed: number; minutes: number; nodes?: number; sites?: number; only?: readonly FaultKind[]; /** Those in order, each at a home of a site. */ each?: boolean; /** Ends after so many faults. */ faults?: number; /** How long each lasts, instead of the seed's word. */ seconds?: number; /** Every fault hits a home of a site, and every second one the node of etcd's leader (a site is moved there when none is). */ etcdLeader?: boolean; tell?(line: string): void }
/** One fault and what followed. Times in ms from its beginning; `gaps`: for each site the longest time without an acknowledged record anywhere. `parts` of failovers: declared dead, written, first record acknowledged. */
export interface Struck { fault: string; kind: FaultKind; healedMs: number; gaps: Record<string, number>; failovers: { site: string; deadMs: number; writtenMs: number; servedMs: number; lossS: number }[]; lost: number; etcdLeader?: boolean }
export interface ChaosReport { seed: number; nodes: number; sites: number; struck: Struck[]; acknowledged: number; refused: number; lost: number; violations: string[] }

const healWithinMs = 120_000;

/** Seeded faults on a real lab, with clients that write numbered records through every node all the time; after each fault the invariants are checked. The lab is gone afterwards. */
export async function chaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, minutes, nodes: count = 3, sites: siteCount = 3, tell = () => undefined } = options;
  const project = new HcProject(`chaos-${process.pid}-${seed}`);
  const names = Array.from({ length: siteCount }, (_, at) => `l${at + 1}`);
  project.wish.nodes = count;
  project.wish.sites = Object.fromEntries(names.map((name) => [name, { content: ledgerContent, quota: "256M" }]));
  const report: ChaosReport = { seed, nodes: count, sites: siteCount, struck: [], acknowledged: 0, refused: 0, lost: 0, violations: [] };
  let clients: LedgerClient[] = [];
  try {
    const up = await project.operate("up");
    if (up.result?.result !== "succeeded") throw new Error(up.error);
    const lab = project.lab();
    const run = new Run(project, lab, names, report, tell);
    await run.healed("the beginning");
    if ((options.only ?? faultKinds).includes("clock")) {
      for (const node of run.nodes) await prepareClock(lab, node);
      await run.healed("clocks that can be put");
    }
    clients = await run.clients();
    const next = faultsOf(seed, run.nodes, options.only, options.each);
    const end = performance.now() + minutes * 60_000;
    for (let number = 1; performance.now() < end && number <= (options.faults ?? 1_000) && report.violations.length === 0; number += 1) {
      await delay(2_000); // records of a healthy time, for each site at each node
      const fault = { ...next(await run.homes()), ...(options.seconds === undefined ? {} : { seconds: options.seconds }) };
      await (options.etcdLeader === true ? run.strike({ ...fault, node: await run.aim(number % 2 === 0) }, number % 2 === 0) : run.strike(fault));
    }
    await run.judge((await Promise.all(clients.map((client) => client.stop()))).flat());
    clients = [];
    return report;
  } finally {
    await Promise.all(clients.map((client) => client.stop()));
    await closeConnections();
    if (report.violations.length > 0) tell(`what the nodes told of it: ${await keepJournals(project, seed)}`);
    if (report.violations.length === 0 || process.env["HC_CHAOS_KEEP"] === undefined) await project.remove();
    else tell(`the lab is kept: ${project.folder}`);
  }
}

/** All that each node's journal holds, in a file each. Returns their folder. */
async function keepJournals(project: HcProject, seed: number): Promise<string> {
  const folder = resolve("bench-results", `chaos-${seed}`);
  mkdirSync(folder, { recursive: true });
  for (const { name } of await project.lab().nodes()) writeFileSync(join(folder, `${name}.log`), await project.inside(name, "journalctl -b -o short-precise --no-pager").catch((error: Error) => error.message));
  return folder;
}

class Run {
  public nodes: string[] = [];
  private addresses: Record<string, string> = {};
  private all: LedgerClient[] = [];
  /** Outcomes of clients that stood inside a node while it was struck. */
  private readonly witnessed: Outcome[] = [];
  private readonly struck: { fault: Fault; atMs: number; into: Struck }[] = [];
  /** Ids of events of earlier faults; their times are no order while wall clocks jump. */
  private readonly told = new Set<string>();
  public constructor(private readonly project: HcProject, private readonly lab: Lab, private readonly sites: readonly string[], private readonly report: ChaosReport, private readonly say: (line: string) => void) {}

  private status(): Promise<Status> {
    return this.project.status();
  }
  public async homes(): Promise<string[]> {
    return (await this.status()).units.map(({ home }) => home);
  }
  /** A home of a site that is the node of etcd's leader, or is not. */
  public async aim(atLeader: boolean): Promise<string> {
    const { voters } = await this.project.json<{ voters: { node: string; leader: boolean }[] }>(["quorum", "status"]);
    const leader = voters.find((voter) => voter.leader)?.node as string;
    const homes = await this.homes();
    const found = homes.find((node) => (node === leader) === atLeader);
    if (found !== undefined) return found;
    const to = atLeader ? leader : (this.nodes.find((node) => node !== leader) as string);
    const moved = await this.project.hc(["move", this.sites[0] as string, "--to", to]);
    if (moved.code !== 0) throw new Error(`${this.sites[0]} was not moved to ${to}: ${moved.stderr}`);
    await this.healed(`the move to ${to}`);
    return to;
  }
  /** One client a site and node, from outside; they outlive the faults. */
  public async clients(): Promise<LedgerClient[]> {
    for (const node of this.nodes) for (const site of this.sites) this.all.push(new LedgerClient({ address: this.addresses[node] as string, host: `${site}.localhost`, name: `${site}-${node}`, everyMs: 250, maxMs: 3_600_000 }));
    return this.all;
  }

  /** Every node alive, every site served with its copies in step, nothing that needs a person, nothing left behind. */
  public async healed(what: string): Promise<number> {
    const begun = performance.now();
    let last = "";
    let told = begun;
    while (performance.now() - begun < healWithinMs) {
      try {
        const seen = await this.status();
        this.nodes = seen.nodes.map(({ name }) => name);
        this.addresses = Object.fromEntries(seen.nodes.map(({ name, address }) => [name, address]));
        const wrong = [...seen.nodes.filter(({ alive, pool, etcd }) => !alive || pool?.health !== "ONLINE" || !etcd.healthy).map(({ name }) => `${name} is not well`), ...seen.units.filter((unit) => !inStep(unit)).map((unit) => `${unit.id}: ${unit.state} on ${unit.home}; ${JSON.stringify(unit.replicas)} ${unit.error}`), ...seen.attention.map(({ what: told }) => told)];
        const debris = wrong.length === 0 ? await debrisOf(this.project) : [];
        if (wrong.length === 0 && debris.every((one) => Object.values(one as object).every((left) => !Array.isArray(left) || left.length === 0))) return performance.now() - begun;
        last = wrong.length > 0 ? wrong.join("; ") : JSON.stringify(debris);
      } catch (error) {
        last = (error as Error).message.slice(0, 500);
      }
      if (performance.now() - told > 20_000) {
        told = performance.now();
        this.say(`         waits: ${last}`);
      }
      await delay(250);
    }
    this.report.violations.push(`${what}: not healed within ${healWithinMs / 1000} s: ${last}`);
    return Number.POSITIVE_INFINITY;
  }

  public async strike(fault: Fault, etcdLeader?: boolean): Promise<void> {
    const atMs = Date.now();
    const text = `${faultText(fault)}${etcdLeader === true ? ", with etcd's leader" : ""}`;
    this.say(`${new Date(atMs).toISOString().slice(11, 19)} ${text}`);
    const into: Struck = { fault: text, kind: fault.kind, healedMs: 0, gaps: {}, failovers: [], lost: 0, ...(etcdLeader === undefined ? {} : { etcdLeader }) };
    this.struck.push({ fault, atMs, into });
    // on the other side of a cut, or beside processes that were stopped, somebody goes on asking too
    const inside = fault.kind.startsWith("cut") || fault.kind.startsWith("pause") ? this.lab.pid(await this.lab.node(fault.node)) : undefined;
    const witnesses = inside === undefined ? [] : this.sites.map((site) => new LedgerClient({ address: "127.0.0.1", host: `${site}.localhost`, name: `${site}-in${this.struck.length}`, everyMs: 250, maxMs: 600_000, inside }));
    const heal = await inflict(this.lab, fault);
    await delay(fault.seconds * 1000);
    await heal();
    await this.healed(into.fault);
    this.witnessed.push(...(await Promise.all(witnesses.map((client) => client.stop()))).flat());
    into.healedMs = Date.now() - atMs;
    await delay(1_000); // acknowledged by then, whatever waited at an edge
    const outcomes = this.all.flatMap((client) => client.acknowledged);
    const events = (await this.project.json<(EventRecord & { id: string })[]>(["events", "--limit", "1000"])).filter(({ id }) => !this.told.has(id));
    for (const { id } of events) this.told.add(id);
    for (const site of this.sites) {
      const own = outcomes.filter(({ id }) => id.startsWith(`${site}-`)).map(({ endMs, epoch }) => ({ endMs, epoch })).sort((a, b) => a.endMs - b.endMs);
      // a gap that still lasts counts too
      into.gaps[site] = [...own, { endMs: Date.now() }].reduce((longest, { endMs }, index) => (endMs < atMs ? longest : Math.max(longest, endMs - Math.max(atMs, own[index - 1]?.endMs ?? atMs))), 0);
      for (const event of events) {
        const said = event.unit === `site-${site}` && event.event === "failover" ? /^([^ ]+) is dead; .*epoch ([0-9]+),.*at most ([0-9]+) s/.exec(event.detail) : null;
        if (said === null) continue;
        const dead = events.filter((one) => one.event === "node-dead" && one.detail.startsWith(`${said[1]},`) && one.atMs <= event.atMs + 1_000).at(-1);
        into.failovers.push({ site, deadMs: (dead?.atMs ?? 0) - atMs, writtenMs: event.atMs - atMs, servedMs: (own.find(({ epoch }) => epoch >= Number(said[2]))?.endMs ?? 0) - atMs, lossS: Number(said[3]) });
      }
    }
    const longest = Math.max(...Object.values(into.gaps));
    this.say(`         healed after ${(into.healedMs / 1000).toFixed(1)} s, longest gap ${(longest / 1000).toFixed(1)} s${into.failovers.map(({ site, deadMs, writtenMs, servedMs, lossS }) => `; ${site}: dead ${deadMs}, written ${writtenMs}, served ${servedMs} ms, may miss ${lossS} s`).join("")}`);
    this.report.struck.push(into);
  }

  /** After the last fault: the ledgers against all that was acknowledged. */
  public async judge(outcomes: readonly Outcome[]): Promise<void> {
    for (const site of this.sites) {
      const own = [...outcomes, ...this.witnessed].filter(({ id }) => id.startsWith(`${site}-`));
      const ledger = await readLedger(this.addresses[this.nodes[0] as string] as string, `${site}.localhost`);
      if (ledger === undefined) {
        this.report.violations.push(`${site} cannot be read`);
        continue;
      }
      const verdict = judgeLedger(own, ledger);
      this.report.violations.push(...verdict.violations.map((text) => `${site}: ${text}`));
      this.report.acknowledged += verdict.acknowledged;
      this.report.refused += own.length - verdict.acknowledged;
      for (const lost of verdict.lost) {
        // a record may be missing when the failover of a fault said so: not older than that many seconds before the fault
        // (an answer that had left a worker before its node was cut off is delivered by the kernel when the cable is plugged in again, and counts from when it was asked; what is asked later is a violation, as is any late answer of processes that were stopped)
        const excused = this.struck.filter(({ fault, atMs, into }) => into.failovers.some((one) => one.site === site && lost.endMs >= atMs - one.lossS * 1000 && (fault.kind.startsWith("cut") ? lost.sentMs : lost.endMs) <= atMs + one.writtenMs));
        if (excused.length === 0) this.report.violations.push(`${site}: ${lost.id}, acknowledged ${new Date(lost.endMs).toISOString()} by ${lost.node} at epoch ${lost.epoch}, is gone, and no failover told of it`);
        for (const { into } of excused.slice(-1)) into.lost += 1;
        this.report.lost += 1;
      }
    }
  }
}

function inStep(unit: StatusUnit): boolean {
  return unit.state === "serving" && unit.error === "" && unit.replicas.length > 0 && unit.replicas.every(({ state, lagSeconds }) => state === "replica" && lagSeconds !== null && lagSeconds <= 10);
}
