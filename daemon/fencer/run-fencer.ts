import { mkdirSync } from "node:fs";
import { logged } from "../lib/command.js";
import { LocalRunner } from "../lib/local-runner.js";
import { createLogger } from "../lib/log.js";
import type { HostConfig } from "../lib/node-config.js";
import { createPlatform } from "../platform/create-platform.js";
import { createZfs } from "../zfs/create-zfs.js";
import { FenceFolder } from "./fence-folder.js";
import { Fencer } from "./fencer.js";

/** "busy" right after the kill passes when the last process is gone; then comes the forced unmount. */
const busyWithinMs = 700;

/** hcd.cjs fencer: a process of its own, so that it acts when the control process cannot. It knows no network, no etcd, no key. */
export async function runFencer(host: HostConfig): Promise<void> {
  const log = createLogger("fencer");
  const runner = logged(new LocalRunner(), log);
  const platform = createPlatform(host.platform, { runner, paths: host.paths, log });
  mkdirSync(host.paths.run, { recursive: true, mode: 0o711 });
  const fencer = new Fencer({ folder: new FenceFolder(host.paths.run, await platform.bootId()), platform, zfs: createZfs(runner, { busyWithinMs }), log });
  const ending = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const)
    process.on(name, () => {
      // what is half done is taken up by the next fencer: the note says so
      log.info({ signal: name }, "the fencer stops");
      process.exit(0);
    });
  log.info({ node: host.node }, "the fencer watches");
  await fencer.run(ending.signal);
}
