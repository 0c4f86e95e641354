import type { NodePaths, NodePorts } from "../../../daemon/lib/node-config.js";

/** What was there before an installation; kept until it has ended, so that a crash in its middle does not make it ours or theirs by mistake. */
export interface Before { packages: string[]; users: string[] }

/**
 * `<state>/manifest.json` on the host: everything that bootstrap changed there, with what was before. Written before each kind of change, so that
 * whatever a crash leaves behind is known to be ours; deletion of the Host goes by it.
 */
export interface Manifest {
  version: 1;
  node: string;
  /** Installed by us (with what they pulled in); what was there before is not listed and stays. */
  packages: string[];
  /** Not null while packages are being installed. */
  before: Before | null;
  /** Ours, and those that our packages brought. */
  users: string[];
  /** Files outside our own folders. */
  files: string[];
  /** Services that a package of ours brought and that were kept from starting. */
  silenced: string[];
  /** Of our folders, those that were there (empty): they stay. */
  foldersBefore: string[];
  /** Seconds between ZFS' transaction groups before us; "" = not changed. */
  txgSecondsBefore: string;
  ports: NodePorts;
  paths: NodePaths;
}

export const emptyManifest = (node: string, ports: NodePorts, paths: NodePaths): Manifest => ({
  version: 1, node, packages: [], before: null, users: [], files: [], silenced: [], foldersBefore: [], txgSecondsBefore: "", ports, paths,
});
export const manifestFile = (paths: NodePaths): string => `${paths.state}/manifest.json`;
