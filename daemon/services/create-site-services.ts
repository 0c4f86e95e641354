import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, stat, unlink } from "node:fs/promises";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import type { CommandRunner } from "../lib/command.js";
import { HcError, messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import { defaultPorts, type HostConfig } from "../lib/node-config.js";
import type { Platform, ServiceDefinition } from "../platform/platform.js";
import { Apache } from "./apache.js";
import { ask } from "./ask.js";
import { ConfigFolder, compareConfigs } from "./config-set.js";
import { prepareRoot, siteService } from "./container.js";
import { readSiteLog } from "./log-files.js";
import { type Programs, programs } from "./programs.js";
import { fpmText, vhostText } from "./render-config.js";
import { SiteEtc } from "./site-etc.js";
import { servicePaths, siteServiceName, siteServicePrefix, socketPath, unitOfService, webUser } from "./site-paths.js";
import type { SiteRun, SiteServices } from "./site-services.js";
import { trimLogs } from "./trim-logs.js";

export interface SiteServicesOptions {
  platform: Platform;
  host: Pick<HostConfig, "paths" | "ports">;
  runner: CommandRunner;
  log: Logger;
}
const checkMs = 10_000;
const testMs = 60_000;
/** A site's FPM log holds starts and crashes only; what PHP says is in Apache's, which rotates. */
const fpmLogBytes = 1 << 20;

/** In the place of a digest while a container is being started: whatever runs then is stopped before the next try. */
const startingMark = "starting";

const accountKey = ({ user, uid, gid }: { user: string; uid: number; gid: number }): string => `${user}:${uid}:${gid}`;
/** A pool's text as it is in every epoch of the unit. */
export const withoutEpoch = (text: string): string => text.replace(/^env\[HC_EPOCH\] = .*$/m, "");

/** The services of sites on this node; see DESIGN.md. */
export function createSiteServices(options: SiteServicesOptions): SiteServices {
  return new NodeSiteServices(options);
}

class NodeSiteServices implements SiteServices {
  private readonly paths;
  private readonly apache: Apache;
  private readonly vhosts: ConfigFolder;
  private readonly pools: ConfigFolder;
  private readonly etc: SiteEtc;
  private found: Promise<{ programs: Programs; key: Buffer; webGid: number }> | undefined;
  /** Accounts that the last configure() has seen or made. */
  private readonly accounts = new Set<string>();
  /** configure() calls run one after the other: they share the staging folders. */
  private turn: Promise<unknown> = Promise.resolve();

  public constructor(private readonly options: SiteServicesOptions) {
    this.paths = servicePaths(options.host);
    this.vhosts = new ConfigFolder(this.paths.sitesFolder);
    this.pools = new ConfigFolder(this.paths.fpmFolder);
    const { http, https } = options.host.ports;
    // a site asks itself at the ports of its URLs: where others stand before this proxy (a balancer, other ports), it goes their way
    this.etc = new SiteEtc(this.paths.etcFolder, http === defaultPorts.http && https === defaultPorts.https);
    this.apache = new Apache({ ...options, paths: this.paths, port: options.host.ports.apache });
  }

  private looks = 0;

  public ensureBase(): Promise<void> {
    return this.inTurn(async () => {
      await this.ensureFolders();
      await this.apache.ensure((await this.facts()).programs);
    });
  }

  /** Asked every few seconds: what sites see of the host is kept as it is there, and their logs small, by every third look. */
  public async baseAnswers(): Promise<boolean> {
    const third = this.looks++ % 3 === 0;
    if (third) await trimLogs(this.paths.fpmLogFolder, fpmLogBytes).catch((error: unknown) => this.options.log.warn({ reason: messageOf(error) }, "logs of PHP could not be cut"));
    if (this.options.platform.name === "linux" && third) await this.etc.refresh().catch((error: unknown) => this.options.log.warn({ reason: messageOf(error) }, "what sites see of the host's /etc could not be renewed"));
    return this.apache.answers();
  }

  public repairBase(): Promise<void> {
    return this.inTurn(() => this.apache.repair());
  }

  public configure(sites: readonly SiteRun[]): Promise<{ changed: boolean }> {
    return this.inTurn(async () => {
      const { programs: found } = await this.facts();
      await this.ensureFolders();
      await this.ensureUsers(sites);
      const [vhosts, pools] = [await this.vhosts.read(), await this.pools.read()];
      const rendered = await this.render(sites);
      const poolChange = compareConfigs(pools, rendered.pools, rendered.refused);
      await this.testPools(found, sites, poolChange.write);
      const vhostChange = compareConfigs(vhosts, rendered.vhosts, rendered.refused);
      const changed = await this.apache.change(found, this.vhosts, vhostChange, vhosts);
      await this.pools.apply(poolChange, pools);
      if (this.options.platform.name === "linux") await this.etc.follow(sites).catch((error: unknown) => this.options.log.warn({ reason: messageOf(error) }, "sites that run do not learn of their new host names"));
      await this.defineServices(sites.filter((site) => !rendered.refused.has(site.unit)), found);
      await this.forgetServices(new Set(sites.map((site) => site.unit)));
      return { changed: changed || poolChange.write.size > 0 || poolChange.remove.length > 0 };
    });
  }

  public async start(site: SiteRun, stillHere: () => Promise<void> = async () => undefined, closing: () => Promise<void> = async () => undefined): Promise<void> {
    const { platform } = this.options;
    const { programs: found, key, webGid } = await this.facts();
    await this.ensureFolders();
    const socket = socketPath(this.paths.socketFolder, site.unit, key);
    const text = fpmText(site, socket, this.fpmLog(site.unit));
    const service = this.serviceOf(site, found);
    const digest = createHash("sha256").update(text).update(JSON.stringify(service)).digest("hex");
    const mark = this.startMark(site.unit);
    // what runs may have been started from another text, also by a predecessor that crashed: the mark tells. Without one nothing runs: it is there before a start, and goes after a stop.
    // All states are asked for: starts that come together, and the agent's rounds, share one command.
    const marked = await readFileIfAny(mark);
    const state = marked === undefined ? undefined : (await platform.serviceStates(siteServicePrefix)).get(service.name);
    if (state === "active" && marked === digest) return;
    const config = this.poolFile(site.unit);
    const before = await readFileIfAny(config);
    if (before !== text) {
      // what lies there was tested; another epoch, which is a number of ours, needs no second test (a node that takes over many sites has better things to do)
      if (before === undefined || withoutEpoch(before) !== withoutEpoch(text)) await this.testPools(found, [site], new Map([[site.unit, text]]));
      await writeFileAtomic(config, text, { mode: 0o600 });
    }
    if (!this.accounts.has(accountKey(site))) await platform.ensureUser(site.user, site.uid, site.gid);
    if (state === "active" || state === "activating") {
      await closing();
      await platform.stopService(service.name);
    }
    await unlink(mark).catch(() => undefined);
    if (platform.name === "linux") await this.etc.prepare(site);
    await stillHere();
    await prepareRoot(site, platform.name, webGid);
    await stillHere();
    await platform.defineService(service);
    await writeFileAtomic(mark, startingMark);
    if (state === "failed") await platform.restartService(service.name);
    else await platform.startService(service.name);
    await writeFileAtomic(mark, digest);
  }

  public async stop(unit: string): Promise<void> {
    await this.options.platform.stopService(siteServiceName(unit));
    await unlink(this.startMark(unit)).catch(() => undefined);
  }

  public async states(): Promise<Map<string, "active" | "failed" | "inactive">> {
    const states = await this.options.platform.serviceStates(siteServicePrefix);
    return new Map([...states].map(([name, state]) => [unitOfService(name), state === "active" ? "active" : state === "failed" ? "failed" : "inactive"]));
  }

  public async check(site: SiteRun): Promise<{ ok: boolean; status: number; detail: string }> {
    const [first] = site.hostnames;
    if (first === undefined) return { ok: false, status: 0, detail: "the site has no host name" };
    const host = first.replace(/^\*\./, "hc-check.");
    const { status, detail, known } = await ask({ port: this.options.host.ports.apache, host, path: site.ready.path, deadlineMs: checkMs });
    if (!known) return { ok: false, status: 0, detail: status === 0 ? detail : `Apache does not know ${host} yet` };
    const ok = site.ready.status === 0 ? status > 0 && status < 500 : status === site.ready.status;
    return { ok, status, detail };
  }

  public logs(unit: string, lines: number): Promise<string> {
    return readSiteLog({ apacheFolder: this.paths.apacheLogFolder, fpmLog: this.fpmLog(unit), unit, lines });
  }

  private serviceOf(site: SiteRun, found: Programs): ServiceDefinition {
    const { socketFolder, fpmLogFolder, etcFolder: etc } = this.paths;
    return siteService(site, { platform: this.options.platform.name, phpFpm: found.phpFpm, config: this.poolFile(site.unit), writable: [socketFolder, fpmLogFolder], etc });
  }

  /** Ahead of time, at replicas too: the start after a failover then waits for no supervisor to read definitions. */
  private async defineServices(sites: readonly SiteRun[], found: Programs): Promise<void> {
    const { platform, log } = this.options;
    let changed = false;
    for (const site of sites) changed = (await platform.defineService(this.serviceOf(site, found))) || changed;
    // not waited for: a start that comes meanwhile waits by itself
    if (changed) void platform.readDefinitions?.().catch((error: unknown) => log.warn({ reason: messageOf(error) }, "the supervisor could not read the new definitions; the next start tries again"));
  }

  /** Definitions of units that are no longer here. What still runs is left alone: only stop() ends a site. */
  private async forgetServices(wanted: ReadonlySet<string>): Promise<void> {
    for (const [unit, state] of await this.states()) {
      if (wanted.has(unit) || state === "active") continue;
      await this.options.platform.removeService(siteServiceName(unit));
      for (const file of [this.fpmLog(unit), this.startMark(unit)]) await unlink(file).catch(() => undefined);
      await this.etc.forget(unit);
    }
  }

  private poolFile(unit: string): string {
    return `${this.paths.fpmFolder}/${unit}.conf`;
  }
  /** Digest of what the running container was started from. */
  private startMark(unit: string): string {
    return `${this.paths.runtimeFolder}/${unit}.started`;
  }
  private fpmLog(unit: string): string {
    return `${this.paths.fpmLogFolder}/${unit}.log`;
  }

  /** A site whose configuration cannot be written keeps what it has; its start says why. One tenant's mistake stops no other's change. */
  private async render(sites: readonly SiteRun[]): Promise<{ vhosts: Map<string, string>; pools: Map<string, string>; refused: Set<string> }> {
    const { key } = await this.facts();
    const vhosts = new Map<string, string>();
    const pools = new Map<string, string>();
    const refused = new Set<string>();
    for (const site of [...sites].sort((a, b) => (a.unit < b.unit ? -1 : 1))) {
      const socket = socketPath(this.paths.socketFolder, site.unit, key);
      try {
        const [vhost, pool] = [vhostText(site, this.options.host.ports.apache, socket), fpmText(site, socket, this.fpmLog(site.unit))];
        vhosts.set(site.unit, vhost);
        pools.set(site.unit, pool);
      } catch (error) {
        this.options.log.warn({ unit: site.unit, reason: messageOf(error) }, "configuration of a site cannot be written; it keeps the former one");
        refused.add(site.unit);
      }
    }
    return { vhosts, pools, refused };
  }

  /** One run of php-fpm for all changed pools. chroot is tried on "/", as the dataset of a replica is not mounted. */
  private async testPools(found: Programs, sites: readonly SiteRun[], changed: ReadonlyMap<string, string>): Promise<void> {
    if (changed.size === 0) return;
    const roots = new Map(sites.map((site) => [site.unit, site.root]));
    const trial = new Map([...changed].map(([unit, text]) => [unit, text.replace(`chroot = "${roots.get(unit) ?? ""}"`, 'chroot = "/"').replace("chdir = /www", "chdir = /")]));
    const staged = new ConfigFolder(`${this.paths.fpmFolder}/trial`);
    const folder = await staged.stage(trial);
    const main = `${this.paths.fpmFolder}/trial.main`;
    await writeFileAtomic(main, `[global]\ninclude = ${folder}/*.conf\n`, { mode: 0o600 });
    const result = await this.options.runner.run([found.phpFpm, "--test", "--fpm-config", main], { timeoutMs: testMs });
    if (result.code !== 0) throw new HcError("CONFIG_REFUSED", `php-fpm refused its new configuration: ${result.stderr.trim().split("\n").slice(-3).join(" | ")}`);
  }

  private async ensureFolders(): Promise<void> {
    const { paths, options } = this;
    for (const folder of [paths.apacheFolder, paths.sitesFolder, paths.fpmFolder, paths.apacheLogFolder, paths.fpmLogFolder]) await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const folder of [options.host.paths.run, paths.runtimeFolder]) await mkdir(folder, { recursive: true, mode: 0o755 });
    // Apache's workers must be able to reach the sockets, and nobody may list them
    const { mode } = await stat(options.host.paths.run);
    if ((mode & 0o001) === 0) await chmod(options.host.paths.run, (mode & 0o7777) | 0o111);
    await mkdir(paths.socketFolder, { recursive: true, mode: 0o711 });
    await chmod(paths.socketFolder, 0o711);
  }

  private async ensureUsers(sites: readonly SiteRun[]): Promise<void> {
    const present = new Map((await this.options.platform.listUsers("")).map((account) => [account.user, account]));
    this.accounts.clear();
    for (const { user, uid, gid } of new Map(sites.map((site) => [site.user, site])).values()) {
      const seen = present.get(user);
      if (seen?.uid !== uid || seen.gid !== gid) await this.options.platform.ensureUser(user, uid, gid);
      this.accounts.add(accountKey({ user, uid, gid }));
    }
  }

  /** What does not change while hcd runs, looked up once. A failure is looked up again. */
  private facts(): Promise<{ programs: Programs; key: Buffer; webGid: number }> {
    this.found ??= this.lookUp().catch((error: unknown) => {
      this.found = undefined;
      throw error;
    });
    return this.found;
  }
  private async lookUp(): Promise<{ programs: Programs; key: Buffer; webGid: number }> {
    const { platform } = this.options;
    const { php } = await platform.runtime();
    const [web] = await platform.listUsers(webUser);
    if (web === undefined) throw new HcError("NOT_READY", `User ${webUser} does not exist on this node yet.`);
    return { programs: programs(platform.name, php), key: await this.socketKey(), webGid: web.gid };
  }
  private async socketKey(): Promise<Buffer> {
    const text = await readFileIfAny(this.paths.socketKey);
    if (text !== undefined && /^[0-9a-f]{64}$/.test(text.trim())) return Buffer.from(text.trim(), "hex");
    await mkdir(this.options.host.paths.etc, { recursive: true });
    const key = randomBytes(32);
    await writeFileAtomic(this.paths.socketKey, `${key.toString("hex")}\n`, { mode: 0o600 });
    return key;
  }
  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const next = this.turn.then(act);
    this.turn = next.catch(() => undefined);
    return next;
  }
}
