import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { dirname, join } from "node:path";

/** Lab networks are 10.77.k.0/24 and fd77:k::/64 (providers/lab). */
const networkOf = (address: string): string | undefined => /^(10\.77\.[0-9]{1,3}\.)[0-9]{1,3}$/.exec(address)?.[1] ?? /^(fd77:[0-9]{1,4}:)/.exec(address)?.[1];

/**
 * True for an address of a lab whose network is not up on this machine (after a reboot, or when it was destroyed): a packet to it would
 * leave the machine by the default route, and must not be sent.
 */
export function isAbsentLab(address: string, interfaces = networkInterfaces()): boolean {
  const network = networkOf(address);
  return network !== undefined && !Object.values(interfaces).some((list) => list?.some((item) => item.address.startsWith(network)));
}

/** The key of a workspace's labs (providers/core/workspace.ts): hosts of one's own in the same address range have another key. */
export const isLabKey = (path: string | undefined): boolean => path?.endsWith("/ssh/id_ed25519") === true && existsSync(join(dirname(dirname(path)), "labs"));
