import * as pulumi from "@pulumi/pulumi";

export interface LocalEntryArgs {
  /** Default: the resource's own name. */
  name?: pulumi.Input<string>;
  /** Port on 127.0.0.1 and ::1; default 8080. */
  port?: pulumi.Input<number>;
  /** Addresses of the nodes, in the order in which they are tried. */
  targets: pulumi.Input<pulumi.Input<string>[]>;
  /** Port at the nodes; default 80. */
  targetPort?: pulumi.Input<number>;
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.localEntry.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.localEntry.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.localEntry.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.localEntry.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.localEntry.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.localEntry.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.localEntry.delete(i, p)),
};

/** A port on this machine's loopback that leads to the first node that answers. */
export class LocalEntry extends pulumi.dynamic.Resource {
  declare public readonly name: pulumi.Output<string>;
  declare public readonly port: pulumi.Output<number>;
  /** "http://localhost:8080" */
  declare public readonly url: pulumi.Output<string>;

  public constructor(name: string, args: LocalEntryArgs, options?: pulumi.CustomResourceOptions) {
    super(provider, name, { url: undefined, name, ...args }, options, "hybridcluster", "LocalEntry");
  }
}
