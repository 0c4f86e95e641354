import { shellWord } from "../../templates/escape.js";
import { renderTemplate } from "../../templates/render.js";
import { HcError } from "../lib/errors.js";
import type { NodePaths } from "../lib/node-config.js";
import { serviceName, unitPath } from "./linux-commands.js";
import type { ServiceDefinition, ServiceState } from "./platform.js";

/**
 * Pure: rc.d scripts and command lines of FreeBSD 13 and 14, from rc.subr(8), daemon(8), jail(8), jexec(8), rctl(8), pw(8), mount_nullfs(8).
 * Not run on a FreeBSD yet; golden tests hold the text.
 * A container is a jail with path "/": it groups the processes for rctl and for the kill, hides other processes and System V IPC, while the
 * program in it does its own chroot(2). nullfs mounts are seen by the whole host, so the stop takes them away, deepest first.
 */

/** Names of scripts are shell variables too, so "-" becomes "_"; our names hold no "_", so this can be turned back. */
export const scriptName = (name: string): string => serviceName(name).replace(/-/g, "_");
export const serviceOf = (script: string): string => script.replace(/_/g, "-");
export const childPid = (paths: NodePaths, name: string): string => `${paths.run}/services/${serviceName(name)}.pid`;
export const supervisorPid = (paths: NodePaths, name: string): string => `${paths.run}/services/${serviceName(name)}.daemon.pid`;
export const serviceLogFile = (paths: NodePaths, name: string): string => `${paths.log}/services/${serviceName(name)}.log`;

function mountsOf(service: ServiceDefinition): { mounts: string[][]; unmounts: string[] } {
  const { container } = service;
  if (container === undefined) return { mounts: [], unmounts: [] };
  const pairs = container.readOnly.map(({ source, target }) => ({ source: unitPath(source), target: `${unitPath(container.root)}${unitPath(target)}` }));
  const dev = `${container.root}/dev`;
  return {
    // ruleset 4 is devfsrules_jail of /etc/defaults/devfs.rules
    mounts: [...pairs.map(({ source, target }) => ["mount", "-t", "nullfs", "-o", "ro,nosuid", source, target]), ["mount", "-t", "devfs", "-o", "ruleset=4", "devfs", dev]],
    unmounts: [...pairs.map(({ target }) => target), dev].sort((a, b) => b.split("/").length - a.split("/").length || (a < b ? -1 : 1)),
  };
}

function limitsOf(service: ServiceDefinition, jail: string): string[] {
  if (service.limits === undefined) return [];
  const { memoryBytes, cpu, tasks } = service.limits;
  // memoryuse is held by paging out (rctl(8), BUGS). swapuse counts what is *reserved*, so every private page and each fork's copy of it
  // (swap_reserve_by_cred in swap_pager.c): 0 would let nothing start. Twice the memory leaves room for forks and bounds what can be paged out.
  return [`jail:${jail}:memoryuse:deny=${memoryBytes}`, `jail:${jail}:swapuse:deny=${2n * BigInt(memoryBytes)}`, `jail:${jail}:pcpu:deny=${Math.max(1, Math.round(cpu * 100))}`, `jail:${jail}:maxproc:deny=${tasks}`];
}

/**
 * What daemon(8) runs for a jailed service: $0 is the jail, the rest are words for jexec(8). jail(8) with `command=` stays as the program's parent and
 * passes no signal on, and workers that outlive their master would keep its name taken; so each start begins with an empty jail, and jexec(8)
 * becomes the program itself. The environment is clean already, by service(8).
 */
const jailScript = 'jail -R "$0" 2>/dev/null; while jls -j "$0" jid >/dev/null 2>&1; do sleep 0.1; done; jail -c "name=$0" path=/ host=inherit ip4=inherit ip6=inherit persist && exec jexec "$@"';

export function rcScript(service: ServiceDefinition, paths: NodePaths): string {
  const name = scriptName(service.name);
  const jailed = service.container !== undefined || service.limits !== undefined;
  const environment = Object.entries(service.environment ?? {}).map(([key, value]) => `${key}=${value}`);
  const program = [...(environment.length === 0 ? [] : ["/usr/bin/env", ...environment]), ...service.argv];
  const inJail = ["/bin/sh", "-c", jailScript, name, ...(service.user === undefined ? [] : ["-u", service.user]), name, ...program];
  const args = [
    // -f: else daemon(8) keeps the caller's pipes open, and whoever waits for their end waits for ever; -o still gets the program's output
    "-cf", "-P", supervisorPid(paths, service.name), "-p", childPid(paths, service.name), "-t", service.name, "-o", serviceLogFile(paths, service.name),
    ...(service.restart === "never" ? [] : ["-r", "-R", "1"]),
    ...(service.user === undefined || jailed ? [] : ["-u", service.user]),
    ...(jailed ? inJail : program),
  ];
  return renderTemplate("services/rc.d.sh.hbs", {
    name,
    description: service.description,
    supervisorPid: supervisorPid(paths, service.name),
    // /var may be a memory file system, empty after a reboot (rc.conf(5), varmfs)
    pidFolder: `${paths.run}/services`,
    logFolder: `${paths.log}/services`,
    childPid: childPid(paths, service.name),
    // ps(1), comm: the name of the file that was executed, cut at MAXCOMLEN
    program: (service.argv[0] ?? "").replace(/^.*\//, "").slice(0, 19),
    reload: service.reloadArgv ?? false,
    urgent: service.urgent === true,
    limits: limitsOf(service, name),
    user: service.user ?? "",
    lowPorts: service.user === undefined ? [] : (service.lowPorts ?? []).map(String),
    jail: jailed ? name : false,
    jailFilter: `jail:${name}`,
    // rc.subr evaluates command_args once more, so its words are quoted twice
    commandArgs: args.map(shellWord).join(" "),
    ...mountsOf(service),
  });
}

export const freebsdCommands = {
  start: (name: string) => ["service", scriptName(name), "onestart"],
  restart: (name: string) => ["service", scriptName(name), "onerestart"],
  reload: (name: string) => ["service", scriptName(name), "onereload"],
  stop: (name: string) => ["service", scriptName(name), "onestop"],
  /** The supervisor first, else it starts the program again. -L: only a pid file that is still locked (pkill(1)), so never a stranger with its number. */
  killSupervisor: (paths: NodePaths, name: string) => ["pkill", "-KILL", "-L", "-F", supervisorPid(paths, name)],
  /** jail(8): removing a jail kills what is in it. */
  removeJail: (name: string) => ["jail", "-R", scriptName(name)],
  /** Opaque, so in hex; random(4) since FreeBSD 13. */
  bootId: () => ["sysctl", "-nx", "kern.boot_id"],
  processes: () => ["ps", "-axww", "-o", "pid="],
  log: (paths: NodePaths, name: string, lines: number) => ["tail", "-n", String(lines), serviceLogFile(paths, name)],
  passwd: () => ["getent", "passwd"],
  group: (name: string) => ["getent", "group", name],
  addGroup: (user: string, gid: number) => ["pw", "groupadd", "-n", user, "-g", String(gid)],
  addUser: (user: string, uid: number, gid: number) => ["pw", "useradd", "-n", user, "-u", String(uid), "-g", String(gid), "-d", "/nonexistent", "-s", "/usr/sbin/nologin", "-c", "HybridCluster"],
  removeUser: (user: string) => ["pw", "userdel", "-n", user],
  removeGroup: (user: string) => ["pw", "groupdel", "-n", user],
  memory: () => ["sysctl", "-n", "hw.physmem", "hw.pagesize", "vm.stats.vm.v_free_count", "vm.stats.vm.v_inactive_count", "vm.stats.vm.v_laundry_count"],
} as const;

/** State of a service from its supervisor's pid file and the list of living pids. A pid file that outlived its process means a crash. */
export function stateOf(pidText: string | undefined, living: ReadonlySet<string>): ServiceState {
  const pid = pidText?.trim();
  if (pid === undefined || pid === "") return "inactive";
  return living.has(pid) ? "active" : "failed";
}

/** Output of `freebsdCommands.memory`: one number a line. Free and inactive pages count as available; ZFS' ARC is given back under pressure, but not counted. */
export function parseSysctlMemory(text: string): { totalBytes: number; availableBytes: number } {
  const [total, page, free, inactive, laundry] = text.trim().split("\n").map(Number);
  if ([total, page, free, inactive].some((value) => value === undefined || !Number.isFinite(value))) throw new HcError("INTERNAL", "sysctl gave no memory numbers.");
  return { totalBytes: total as number, availableBytes: ((free as number) + (inactive as number) + (laundry ?? 0)) * (page as number) };
}
