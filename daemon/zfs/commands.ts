/**
 * Every zfs command line of the project, OpenZFS 2.1 syntax with `-Hp` (zfs(8) of 2.1; also what the lab's zfs understands).
 * Pure: argv in, argv out. Options stand before operands; property lists are fixed so that parse.ts can rely on them.
 */

/**
 * User properties that are read back, without the prefix. `zfs get` needs them by name (`all` would print about fifty lines a
 * dataset), so a new one is added here first.
 */
export const userProperties = ["unit", "epoch", "home", "definition", "config", "revision", "customer", "template", "version", "recipe", "state", "trash", "deleted", "stash", "sealed", "vault", "partial"] as const;
export const userPrefix = "hybridcluster:";

const datasetProperties = ["guid", "origin", "mounted", "mountpoint", "readonly", "used", "referenced", "available", "quota", ...userProperties.map((name) => userPrefix + name)];
const snapshotProperties = ["guid", "createtxg", "creation", "userrefs"];

const lookProperties = [...new Set([...datasetProperties, ...snapshotProperties])].join(",");

const options = (properties: Readonly<Record<string, string>>): string[] => Object.entries(properties).flatMap(([name, value]) => ["-o", `${name}=${value}`]);

export const zfsCommands = {
  datasets: (root: string): string[] => ["zfs", "get", "-Hp", "-r", "-t", "filesystem", "-o", "name,property,value,source", datasetProperties.join(","), root],
  dataset: (names: readonly string[]): string[] => ["zfs", "get", "-Hp", "-t", "filesystem", "-o", "name,property,value,source", datasetProperties.join(","), ...names],
  look: (names: readonly string[]): string[] => ["zfs", "get", "-Hp", "-r", "-d", "1", "-t", "filesystem,snapshot", "-o", "name,property,value,source", lookProperties, ...names],
  /** Datasets and snapshots by name, each with the properties of both. */
  lookAt: (names: readonly string[]): string[] => ["zfs", "get", "-Hp", "-o", "name,property,value,source", lookProperties, ...names],
  snapshots: (datasets: readonly string[]): string[] => ["zfs", "get", "-Hp", "-r", "-d", "1", "-t", "snapshot", "-o", "name,property,value", snapshotProperties.join(","), ...datasets],
  allSnapshots: (root: string): string[] => ["zfs", "get", "-Hp", "-r", "-d", "2", "-t", "snapshot", "-o", "name,property,value", snapshotProperties.join(","), root],
  guid: (name: string): string[] => ["zfs", "get", "-Hp", "-o", "value", "guid", name],
  /** Only the lab's exact form makes its zfs bring everything to disk first; OpenZFS takes it as it is. */
  written: (root: string): string[] => ["zfs", "get", "-Hpr", "-t", "filesystem", "-o", "name,value", "written", root],
  create: (dataset: string, properties: Readonly<Record<string, string>>): string[] => ["zfs", "create", ...options(properties), dataset],
  clone: (snapshot: string, dataset: string, properties: Readonly<Record<string, string>>): string[] => ["zfs", "clone", ...options(properties), snapshot, dataset],
  snapshot: (names: readonly string[]): string[] => ["zfs", "snapshot", ...names],
  /** `setting`: `name=value`. Goes on with the others when one dataset refuses it. */
  set: (setting: string, datasets: readonly string[]): string[] => ["zfs", "set", setting, ...datasets],
  inherit: (dataset: string, property: string): string[] => ["zfs", "inherit", property, dataset],
  rename: (from: string, to: string): string[] => ["zfs", "rename", from, to],
  destroy: (name: string): string[] => ["zfs", "destroy", name],
  mount: (dataset: string): string[] => ["zfs", "mount", dataset],
  unmount: (dataset: string): string[] => ["zfs", "unmount", dataset],
  /** For the fencer alone: what is mounted past the deadline must go. Nothing that was written is lost by it. */
  forceUnmount: (dataset: string): string[] => ["zfs", "unmount", "-f", dataset],
  mounted: (): string[] => ["zfs", "mount"],
  hold: (tag: string, snapshots: readonly string[]): string[] => ["zfs", "hold", tag, ...snapshots],
  release: (tag: string, snapshots: readonly string[]): string[] => ["zfs", "release", tag, ...snapshots],
  /** `-H`: name, tag and time of each, by tabs. */
  holds: (snapshots: readonly string[]): string[] => ["zfs", "holds", "-H", ...snapshots],
  send: (snapshot: string, base: string | undefined): string[] => ["zfs", "send", ...(base === undefined ? [] : ["-i", base]), snapshot],
  /** `-u`: a received file system is never mounted by the receive. Never `-F` (OWNERSHIP 12). */
  receive: (dataset: string, properties: Readonly<Record<string, string>>, how: { resumable?: boolean } = {}): string[] => ["zfs", "receive", "-u", ...(how.resumable === true ? ["-s"] : []), ...options(properties), dataset],
  partials: (root: string): string[] => ["zfs", "get", "-Hp", "-r", "-t", "filesystem", "-o", "name,value", "receive_resume_token", root],
  /** `-n -v`: only tells what the token is for. */
  readToken: (token: string): string[] => ["zfs", "send", "-n", "-v", "-t", token],
  resume: (token: string): string[] => ["zfs", "send", "-t", token],
  /** Only what `receive -s` has kept of a cut stream. */
  abortReceive: (dataset: string): string[] => ["zfs", "receive", "-A", dataset],
  promote: (dataset: string): string[] => ["zfs", "promote", dataset],
  /** Without `-r`: only back to the newest snapshot. */
  rollback: (snapshot: string): string[] => ["zfs", "rollback", snapshot],
} as const;
