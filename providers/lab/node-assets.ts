import { chmodSync, copyFileSync, mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** Scripts and files for the nodes, in the package beside dist/. */
export const labAssets = resolve(__dirname, "../../../templates/lab");

interface Asset { asset: string; path: string; mode: number }
const assets: readonly Asset[] = [
  { asset: "zfs-fuse.service", path: "etc/systemd/system/zfs-fuse.service", mode: 0o644 },
  ...["zfs", "zfs-translated", "zpool", "zfs-up", "zfs-stale", "zfs-down"].map((asset) => ({ asset, path: `usr/local/sbin/${asset}`, mode: 0o755 })),
];

/**
 * Lays the lab's own files over the root, in the node's upper folder. Done before each start, so that a node made by an earlier version of
 * the package gets the present files; the node must be down (changing the upper folder of a mounted overlay is undefined).
 */
export function installAssets(upper: string): void {
  for (const { asset, path, mode } of assets) {
    const target = join(upper, path);
    mkdirSync(dirname(target), { recursive: true });
    rmSync(target, { force: true });
    copyFileSync(join(labAssets, asset), target);
    chmodSync(target, mode);
  }
  const wants = join(upper, "etc/systemd/system/basic.target.wants");
  mkdirSync(wants, { recursive: true });
  // not rmSync: that looks at the target, which does not exist on this machine
  if (!readdirSync(wants).includes("zfs-fuse.service")) symlinkSync("/etc/systemd/system/zfs-fuse.service", join(wants, "zfs-fuse.service"));
}
