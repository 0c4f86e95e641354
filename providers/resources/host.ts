import * as pulumi from "@pulumi/pulumi";
import { defaultPaths, defaultWatchdog, freebsdPaths, type NodePaths, type NodePorts, type WatchdogConfig } from "../../daemon/lib/node-config.js";
import { carriedDaemon, carriedNode } from "../core/package-info.js";
import { register } from "../core/registry.js";
import type { Connection } from "../schemas/connection.js";
import type { LocalHost } from "./local-host.js";

export interface HostArgs {
  /** Name or address by which this machine is reached over SSH; the first by which other nodes reach it. */
  address: pulumi.Input<string>;
  /** Further addresses, IPv4 and IPv6, for the other nodes. */
  addresses?: pulumi.Input<pulumi.Input<string>[]>;
  /** SSH port, default 22. */
  port?: pulumi.Input<number>;
  /** SSH user, default root; another one needs sudo without a password. */
  user?: pulumi.Input<string>;
  /** Pinned host key, "ssh-ed25519 AAAA…". */
  hostKey: pulumi.Input<string>;
  /** Path of the private key on the operator's machine; default: the SSH agent. */
  privateKeyPath?: pulumi.Input<string | undefined>;
  platform: "freebsd" | "linux";
  /** Failure domain, such as a data centre. */
  zone?: string;
  /** "witness" votes in etcd and holds no units. */
  role?: "node" | "witness";
  /** Where the defaults are in use already. */
  ports?: Partial<NodePorts>;
  paths?: Partial<NodePaths>;
  /**
   * Linux, for machines that carry nothing else: the hardware's watchdog (true: /dev/watchdog0) resets the machine when what is at home there could not be ended in time, 6.4 s after its last
   * sign of life. Default: none.
   */
  watchdog?: boolean | WatchdogConfig;
  /** Seconds. */
  timeouts?: { create?: number };
  name?: string;
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.host.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.host.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.host.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.host.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.host.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.host.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.host.delete(i, p)),
};

/** A machine of yours as a node: bootstrapped over SSH, with the daemon on it. Deleting it takes back what was changed. */
export class Host extends pulumi.dynamic.Resource {
  declare public readonly address: pulumi.Output<string>;
  declare public readonly addresses: pulumi.Output<string[]>;
  declare public readonly zone: pulumi.Output<string>;
  /** The node's name, known to the program. */
  public readonly nodeName: string;
  public readonly role: "node" | "witness";
  /** How the host is reached: made of inputs only, so that a preview knows as much as `up`. */
  public readonly connection: pulumi.Output<Connection>;
  /** What the other nodes must know of it. */
  public readonly member: pulumi.Output<{ node: string; addresses: string[]; zone: string; role: "node" | "witness"; ports: Partial<NodePorts> }>;
  /** The lab node below, if it is one. */
  public readonly local: LocalHost | undefined;

  public constructor(name: string, args: HostArgs, options?: pulumi.CustomResourceOptions, local?: LocalHost) {
    const nodeName = args.name ?? name;
    register("node name", nodeName, `Host ${name}`);
    const { name: _name, watchdog, ...rest } = args;
    super(provider, name, { addresses: undefined, zone: undefined, ...rest, ...(watchdog === undefined || watchdog === false ? {} : { watchdog: watchdog === true ? defaultWatchdog : watchdog }), name: nodeName, hcd: carriedDaemon(), runtime: carriedNode() }, options, "hybridcluster", "Host");
    this.nodeName = nodeName;
    this.role = args.role ?? "node";
    this.local = local;
    const paths: NodePaths = { ...(args.platform === "freebsd" ? freebsdPaths : defaultPaths), ...args.paths };
    this.connection = pulumi.output({ address: args.address, port: args.port ?? 22, user: args.user ?? "root", hostKey: args.hostKey, privateKeyPath: args.privateKeyPath }).apply(({ privateKeyPath, ...known }) => ({
      node: nodeName, ...known, paths, ...(privateKeyPath === undefined ? {} : { privateKeyPath }),
    }));
    this.member = pulumi.output({ address: args.address, addresses: args.addresses ?? [] }).apply(({ address, addresses }) => ({
      node: nodeName, addresses: [...new Set([address, ...addresses])], zone: args.zone ?? "", role: this.role, ports: args.ports ?? {},
    }));
  }
}
