import { mkdirSync } from "node:fs";
import { type CommandRunner, logged } from "../lib/command.js";
import { LocalRunner } from "../lib/local-runner.js";
import { createLogger } from "../lib/log.js";
import type { HostConfig } from "../lib/node-config.js";
import { createPlatform } from "../platform/create-platform.js";
import { readHost } from "../read-host.js";
import { createZfs } from "../zfs/create-zfs.js";
import type { Zfs } from "../zfs/zfs.js";
import { FenceFolder } from "./fence-folder.js";
import { Fencer } from "./fencer.js";
import type { Leaving } from "./plan-watchdog.js";
import { Watchdog } from "./watchdog.js";
import { artefactOf, LinuxWatchdog } from "./watchdog-device.js";

/** "busy" right after the kill passes when the last process is gone; then comes the forced unmount. */
const busyWithinMs = 700;
/** A watchdog resets the machine 1.4 s after the deadline: the forced unmount, and the look after it, must come before. */
const hurriedMs = 300;
/** At a shutdown all services ask at once, ms. */
const askMs = 5_000;

/** hcd.cjs fencer: a process of its own, so that it acts when the control process cannot. It knows no network, no etcd, no key. */
export async function runFencer(host: HostConfig, hostFile: string): Promise<void> {
  const log = createLogger("fencer");
  const runner = logged(new LocalRunner(), log);
  const platform = createPlatform(host.platform, { runner, paths: host.paths, log });
  mkdirSync(host.paths.run, { recursive: true, mode: 0o711 });
  const zfs = createZfs(runner, { busyWithinMs: host.watchdog === undefined ? busyWithinMs : hurriedMs });
  const folder = new FenceFolder(host.paths.run, await platform.bootId());
  const device = host.watchdog?.device;
  const linux = device === undefined ? undefined : new LinuxWatchdog(device, runner);
  const watchdog: Watchdog | undefined = linux === undefined ? undefined : new Watchdog({ name: device ?? "", device: linux, sight: () => fencer.sight(), strays: () => straysOn(zfs, host.paths.data), log });
  const fencer: Fencer = new Fencer({ folder, platform, zfs, log, ...(watchdog === undefined ? {} : { watchdog: () => watchdog.sign() }) });
  const artefact = artefactOf(host.paths.lib);
  const ending = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const)
    process.on(name, () => {
      // what is half done is taken up by the next fencer: the note says so
      log.info({ signal: name }, "the fencer stops");
      if (watchdog === undefined) process.exit(0);
      void leavingOf(runner, host, hostFile, artefact).then((leaving) => watchdog.leave(leaving));
    });
  log.info({ node: host.node, watchdog: device }, "the fencer watches");
  await Promise.all([fencer.run(ending.signal), watchdog?.run(ending.signal).then(() => process.exit(0))]);
}

/** Who comes after this fencer? The same artefact with the same watchdog takes it over running; anybody else may not even know of it. */
async function leavingOf(runner: CommandRunner, host: HostConfig, hostFile: string, artefact: string): Promise<Leaving> {
  let device: string | undefined;
  try {
    device = readHost(hostFile).watchdog?.device;
  } catch {
    // gone: this Host is being removed
  }
  const heir = device === host.watchdog?.device && artefact !== "" && artefactOf(host.paths.lib) === artefact;
  const state = await runner.run(["systemctl", "is-system-running"], { timeoutMs: askMs }).then(({ stdout }) => stdout.trim(), () => "");
  // who cannot be asked is on the way down too: it is guarded on until all is ended
  return { heir, down: !/^(running|degraded|starting|initializing|maintenance)$/.test(state) };
}

/** Units that are mounted, when there is no order that would name them (the table of mounts knows no more than their names). */
async function straysOn(zfs: Pick<Zfs, "mounted">, data: string): Promise<boolean> {
  return [...(await zfs.mounted())].some(([dataset, place]) => place === `${data}/${dataset.slice(dataset.lastIndexOf("/") + 1)}` && /\/(site|db|mail|jail)-[^/]+$/.test(dataset));
}
