import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

export const suite = "bookworm";

/** What is installed in the root of every lab node. */
export const rootPackages = [
  "systemd-sysv", "dbus", "openssh-server", "zfs-fuse", "iproute2", "iputils-ping", "procps", "nftables", "curl", "openssl", "ca-certificates", "tzdata",
  "apache2", "php8.2-fpm", "php8.2-cli", "php8.2-xml", "php8.2-mbstring", "php8.2-gd", "php8.2-curl",
  "etcd-server", "etcd-client",
] as const;

/** Packages whose files (with those they need) lie in `packagesFolder` of the root, not installed: nodes have no way out, templates unpack them. */
export const storedPackages = ["dokuwiki"] as const;
export const packagesFolder = "/var/cache/hybridcluster/packages";

/** Services that a package starts by itself; the product starts its own. */
export const disabledUnits = ["apache2.service", "apache-htcacheclean.service", "php8.2-fpm.service", "etcd.service", "systemd-timesyncd.service", "systemd-pstore.service", "e2scrub_reap.service"] as const;
/** What has no meaning in a node, or would reach for the machine. */
export const maskedUnits = [
  "systemd-sysctl.service", "systemd-modules-load.service", "systemd-remount-fs.service", "systemd-logind.service", "systemd-update-utmp.service",
  "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount",
  "getty.target", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "phpsessionclean.timer", "systemd-firstboot.service",
] as const;

/**
 * zfs-fuse's zfsrc. The cache is what it takes at most, MB. With 64 a few uploads filled the part of it that writes may take: a snapshot or hold then waited seconds for its transaction group while the machine was
 * idle, and every request with it (seen by `bench:move`: 3 to 8 s).
 */
export const zfsFuseSettings = "max-arc-size = 256\nstack-size = 512\nenable-xattr\n";

export interface NodeBinary { path: string; version: string }
/** The Node.js of the npm package `node`, a dependency of ours; it runs the daemon in the nodes. */
export function nodeBinary(): NodeBinary {
  const manifest = createRequire(__filename).resolve("node/package.json");
  return { path: join(dirname(manifest), "bin", "node"), version: (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version };
}

/** Key of the cached root: everything that decides what is in it. What is laid over it at each start (node-assets.ts) is not. */
export function rootKey(node: Pick<NodeBinary, "version">): string {
  const parts = { format: 2, suite, arch: process.arch, rootPackages, storedPackages, disabledUnits, maskedUnits, zfsFuseSettings, node: node.version };
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}
