import type { Runtime } from "../lib/documents.js";

/** A service under the host's own supervisor: a systemd unit on Linux, an rc.d script with daemon(8) on FreeBSD. */
export interface ServiceDefinition {
  /** e.g. "hc-site-wiki". */
  name: string;
  description: string;
  argv: readonly string[];
  user?: string;
  /** Reload command, when the service knows one. */
  reloadArgv?: readonly string[];
  limits?: { memoryBytes: string; cpu: number; tasks: number };
  /** chroot FlexContainer: root folder of the unit, what is visible in it read-only, and which nodes of the container's own /dev (FreeBSD has a devfs for it). */
  container?: { root: string; readOnly: readonly { source: string; target: string }[]; devices: readonly string[]; writable: readonly string[] };
  environment?: Readonly<Record<string, string>>;
  restart: "always" | "on-failure" | "never";
  /** Without `user`: all that root keeps (default: everything). With `user`: what it gets besides. Linux names; FreeBSD has jails for the first and mac_portacl(4) for the second. */
  capabilities?: readonly string[];
  /** TCP ports below 1024 that it binds as `user`; mac_portacl(4) wants them by number, Linux has CAP_NET_BIND_SERVICE. */
  lowPorts?: readonly number[];
  /** The service tells when it is ready (sd_notify(3)); starting it then means ready. FreeBSD has no such thing. */
  notify?: boolean;
  /** Limit of open files; default the host's. */
  openFiles?: number;
  /** Goes before all others when the CPU is short: a node whose signs of life come late is fenced, just when it has taken over the sites of another. */
  urgent?: boolean;
}
export type ServiceState = "active" | "inactive" | "failed" | "activating" | "missing";

/** Everything that differs between FreeBSD and Linux. Commands are made by pure functions (`*-commands.ts`) under golden tests. */
export interface Platform {
  readonly name: "linux" | "freebsd";
  runtime(): Promise<Runtime>;
  /** Writes the definition when it differs; never starts. True when it changed. */
  defineService(service: ServiceDefinition): Promise<boolean>;
  /** Where the supervisor has to read what was defined, it does so now and not at the next start. */
  readDefinitions?(): Promise<void>;
  startService(name: string): Promise<void>;
  restartService(name: string): Promise<void>;
  reloadService(name: string): Promise<void>;
  /** Stops, ends every process of it, returns when none is left. A missing service is success. */
  stopService(name: string): Promise<void>;
  /**
   * SIGKILL to every process of these services, at once, and no restart by their supervisor: the fence, no stop. Missing ones are success.
   * Returns when the signals are sent; what is left then is told by `serviceStates`.
   */
  killServices(names: readonly string[]): Promise<void>;
  /** Stops and removes the definition. */
  removeService(name: string): Promise<void>;
  /** States of all our services whose names start with `prefix`. One command for all. */
  serviceStates(prefix: string): Promise<Map<string, ServiceState>>;
  serviceLog(name: string, lines: number): Promise<string>;
  /** Creates user and group with these numbers when missing; CONFLICT when the name has other numbers. */
  ensureUser(user: string, uid: number, gid: number): Promise<void>;
  removeUser(user: string): Promise<void>;
  /** Our users ("hc-…"). */
  listUsers(prefix: string): Promise<{ user: string; uid: number; gid: number }[]>;
  memory(): Promise<{ totalBytes: number; availableBytes: number }>;
  /** All that is mounted, as one text that is another one when something was mounted or unmounted since. Costs no process; missing where that is not to be had. */
  mounts?(): string;
  /** Differs from boot to boot; "" where the system has no such thing. */
  bootId(): Promise<string>;
}
