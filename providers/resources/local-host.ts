import * as pulumi from "@pulumi/pulumi";

export interface LocalHostArgs {
  /** The lab that the node belongs to; made with its first node, removed with its last. */
  lab: pulumi.Input<string>;
  /** Default: the resource's own name. */
  name?: pulumi.Input<string>;
  /** Number in the lab (1 to 200), which fixes the addresses. Default: the number at the end of the name, else a free one. */
  index?: pulumi.Input<number>;
  /** Sizes of the disks, default one of "4G": sparse files. May grow, never shrink. */
  diskSizes?: pulumi.Input<pulumi.Input<string>[]>;
  /** Limit of the whole node's memory, such as "1G"; default: none. */
  memory?: pulumi.Input<string>;
}

// One provider object for all: its text is serialized once, and calls the current code for ever (docs/architecture.md, Providers).
const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.localHost.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.localHost.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.localHost.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.localHost.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.localHost.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.localHost.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.localHost.delete(i, p)),
};

/**
 * A node of a lab on this machine: a real Debian host in namespaces. Its outputs are what `Host` takes. It goes on running after `up`; one
 * that is found stopped is started again by the next `up`.
 */
export class LocalHost extends pulumi.dynamic.Resource {
  declare public readonly lab: pulumi.Output<string>;
  declare public readonly name: pulumi.Output<string>;
  declare public readonly address: pulumi.Output<string>;
  declare public readonly addresses: pulumi.Output<string[]>;
  declare public readonly port: pulumi.Output<number>;
  declare public readonly user: pulumi.Output<string>;
  declare public readonly hostKey: pulumi.Output<string>;
  declare public readonly privateKeyPath: pulumi.Output<string>;
  declare public readonly platform: pulumi.Output<"linux">;
  /** Paths of the disks inside the node, for `ZfsPool`'s `file` vdevs. */
  declare public readonly disks: pulumi.Output<string[]>;

  public constructor(name: string, args: LocalHostArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = { address: undefined, addresses: undefined, port: undefined, user: undefined, hostKey: undefined, privateKeyPath: undefined, platform: undefined, disks: undefined };
    super(provider, name, { ...outputs, name, ...args }, options, "hybridcluster", "LocalHost");
  }
}
