import { HcError } from "../../daemon/lib/errors.js";

/** Highest subnet number of a lab and highest node number in one. */
export const maxSubnet = 250;
export const maxNode = 200;

/** What a lab's subnet number fixes. Pure arithmetic, so that a lab keeps its addresses over stop, start and a reboot. */
export interface LabNet {
  /** Subnet number, 1 to 250. */
  subnet: number;
  bridge: string;
  bridgeMac: string;
  /** The machine's own addresses in the lab, with prefix lengths. */
  gateways: { v4: string; v6: string };
}
export interface NodeNet {
  /** Name of the machine's end of the veth pair. */
  veth: string;
  mac: string;
  v4: string;
  v6: string;
}

const hex = (value: number): string => value.toString(16).padStart(2, "0");

export function labNet(subnet: number): LabNet {
  if (!Number.isInteger(subnet) || subnet < 1 || subnet > maxSubnet) throw new HcError("INTERNAL", `lab subnet ${subnet} is not one of 1 to ${maxSubnet}`);
  return {
    subnet,
    bridge: `hcl${subnet}`,
    bridgeMac: `02:00:4d:${hex(subnet)}:00:01`,
    gateways: { v4: `10.77.${subnet}.1/24`, v6: `fd77:${subnet}::1/64` },
  };
}

/**
 * Addresses of node `index` (1-based): 10.77.<subnet>.<10+index> and fd77:<subnet>::<10+index>, both in decimal digits so that people
 * see at once that they belong together. MAC addresses are fixed (locally administered), else ARP caches go stale after a restart.
 */
export function nodeNet(subnet: number, index: number): NodeNet {
  const lab = labNet(subnet);
  if (!Number.isInteger(index) || index < 1 || index > maxNode) throw new HcError("INVALID_INPUT", `index: ${index} is not one of 1 to ${maxNode}.`);
  const host = 10 + index;
  return { veth: `${lab.bridge}n${index}`, mac: `02:00:4d:${hex(subnet)}:00:${hex(host)}`, v4: `10.77.${subnet}.${host}`, v6: `fd77:${subnet}::${host}` };
}

/** The number at the end of a name ("n3" → 3), when it can be a node number. */
export function indexInName(name: string): number | undefined {
  const digits = /([1-9][0-9]{0,2})$/.exec(name)?.[1];
  const index = digits === undefined ? undefined : Number(digits);
  return index !== undefined && index <= maxNode ? index : undefined;
}

/** Where to begin looking for a free subnet: the same place for the same folder, so that two labs rarely want the same one after a reboot. */
export function preferredSubnet(digest: string): number {
  return (Number.parseInt(digest.slice(0, 8), 16) % maxSubnet) + 1;
}
