import { type NodePaths, type NodePorts, type WatchdogConfig, defaultPaths, defaultPorts, freebsdPaths } from "../../daemon/lib/node-config.js";
import { nameSchema } from "../../daemon/lib/schema.js";
import { type Connection, hostKeyPattern, pathsSchema } from "./connection.js";

export interface HostInputs {
  name: string;
  /** Name or address by which this machine is reached from here; the first by which other nodes reach it. */
  address: string;
  /** Further addresses (IPv4 and IPv6) by which other nodes reach it. */
  addresses: string[];
  /** SSH. */
  port: number;
  user: string;
  hostKey: string;
  privateKeyPath?: string;
  platform: "linux" | "freebsd";
  zone: string;
  role: "node" | "witness";
  ports: NodePorts;
  paths: NodePaths;
  /** Only where it is wished: hosts without one keep their host.json. */
  watchdog?: WatchdogConfig;
  /** The daemon that this package carries: another digest is an upgrade. */
  hcd: { version: string; sha256: string };
  /** Version of Node on the host (Linux; on FreeBSD it comes from pkg). */
  runtime: string;
  timeouts: { create: number };
}
export type HostOutputs = HostInputs;

const port = { type: "integer", minimum: 1, maximum: 65535 } as const;
/** A folder that is removed with the Host: never one of the system's own. */
const path = { type: "string", pattern: "^/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", maxLength: 128 } as const;
export const hostSchema = {
  type: "object",
  additionalProperties: false,
  required: ["name", "address", "hostKey", "platform", "hcd", "runtime"],
  properties: {
    name: nameSchema,
    address: { type: "string", pattern: "^[A-Za-z0-9.:_-]{1,253}$" },
    addresses: { type: "array", items: { type: "string", pattern: "^[A-Za-z0-9.:_-]{1,253}$" }, maxItems: 8, default: [] },
    port: { ...port, default: 22 },
    user: { type: "string", pattern: "^[a-z_][a-z0-9_-]{0,31}$", default: "root" },
    hostKey: { type: "string", pattern: hostKeyPattern },
    privateKeyPath: { type: "string", pattern: "^/", maxLength: 1024 },
    platform: { type: "string", enum: ["linux", "freebsd"] },
    zone: { type: "string", pattern: "^[a-z0-9-]{0,32}$", default: "" },
    role: { type: "string", enum: ["node", "witness"], default: "node" },
    ports: { type: "object", additionalProperties: false, properties: { http: port, https: { type: "integer", minimum: 0, maximum: 65535 }, peer: port, control: port, etcdClient: port, etcdPeer: port, apache: port, metrics: port }, default: {} },
    paths: { type: "object", additionalProperties: false, properties: Object.fromEntries(Object.keys(pathsSchema.properties).map((key) => [key, path])), default: {} },
    watchdog: { type: "object", additionalProperties: false, required: ["device"], properties: { device: { type: "string", pattern: "^/dev/watchdog[0-9]{1,2}$" } } },
    hcd: { type: "object", additionalProperties: false, required: ["version", "sha256"], properties: { version: { type: "string" }, sha256: { type: "string", pattern: "^[0-9a-f]{64}$" } } },
    runtime: { type: "string", pattern: "^[0-9]+\\.[0-9]+\\.[0-9]+$" },
    timeouts: { type: "object", additionalProperties: false, properties: { create: { type: "integer", minimum: 10, maximum: 7200 } }, default: {} },
  },
} as const;

/** Settings that were not given: by platform. */
export function withHostDefaults(inputs: HostInputs): HostInputs {
  return {
    ...inputs,
    ports: { ...defaultPorts, ...inputs.ports },
    paths: { ...(inputs.platform === "freebsd" ? freebsdPaths : defaultPaths), ...inputs.paths },
    timeouts: { ...{ create: 900 }, ...inputs.timeouts },
  };
}

/** Folders that must not lie within each other, nor be the system's; deletion empties them. */
export function pathFailures(inputs: Pick<HostInputs, "paths" | "platform">): { property: string; reason: string }[] {
  const entries: [string, string][] = Object.entries(inputs.paths);
  const failures: { property: string; reason: string }[] = [];
  for (const [key, path] of entries) {
    const property = `paths.${key}`;
    if (path.split("/").some((part) => part === "." || part === "..")) failures.push({ property, reason: `${path} must not hold "." or ".."` });
    else if (key !== "data" && path.split("/").length < 3) failures.push({ property, reason: `${path} is a folder of the system; give one below it` });
    const outer = entries.find(([other, value]) => other !== key && (value === path ? other < key : path.startsWith(`${value}/`)));
    if (outer !== undefined) failures.push({ property, reason: `${path} lies within paths.${outer[0]}; give a place of its own` });
    if (key === "run" && !/^\/(var\/)?run\/[^/]+$/.test(path)) failures.push({ property, reason: `${path} must be a folder of /run (FreeBSD: /var/run)` });
  }
  return failures;
}

/** Why this host cannot have the watchdog that it asks for. */
export function watchdogFailures({ watchdog, platform, role }: Pick<HostInputs, "watchdog" | "platform" | "role">): { property: string; reason: string }[] {
  if (watchdog === undefined) return [];
  if (platform === "freebsd") return [{ property: "watchdog", reason: "not on FreeBSD: watchdog(4) is fed by ioctl(2) alone, which the daemon cannot call, and its timeouts are powers of two nanoseconds (4.29 s, 8.59 s); leave it out" }];
  if (role === "witness") return [{ property: "watchdog", reason: "a witness holds no units that a reset would have to end; leave it out" }];
  return [];
}

export const connectionOf = (host: Pick<HostInputs, "name" | "address" | "port" | "user" | "hostKey" | "privateKeyPath" | "paths">): Connection => ({
  node: host.name, address: host.address, port: host.port, user: host.user, hostKey: host.hostKey, paths: host.paths,
  ...(host.privateKeyPath === undefined ? {} : { privateKeyPath: host.privateKeyPath }),
});
