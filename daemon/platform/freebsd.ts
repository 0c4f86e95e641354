import { mkdir, readdir, unlink } from "node:fs/promises";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import { type CommandResult, commandFailed, runOk } from "../lib/command.js";
import type { Runtime } from "../lib/documents.js";
import { eachAtMost } from "../lib/each-at-most.js";
import { errorCode, HcError } from "../lib/errors.js";
import { type Account, compareAccount, parseAccounts, phpVersion, userName } from "./accounts.js";
import { freebsdCommands as commands, parseSysctlMemory, rcScript, scriptName, serviceOf, stateOf, supervisorPid } from "./freebsd-commands.js";
import type { PlatformOptions } from "./linux.js";
import type { Platform, ServiceDefinition, ServiceState } from "./platform.js";

const quickMs = 10_000;
const slowMs = 60_000;
const killsAtOnce = 16;

/** rc.d, daemon(8), jail(8), pw(8). Scripts lie in /usr/local/etc/rc.d and are never enabled: hcd alone decides what runs. */
export class FreebsdPlatform implements Platform {
  public readonly name = "freebsd";
  private readonly folder: string;
  /** pw(8) locks the password database and fails when it is locked. */
  private accountTurn: Promise<unknown> = Promise.resolve();

  public constructor(private readonly options: PlatformOptions) {
    this.folder = options.definitions ?? "/usr/local/etc/rc.d";
  }

  public async runtime(): Promise<Runtime> {
    try {
      return { platform: "freebsd", php: phpVersion(await runOk(this.options.runner, ["/usr/local/sbin/php-fpm", "-v"], { timeoutMs: quickMs })) ?? "none" };
    } catch (error) {
      if (errorCode(error) === "COMMAND_NOT_FOUND") return { platform: "freebsd", php: "none" };
      throw error;
    }
  }

  public async defineService(service: ServiceDefinition): Promise<boolean> {
    const { paths } = this.options;
    const path = `${this.folder}/${scriptName(service.name)}`;
    const text = rcScript(service, paths);
    if ((await readFileIfAny(path)) === text) return false;
    for (const folder of [this.folder, `${paths.run}/services`, `${paths.log}/services`]) await mkdir(folder, { recursive: true });
    await writeFileAtomic(path, text, { mode: 0o755 });
    return true;
  }

  public async startService(name: string): Promise<void> {
    if ((await this.serviceStates(name)).get(name) === "active") return;
    await this.must(commands.start(name), slowMs);
  }
  public async restartService(name: string): Promise<void> {
    await this.stopService(name);
    await this.must(commands.start(name), slowMs);
  }
  public async reloadService(name: string): Promise<void> {
    await this.must(commands.reload(name), slowMs);
  }

  /** The script's own stop_cmd: also ends and takes away what a dead supervisor has left. */
  public async stopService(name: string): Promise<void> {
    if (await this.isDefined(name)) await this.must(commands.stop(name), slowMs);
  }

  /** Kills supervisor and jail; the script's own stop then finds nobody to wait for, and takes mounts and limits away. */
  public async killServices(names: readonly string[]): Promise<void> {
    const { paths } = this.options;
    await eachAtMost(killsAtOnce, names, async (name) => {
      await this.run(commands.killSupervisor(paths, name), quickMs); // 1: no such process
      await this.run(commands.removeJail(name), quickMs); // 1: no such jail
    });
    await eachAtMost(killsAtOnce, names, async (name) => {
      if (await this.isDefined(name)) await this.run(commands.stop(name), quickMs);
    });
  }

  public async removeService(name: string): Promise<void> {
    await this.stopService(name);
    await unlink(`${this.folder}/${scriptName(name)}`).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
  }

  public async serviceStates(prefix: string): Promise<Map<string, ServiceState>> {
    const names = (await readdir(this.folder).catch(() => [])).map(serviceOf).filter((name) => name.startsWith(prefix));
    const living = new Set((await this.must(commands.processes(), quickMs)).split("\n").map((line) => line.trim()));
    const states = await Promise.all(names.map(async (name) => [name, stateOf(await readFileIfAny(supervisorPid(this.options.paths, name)), living)] as const));
    return new Map(states);
  }

  public async serviceLog(name: string, lines: number): Promise<string> {
    const result = await this.run(commands.log(this.options.paths, name, lines), quickMs);
    return result.code === 0 ? result.stdout : "";
  }

  public ensureUser(user: string, uid: number, gid: number): Promise<void> {
    return this.inTurn(async () => {
      if (compareAccount(await this.accounts(), { user: userName(user), uid, gid }) === "same") return;
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
      if (result.code !== 0 && result.code !== 67) throw commandFailed(commands.removeUser(user), result); // 67: EX_NOUSER, sysexits(3)
      if ((await this.run(commands.group(user), quickMs)).code === 0) await this.must(commands.removeGroup(user), quickMs);
    });
  }

  public async listUsers(prefix: string): Promise<Account[]> {
    return (await this.accounts()).filter(({ user }) => user.startsWith(prefix));
  }

  public async memory(): Promise<{ totalBytes: number; availableBytes: number }> {
    return parseSysctlMemory(await this.must(commands.memory(), quickMs));
  }

  public async bootId(): Promise<string> {
    const result = await this.run(commands.bootId(), quickMs);
    return result.code === 0 ? result.stdout.trim() : "";
  }

  private async isDefined(name: string): Promise<boolean> {
    return (await readFileIfAny(`${this.folder}/${scriptName(name)}`)) !== undefined;
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
