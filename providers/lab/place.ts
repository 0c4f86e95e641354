import { join } from "node:path";
import { type LabNet, labNet } from "./addresses.js";

/** A lab's own record, `<dir>/lab.json`. */
export interface LabRecord {
  version: 1;
  id: string;
  name: string;
  /** Kept, so that the lab has the same addresses after a reboot. */
  subnet: number;
  ephemeral: boolean;
  /** The operator's private key for the nodes (its public half is in them; nodes never hold the private one). */
  keyPath: string;
}
/** A node's record, `<dir>/nodes/<name>/node.json`. */
export interface NodeRecord {
  version: 1;
  name: string;
  index: number;
  /** The Debian root that the node lies over; see root.ts. */
  root: string;
  /** "ssh-ed25519 AAAA…" */
  hostKey: string;
  disks: DiskRequest[];
  /** Limit of the whole node; none: the machine's memory. */
  memoryBytes?: string;
}
/** A disk image. 64-bit sizes are texts. */
export interface DiskRequest { sizeBytes: string }

export interface LabPlace extends LabRecord {
  dir: string;
  net: LabNet;
}
export const labPlace = (dir: string, record: LabRecord): LabPlace => ({ ...record, dir, net: labNet(record.subnet) });
export const labFile = (dir: string): string => join(dir, "lab.json");
export const nodesFolder = (dir: string): string => join(dir, "nodes");
export const nodeFolder = (dir: string, name: string): string => join(dir, "nodes", name);
/** Name lines of all nodes, seen by each as /etc/hosts. */
export const hostsFile = (dir: string): string => join(dir, "hosts");
/** Path of disk `number` as the node itself sees it. */
export const diskPath = (number: number): string => `/disks/d${number}.img`;
