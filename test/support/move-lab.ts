import { join } from "node:path";
import { delay } from "../../daemon/lib/abort.js";
import type { UnitRecord } from "../../daemon/lib/records.js";
import { api } from "./hcd-lab.js";
import { ledgerContent } from "./ledger.js";
import type { TestNode } from "./lab.js";
import { SitesLab } from "./sites-lab.js";

export const movedSite = "moved";
export const movedUnit = `site-${movedSite}`;
export const movedHost = `${movedSite}.localhost`;

export interface MoveEnd { state: string; phase: string; detail: string; error: string }
/** One line of hcd's log. */
type Line = Record<string, unknown> & { time: number };
/** ms in each state of a move, as its source has logged them; `last`: what the last increment held. */
export interface MovePhases { ms: Record<string, number>; last: string }

/** Three nodes with one PHP site (test/fixtures/move-site) that is moved between them. */
export class MoveLab {
  private constructor(public readonly sites: SitesLab) {}

  public static async make(logLevel: string): Promise<MoveLab> {
    const sites = await SitesLab.make({ logLevel });
    try {
      const pages = join(process.cwd(), "test", "fixtures", "move-site");
      const sha256 = await sites.ledgerBlob(`set -e; d=$(mktemp -d); cp '${ledgerContent}/index.php' "$d/probe.php"; cp '${pages}/index.php' "$d/"; tar -C "$d" -cz .; rm -r "$d"`);
      await sites.declare([movedSite], () => ({ content: { sha256 }, quota: "512M", limits: { memory: "512M", cpu: 2, tasks: 64 }, hostnames: [movedHost] }));
      await sites.untilInStep([movedSite], 120_000);
      return new MoveLab(sites);
    } catch (error) {
      await sites.lab.destroy();
      throw error;
    }
  }
  public get nodes(): TestNode[] {
    return this.sites.lab.nodes;
  }
  public node(name: string): TestNode {
    return this.sites.lab.node(name);
  }
  public async unit(): Promise<{ home: string; epoch: number; state: string; replicas: string[] }> {
    const found = (await this.sites.status()).units.find(({ id }) => id === movedUnit);
    if (found === undefined) throw new Error(`${movedUnit} is gone`);
    return { home: found.home, epoch: found.epoch, state: found.state, replicas: found.replicas.map(({ node }) => node) };
  }
  /** As etcd has it. */
  public async record(): Promise<UnitRecord> {
    return (await this.sites.call<{ record: UnitRecord }>("GET", `/v1/units/${movedUnit}`)).record;
  }
  /** Host pid of a node's first process. */
  public async pid(name: string): Promise<number> {
    const { lab } = this.sites.lab;
    const pid = lab.pid(await lab.node(name));
    if (pid === undefined) throw new Error(`${name} does not run`);
    return pid;
  }
  public async order(to: string, reason = "bench"): Promise<string> {
    return (await this.sites.call<{ operation: string }>("POST", `/v1/units/${movedUnit}/move`, { to, reason })).operation;
  }
  /** Until it has ended. */
  public async ended(operation: string, withinMs = 120_000): Promise<MoveEnd> {
    const end = performance.now() + withinMs;
    for (;;) {
      const { status, body } = await api(this.sites.any(), "GET", `/v1/operations/${operation}`);
      if (status === 200 && (body as MoveEnd).state !== "running") return body as MoveEnd;
      if (performance.now() > end) throw new Error(`${operation} has not ended: ${JSON.stringify(body)}`);
      await delay(200);
    }
  }
  /** Streams that a node has sent, by kind ("incremental", "full", …). */
  public async streams(node: string): Promise<Record<string, number>> {
    const kinds: Record<string, number> = {};
    for (const [, kind = "", count] of String((await api(this.node(node), "GET", "/metrics")).body).matchAll(/^hc_replication_streams_total\{[^}]*kind="([a-z-]+)"[^}]*\} (\d+)$/gm)) kinds[kind] = (kinds[kind] ?? 0) + Number(count);
    return kinds;
  }
  /** By the log of the source. */
  public async phases(source: string, operation: string, orderedMs: number): Promise<MovePhases> {
    const lines = ((await this.sites.logged(this.node(source), "move goes on", orderedMs)) as Line[]).filter((line) => line["move"] === operation);
    const ms: Record<string, number> = {};
    let sinceMs = orderedMs;
    for (const line of lines) {
      ms[String(line["from"])] = (ms[String(line["from"])] ?? 0) + line.time - sinceMs;
      sinceMs = line.time;
    }
    return { ms, last: String(lines.find((line) => line["from"] === "finalizing")?.["detail"] ?? "") };
  }
  /** Commands that a node has run, each with its end and how long it took; only with the log level "debug". */
  public async commands(node: string, sinceMs: number, untilMs: number): Promise<string[]> {
    return ((await this.sites.logged(this.node(node), "command ended", sinceMs)) as Line[]).filter(({ time }) => time >= sinceMs && time <= untilMs).map((line) => `${line.time - sinceMs} (${String(line["durationMs"])} ms) ${(line["argv"] as string[]).join(" ").slice(0, 160)}`);
  }
  /** Steps of the agent for the unit since then ("mount-writable" → ms); only with the log level "debug". */
  public async steps(node: string, sinceMs: number): Promise<{ step: string; ms: number; atMs: number }[]> {
    return ((await this.sites.logged(this.node(node), "step done", sinceMs)) as Line[]).filter((line) => line["task"] === movedUnit && line.time >= sinceMs).map((line) => ({ step: String(line["step"]), ms: Number(line["durationMs"]), atMs: line.time }));
  }
}
