import { networkInterfaces } from "node:os";

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
