import { renderTemplate } from "../../templates/render.js";
import { HcError } from "../lib/errors.js";
import type { NodePaths } from "../lib/node-config.js";
import type { ServiceDefinition, ServiceState } from "./platform.js";

/** Pure: units and command lines of Linux. systemd.exec(5), systemd.resource-control(5); tried with systemd 252 on cgroup v1 and v2. */

export function serviceName(name: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(name)) throw new HcError("INVALID_INPUT", `${JSON.stringify(name)} cannot be the name of a service; use a-z, 0-9 and "-".`);
  return name;
}
export const unitFile = (name: string): string => `${serviceName(name)}.service`;

/** Paths in units stand in lists that are split at blanks and colons; ours hold neither. They must not be quoted: quotes would make source and target of a bind one word. */
export function unitPath(path: string): string {
  if (!/^\/[A-Za-z0-9._/@-]*$/.test(path) || /(^|\/)\.\.(\/|$)/.test(path))
    throw new HcError("INVALID_INPUT", `${JSON.stringify(path)} cannot be used in a service; write an absolute path of letters, digits and "._/@-".`);
  return path;
}

/**
 * The root that the services of containers see: a folder of mount points and links, the same for all of them, into which each has only its own mounts. The supervisor reads the table of all that is
 * mounted anew for each read-only path of a service; with the host's `/` as the root that table holds every unit of the node twice (DESIGN.md has what was measured).
 */
export const viewFolder = (paths: NodePaths): string => `${paths.run}/root`;

/** What a container's program sees of the host at the same place, before its own chroot(2): programs and libraries, and its configuration. */
function seenOfHost({ etc }: NodePaths): string[] {
  return ["/usr", "/etc", ...(etc.startsWith("/etc/") ? [] : [etc])];
}

function containerData(service: ServiceDefinition, paths: NodePaths): object {
  if (service.container === undefined) return { container: false };
  const { root, readOnly, devices, writable } = service.container;
  return {
    container: {
      view: unitPath(viewFolder(paths)),
      seen: seenOfHost(paths).map(unitPath),
      writable: [...new Set([root, ...writable])].map(unitPath),
      notify: service.notify === true,
      // a node is no less a device on a read-only mount, and each such one costs the supervisor a look at all mounts
      devices: devices.map((path) => `-${unitPath(path)}:${unitPath(root)}${unitPath(path)}`),
      readOnly: readOnly.map(({ source, target }) => `-${unitPath(source)}:${unitPath(root)}${unitPath(target)}`),
    },
  };
}

const restartPolicy = { always: "always", "on-failure": "on-failure", never: "no" } as const;

export function unitText(service: ServiceDefinition, paths: NodePaths): string {
  serviceName(service.name);
  const capabilities = service.capabilities?.map((name) => name.toUpperCase()).join(" ");
  if (capabilities !== undefined && !/^[A-Z_ ]*$/.test(capabilities)) throw new HcError("INVALID_INPUT", `${service.name}: bad capability in ${capabilities}`);
  return renderTemplate("services/systemd.service.hbs", {
    description: service.description,
    type: service.notify === true ? "notify" : "exec",
    argv: service.argv,
    reload: service.reloadArgv ?? false,
    environment: Object.entries(service.environment ?? {}).map(([name, value]) => `${name}=${value}`),
    user: service.user ?? false,
    restart: restartPolicy[service.restart],
    openFiles: service.openFiles ?? false,
    urgent: service.urgent === true,
    bounding: capabilities ?? false,
    ambient: service.user === undefined ? false : (capabilities ?? false),
    limits: service.limits === undefined ? false : { memoryBytes: service.limits.memoryBytes, cpuPercent: Math.max(1, Math.round(service.limits.cpu * 100)), tasks: service.limits.tasks },
    ...containerData(service, paths),
  });
}

export const linuxCommands = {
  daemonReload: () => ["systemctl", "daemon-reload"],
  start: (name: string) => ["systemctl", "start", unitFile(name)],
  restart: (name: string) => ["systemctl", "restart", unitFile(name)],
  reload: (name: string) => ["systemctl", "reload", unitFile(name)],
  stop: (name: string) => ["systemctl", "stop", unitFile(name)],
  resetFailed: (name: string) => ["systemctl", "reset-failed", unitFile(name)],
  /** Told that it stops, the supervisor does not restart what is killed next. */
  stopSoon: (names: readonly string[]) => ["systemctl", "stop", "--no-block", ...names.map(unitFile)],
  /** All processes of the control group, the option's default; its name differs between systemd 251 and 252. */
  killAll: (names: readonly string[]) => ["systemctl", "kill", "--signal=KILL", ...names.map(unitFile)],
  states: (prefixes: readonly string[]) => ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager", "--full", "--type=service", ...prefixes.map((prefix) => `${serviceName(prefix.replace(/-$/, ""))}*`)],
  log: (name: string, lines: number) => ["journalctl", "--unit", unitFile(name), "--lines", String(lines), "--no-pager", "--output", "short-iso", "--quiet"],
  passwd: () => ["getent", "passwd"],
  group: (name: string) => ["getent", "group", name],
  addGroup: (user: string, gid: number) => ["groupadd", "--gid", String(gid), user],
  addUser: (user: string, uid: number, gid: number) => ["useradd", "--uid", String(uid), "--gid", String(gid), "--no-create-home", "--no-log-init", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", user],
  removeUser: (user: string) => ["userdel", user],
  removeGroup: (user: string) => ["groupdel", user],
} as const;

const states: Record<string, ServiceState> = { active: "active", reloading: "active", activating: "activating", deactivating: "activating", failed: "failed", inactive: "inactive" };

/** `systemctl list-units --plain --no-legend`: UNIT LOAD ACTIVE SUB DESCRIPTION. */
export function parseStates(text: string): Map<string, ServiceState> {
  const found = new Map<string, ServiceState>();
  for (const line of text.split("\n")) {
    const [unit, load, active] = line.trim().split(/\s+/);
    if (unit === undefined || !unit.endsWith(".service") || active === undefined) continue;
    found.set(unit.slice(0, -".service".length), load === "not-found" && active === "inactive" ? "missing" : (states[active] ?? "inactive"));
  }
  return found;
}

/** /proc/meminfo, proc(5): kB are KiB. */
export function parseMeminfo(text: string): { totalBytes: number; availableBytes: number } {
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
  return { totalBytes: read("MemTotal"), availableBytes: read("MemAvailable") };
}
