import { isIPv4, isIPv6 } from "node:net";
import { join } from "node:path";
import type { ForwardTarget } from "./entry-forward.js";
import type { ProcessMark } from "./processes.js";

export interface EntrySettings {
  /** Who may change or end it: a workspace folder. */
  owner: string;
  name: string;
  port: number;
  targets: string[];
  targetPort: number;
}
export interface EntryRecord extends EntrySettings {
  version: 1;
  process: ProcessMark;
}
/** One file a port: only one program can listen there. */
export const entryFolder = "/run/hybridcluster-entries";
export const entryFile = (port: number): string => join(entryFolder, `${port}.json`);
/** Exit codes of the entry process. */
export const entryExit = { failed: 1, portInUse: 98 } as const;

/** A lab node is spoken to from the machine's own address in its lab (see ForwardTarget.localAddress). */
export function entryTarget(address: string, port: number): ForwardTarget {
  if (isIPv4(address) && /^10\.77\.[0-9]+\.[0-9]+$/.test(address)) return { host: address, port, localAddress: address.replace(/[0-9]+$/, "1") };
  if (isIPv6(address) && /^fd77:[0-9]+::[0-9]+$/.test(address)) return { host: address, port, localAddress: address.replace(/[0-9]+$/, "1") };
  return { host: address, port };
}
