import { createHash } from "node:crypto";
import { suite } from "../../../providers/lab/root-recipe.js";

/** What goes into the virtual machine with the real OpenZFS: Debian's cloud kernel, the module built from its sources (contrib), sshd. No systemd: one script boots it in a third of the time. */
export const components = "main,contrib";
export const packages = ["linux-image-cloud-amd64", "linux-headers-cloud-amd64", "zfs-dkms", "zfsutils-linux", "initramfs-tools", "openssh-server", "iproute2", "kmod", "util-linux", "procps"] as const;

/** What only the build of the module needs; the image is made without it. */
export const buildOnly = ["usr/src", "usr/lib/gcc", "usr/include", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl", "var/lib/dkms", "var/lib/apt/lists", "var/cache/apt/archives", "var/cache/debconf"] as const;

/** Size of the root file system; the file is sparse. */
export const diskBytes = 2 * 1024 ** 3;

/** Into the initial ramdisk: only what finds the root, so that an emulated processor has little to unpack. */
export const initramfsFiles: Readonly<Record<string, string>> = {
  "etc/initramfs-tools/conf.d/openzfs": "MODULES=list\nCOMPRESS=gzip\nRESUME=none\nFSTYPE=ext4\n",
  "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\n",
};

/**
 * Process 1. Its disks: the root (a throw-away overlay), the seed (a tar with this run's keys). The exit of this script is the kernel's panic and the end of the machine.
 * Slirp's fixed addresses (qemu(1), -netdev user): nothing is asked by DHCP.
 */
export const init = `#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
say() { echo "openzfs: $*" >/dev/console; }
mount -t proc proc /proc 2>/dev/null; mount -t sysfs sys /sys 2>/dev/null
mount -t tmpfs run /run; mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /dev/shm /run/sshd; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
hostname openzfs
tar -xf /dev/vdb -C / --no-same-owner || say "no seed"
modprobe virtio_net || say "no network card"
modprobe zfs || say "no zfs"
ip link set lo up
for card in $(ls /sys/class/net); do [ "$card" = lo ] || { ip address add 10.0.2.15/24 dev "$card"; ip link set "$card" up; }; done
say "zfs $(cat /sys/module/zfs/version 2>/dev/null)"
say "ready"
exec /usr/sbin/sshd -D -e -f /etc/ssh/openzfs_config >/dev/console 2>&1
`;
export const sshd = "Port 22\nHostKey /etc/ssh/openzfs_host_key\nPermitRootLogin prohibit-password\nAuthorizedKeysFile /etc/ssh/openzfs_authorized\nStrictModes no\nUsePAM no\nUseDNS no\nPrintMotd no\nClientAliveInterval 15\nMaxSessions 10\n";

/** Everything that decides what is in the image. */
export function imageKey(): string {
  const parts = { format: 1, suite, components, packages, buildOnly, diskBytes, initramfsFiles, init, sshd };
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);
}
