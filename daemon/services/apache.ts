import { mkdir, unlink } from "node:fs/promises";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import { until } from "../lib/backoff.js";
import type { CommandRunner } from "../lib/command.js";
import { HcError, messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { Platform } from "../platform/platform.js";
import { ask } from "./ask.js";
import type { ConfigChange, ConfigFolder } from "./config-set.js";
import type { Programs } from "./programs.js";
import { apacheText } from "./render-config.js";
import { apacheService, type ServicePaths } from "./site-paths.js";

export interface ApacheOptions { platform: Platform; runner: CommandRunner; log: Logger; paths: ServicePaths; port: number }
const testMs = 60_000;

/** Our Apache instance: base configuration, test runs, and the one place that tells it to read its files again. */
export class Apache {
  public constructor(private readonly options: ApacheOptions) {}

  /** Exists, runs and listens. A changed base is tested first and put back when it is refused. */
  public async ensure(programs: Programs): Promise<void> {
    const { platform, paths, port } = this.options;
    const text = apacheText(paths, programs, port);
    const before = await readFileIfAny(paths.apacheConfig);
    if (before !== text) {
      await this.test(programs, text);
      await writeFileAtomic(paths.apacheConfig, text, { mode: 0o600 });
    }
    const changed = await platform.defineService({
      name: apacheService,
      description: "HybridCluster web server",
      argv: [programs.apache, "-f", paths.apacheConfig, "-DFOREGROUND"],
      reloadArgv: [programs.apache, "-f", paths.apacheConfig, "-k", "graceful"],
      restart: "always",
      // root only to read what its workers must not; they run as _hcweb with none of these
      capabilities: ["CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"],
      openFiles: 65_536,
    });
    await mkdir(paths.runtimeFolder, { recursive: true, mode: 0o755 });
    const running = (await platform.serviceStates(apacheService)).get(apacheService) === "active";
    if (running && changed) await platform.restartService(apacheService);
    else if (running && before !== text) await platform.reloadService(apacheService);
    else if (!running) await platform.startService(apacheService);
    await this.listening();
  }

  /** Refuses what Apache refuses; nothing that runs is touched. */
  public async test(programs: Programs, text: string): Promise<void> {
    const { paths, runner } = this.options;
    const trial = `${paths.apacheConfig}.trial`;
    await writeFileAtomic(trial, text, { mode: 0o600 });
    await mkdir(paths.runtimeFolder, { recursive: true, mode: 0o755 });
    const result = await runner.run([programs.apache, "-t", "-f", trial], { timeoutMs: testMs });
    await unlink(trial).catch(() => undefined);
    if (result.code !== 0) throw new HcError("CONFIG_REFUSED", `Apache refused its new configuration: ${result.stderr.trim().split("\n").slice(-3).join(" | ")}`);
  }

  /**
   * Tests the changed virtual hosts, swaps them in, and has Apache read them: one graceful reload. Refused at either point: the old ones are in force.
   * The mark tells the next run that a crash came between the swap and the reload.
   */
  public async change(programs: Programs, folder: ConfigFolder, change: ConfigChange, before: ReadonlyMap<string, string>): Promise<boolean> {
    const { paths, port, platform, log } = this.options;
    const pending = (await readFileIfAny(paths.pendingMark)) !== undefined;
    if (change.write.size === 0 && change.remove.length === 0 && !pending) return false;
    if (change.write.size > 0) await this.test(programs, apacheText(paths, programs, port, `${await folder.stage(change.write)}/*.conf`));
    await writeFileAtomic(paths.pendingMark, "", { mode: 0o600 });
    const undo = await folder.apply(change, before);
    try {
      await platform.reloadService(apacheService);
      await this.listening();
    } catch (error) {
      log.error({ reason: messageOf(error) }, "Apache did not take its new configuration; the old one is put back");
      await undo();
      // a server that lives still has its old configuration, and goes on with it
      if ((await platform.serviceStates(apacheService)).get(apacheService) !== "active") await platform.restartService(apacheService);
      throw new HcError("CONFIG_REFUSED", `Apache did not take its new configuration: ${messageOf(error)}`, { cause: error });
    } finally {
      await unlink(paths.pendingMark).catch(() => undefined);
    }
    log.info({ changed: change.write.size, removed: change.remove.length }, "virtual hosts changed");
    return true;
  }

  public async answers(): Promise<boolean> {
    return (await ask({ port: this.options.port, host: "hybridcluster.invalid", path: "/", deadlineMs: 2_000 })).status !== 0;
  }

  /** One that hangs is ended too: it answers nobody. */
  public async repair(): Promise<void> {
    await this.options.platform.restartService(apacheService);
    await this.listening();
  }

  private async listening(): Promise<void> {
    await until("Apache's first answer", { firstMs: 10, capMs: 200, withinMs: 10_000 }, async () => {
      const answer = await ask({ port: this.options.port, host: "hybridcluster.invalid", path: "/", deadlineMs: 2_000 });
      return answer.status === 0 ? undefined : true;
    });
  }
}
