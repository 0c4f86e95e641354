import { constants } from "node:os";
import { messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { Zfs } from "../zfs/zfs.js";

/** Measured on zfs-fuse: with 8 MiB a small write fails on a full pool (zfs counts the worst case of it, some 24 times over), with 16 MiB all of them pass. */
const reserve = "16M";

/**
 * Room that only the cluster's own dataset may use, not what lies below it: tenants fill the pool, and the sign of life still finds room for its probe (disk-probe.ts), so that a full pool neither looks like dead disks nor hides them.
 * On a pool that is full already it cannot be had; the next start tries again.
 */
export async function keepReserve(zfs: Pick<Zfs, "set">, dataset: string, log: Logger): Promise<void> {
  await zfs.set(dataset, { refreservation: reserve }).catch((error: unknown) => log.warn({ dataset, reason: messageOf(error) }, "no reserve could be set aside"));
}

/** Did a filesystem refuse a write because there is no room? libuv has no name for EDQUOT. */
export function isNoRoom(error: unknown): boolean {
  const { code, errno } = (error ?? {}) as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" || errno === -constants.errno.EDQUOT;
}
