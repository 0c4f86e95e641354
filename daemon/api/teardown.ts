import { rm } from "node:fs/promises";
import type { Logger } from "../lib/log.js";
import type { HostConfig } from "../lib/node-config.js";
import type { Platform } from "../platform/platform.js";
import { spoolFolder } from "../proxy/service.js";
import { memoryPath } from "../recovery/etcd-memory.js";
import type { Zfs } from "../zfs/zfs.js";

/**
 * Takes a node's services, users and mounts back after its mechanisms have stopped. Datasets stay: they are data, and go by the
 * pool's own resource. Each part can be repeated; what fails is reported and the rest goes on.
 */
export async function tearDownNode(options: { host: HostConfig; dataset: string; platform: Platform; zfs: Zfs; log: Logger }): Promise<string[]> {
  const { host, platform, zfs, log } = options;
  const failed: string[] = [];
  const attempt = async (what: string, act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } catch (error) {
      log.warn({ err: error, what }, "tear-down: a part failed");
      failed.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  for (const prefix of ["hc-site-", "hcd-proxy", "hcd-apache"])
    await attempt(`services ${prefix}`, async () => {
      for (const name of (await platform.serviceStates(prefix)).keys()) await platform.removeService(name);
    });
  if (options.dataset !== "")
    await attempt("mounts", async () => {
      const mounted = (await zfs.datasets(options.dataset)).filter((dataset) => dataset.mounted && dataset.name !== options.dataset);
      for (const dataset of mounted.sort((a, b) => b.name.length - a.name.length)) await zfs.unmount(dataset.name);
    });
  await attempt("users", async () => {
    for (const { user } of await platform.listUsers("hc-")) await platform.removeUser(user);
  });
  await attempt("files", async () => {
    // last of all: until nothing is mounted here, the fencer keeps its order
    for (const path of [`${host.paths.run}/fence.json`, `${host.paths.run}/fenced.json`, `${host.paths.run}/routes.json`, `${host.paths.run}/proxy.sock`, `${host.paths.run}/fpm`, `${host.paths.state}/blobs`, spoolFolder(host), memoryPath(host.paths.state), `${host.paths.run}/apache`, `${host.paths.etc}/apache`, `${host.paths.etc}/fpm`, `${host.paths.etc}/fpm-socket.key`]) await rm(path, { recursive: true, force: true });
  });
  return failed;
}
