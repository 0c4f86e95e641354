import type { NodePaths, NodePorts } from "../../../daemon/lib/node-config.js";

/**
 * `<state>/manifest.json` on the host: everything that bootstrap changed there, with what was before. Written before each kind of change, so that
 * whatever a crash leaves behind is known to be ours; deletion of the Host goes by it.
 */
export interface Manifest {
  version: 1;
  node: string;
  /** Installed by us (with what they pulled in); what was there before is not listed and stays. */
  packages: string[];
  /** Set while packages are being installed: what was there before. */
  packagesBefore: string[] | null;
  users: string[];
  /** Files outside our own folders. */
  files: string[];
  /** Services that a package brought and that were kept from starting. */
  silenced: string[];
  ports: NodePorts;
  paths: NodePaths;
}

export const emptyManifest = (node: string, ports: NodePorts, paths: NodePaths): Manifest => ({ version: 1, node, packages: [], packagesBefore: null, users: [], files: [], silenced: [], ports, paths });
export const manifestFile = (paths: NodePaths): string => `${paths.state}/manifest.json`;
