import { readFileSync } from "node:fs";
import { mkdir, readdir, readlink, symlink, unlink } from "node:fs/promises";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import { type CommandResult, type CommandRunner, commandFailed, runOk } from "../lib/command.js";
import type { Runtime } from "../lib/documents.js";
import { HcError } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { NodePaths } from "../lib/node-config.js";
import { type Account, compareAccount, parseAccounts, phpVersion, userName } from "./accounts.js";
import { linuxCommands as commands, parseMeminfo, parseStates, unitFile, unitText, viewFolder } from "./linux-commands.js";
import { Together } from "../lib/together.js";
import type { Platform, ServiceDefinition, ServiceState } from "./platform.js";

export interface PlatformOptions {
  runner: CommandRunner;
  paths: NodePaths;
  log: Logger;
  /** Where definitions lie; default the host's folder. Tests give their own. */
  definitions?: string;
}
const quickMs = 10_000;
const slowMs = 60_000;

/** systemd, shadow-utils, /proc. Units are files of /etc/systemd/system that are never enabled: hcd alone decides what runs. */
export class LinuxPlatform implements Platform {
  public readonly name = "linux";
  private readonly folder: string;
  /** Number of definitions written, and how many of them systemd has read. A fresh process does not know what its predecessor left. */
  private written = 1;
  private loaded = 0;
  private loading: Promise<void> | undefined;
  /** The containers' view of the host is there. */
  private viewing: Promise<void> | undefined;
  /** Starts of many sites and the rounds of the agent ask at once: one list for those who wait. Whoever asked for another prefix picks his own out of it. */
  private readonly listed = new Together<string, Map<string, ServiceState>>(async (prefixes) => {
    const states = parseStates(await this.must(commands.states([...new Set(prefixes)]), quickMs));
    return prefixes.map(() => states);
  });
  /** shadow-utils fail when two of them run at once. */
  private accountTurn: Promise<unknown> = Promise.resolve();

  public constructor(private readonly options: PlatformOptions) {
    this.folder = options.definitions ?? "/etc/systemd/system";
  }

  public async runtime(): Promise<Runtime> {
    const programs = (await readdir("/usr/sbin").catch(() => [])).filter((name) => /^php-fpm\d+\.\d+$/.test(name)).sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
    const [newest] = programs;
    if (newest === undefined) return { platform: "linux", php: "none" };
    return { platform: "linux", php: phpVersion(await runOk(this.options.runner, [`/usr/sbin/${newest}`, "-v"], { timeoutMs: quickMs })) ?? "none" };
  }

  public async defineService(service: ServiceDefinition): Promise<boolean> {
    const path = `${this.folder}/${unitFile(service.name)}`;
    const text = unitText(service, this.options.paths);
    if (service.container !== undefined) await this.makeView();
    if ((await readFileIfAny(path)) === text) return false;
    await mkdir(this.folder, { recursive: true });
    await writeFileAtomic(path, text);
    this.written += 1;
    return true;
  }

  public readDefinitions(): Promise<void> {
    return this.load();
  }
  public async startService(name: string): Promise<void> {
    await this.load();
    await this.must(commands.start(name), slowMs);
  }
  public async restartService(name: string): Promise<void> {
    await this.load();
    await this.must(commands.restart(name), slowMs);
  }
  public async reloadService(name: string): Promise<void> {
    await this.load();
    await this.must(commands.reload(name), slowMs);
  }

  public async stopService(name: string): Promise<void> {
    const result = await this.run(commands.stop(name), slowMs);
    if (result.code === 5 || /not loaded|not found/i.test(result.stderr)) return; // 5: no such unit, systemctl(1) "Exit status"
    if (result.code !== 0) throw commandFailed(commands.stop(name), result);
    await this.run(commands.resetFailed(name), quickMs); // says "not loaded" for what was never failed
  }

  public async killServices(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    // both say non-zero for units that are not loaded, and go on with the others
    await this.run(commands.stopSoon(names), quickMs);
    await this.run(commands.killAll(names), quickMs);
  }

  public async removeService(name: string): Promise<void> {
    await this.stopService(name);
    const removed = await unlink(`${this.folder}/${unitFile(name)}`).then(() => true, (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    });
    if (!removed) return;
    this.written += 1;
    await this.load();
  }

  public async serviceStates(prefix: string): Promise<Map<string, ServiceState>> {
    const running = await this.listed.call(prefix);
    const found = new Map<string, ServiceState>();
    for (const file of await readdir(this.folder)) {
      if (file.startsWith(prefix) && file.endsWith(".service")) found.set(file.slice(0, -".service".length), "inactive");
    }
    for (const [name, state] of running) if (name.startsWith(prefix) && (found.has(name) || (state !== "missing" && state !== "inactive"))) found.set(name, state === "missing" ? "inactive" : state);
    return found;
  }

  public async serviceLog(name: string, lines: number): Promise<string> {
    return await this.must(commands.log(name, lines), quickMs);
  }

  public ensureUser(user: string, uid: number, gid: number): Promise<void> {
    return this.inTurn(async () => {
      const wanted = { user: userName(user), uid, gid };
      if (compareAccount(await this.accounts(), wanted) === "same") return;
      const group = await this.run(commands.group(user), quickMs);
      if (group.code === 0) {
        if (group.stdout.split(":")[2] !== String(gid)) throw new HcError("CONFLICT", `Group ${user} exists with another gid than ${gid}.`, { retry: "never" });
      } else await this.must(commands.addGroup(user, gid), quickMs);
      await this.must(commands.addUser(user, uid, gid), quickMs);
    });
  }

  public removeUser(user: string): Promise<void> {
    return this.inTurn(async () => {
      const result = await this.run(commands.removeUser(userName(user)), quickMs);
      // userdel(8): 6 no such user, 8 logged in (has processes)
      if (result.code === 8) throw new HcError("CONFLICT", `User ${user} still has processes here.`);
      if (result.code !== 0 && result.code !== 6) throw commandFailed(commands.removeUser(user), result);
      if ((await this.run(commands.group(user), quickMs)).code === 0) await this.must(commands.removeGroup(user), quickMs);
    });
  }

  public async listUsers(prefix: string): Promise<Account[]> {
    return (await this.accounts()).filter(({ user }) => user.startsWith(prefix));
  }

  public async memory(): Promise<{ totalBytes: number; availableBytes: number }> {
    // procfs never waits: four round trips to other threads cost more than the text
    return parseMeminfo(readFileSync("/proc/meminfo", "utf8"));
  }

  /** proc_pid_mountinfo(5). */
  public mounts(): string {
    return readFileSync("/proc/self/mountinfo", "utf8");
  }

  public async bootId(): Promise<string> {
    return ((await readFileIfAny("/proc/sys/kernel/random/boot_id")) ?? "").trim();
  }

  /** Mount points that the supervisor does not make, and the links of a merged /usr (file-hierarchy(7)) as the host has them. Lies below /run: each boot makes it anew. */
  private makeView(): Promise<void> {
    const view = viewFolder(this.options.paths);
    this.viewing ??= (async () => {
      for (const folder of ["dev", "tmp", "var/tmp"]) await mkdir(`${view}/${folder}`, { recursive: true, mode: 0o755 });
      for (const name of ["bin", "sbin", "lib", "lib64"]) {
        const target = await readlink(`/${name}`).catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOENT") return undefined;
          throw new HcError("UNSUPPORTED", `/${name} is no link into /usr: containers need a system with a merged /usr (Debian 12 has it, package usrmerge).`, { cause: error });
        });
        if (target === undefined || (await readlink(`${view}/${name}`).catch(() => undefined)) === target) continue;
        await symlink(target, `${view}/${name}`);
      }
    })().catch((error: unknown) => {
      this.viewing = undefined;
      throw error;
    });
    return this.viewing;
  }

  /** One daemon-reload for all definitions that were written before it began; callers that come meanwhile wait for the next one. */
  private async load(): Promise<void> {
    while (this.loaded < this.written) {
      if (this.loading === undefined) {
        const upTo = this.written;
        this.loading = this.must(commands.daemonReload(), slowMs).then(
          () => { this.loaded = Math.max(this.loaded, upTo); },
        ).finally(() => { this.loading = undefined; });
      }
      await this.loading;
    }
  }

  private async accounts(): Promise<Account[]> {
    return parseAccounts(await this.must(commands.passwd(), quickMs));
  }
  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const next = this.accountTurn.then(act);
    this.accountTurn = next.catch(() => undefined);
    return next;
  }
  private run(argv: readonly string[], timeoutMs: number): Promise<CommandResult> {
    return this.options.runner.run(argv, { timeoutMs });
  }
  private must(argv: readonly string[], timeoutMs: number): Promise<string> {
    return runOk(this.options.runner, argv, { timeoutMs });
  }
}
