import * as pulumi from "@pulumi/pulumi";
import { register } from "../core/registry.js";
import type { Cluster } from "./cluster.js";

export interface CustomerArgs {
  cluster: Cluster;
  /** For people; default: the name. */
  displayName?: pulumi.Input<string>;
  /** Mail address or telephone number. */
  contact?: pulumi.Input<string>;
  adopt?: boolean;
  timeouts?: { create?: number };
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.customer.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.customer.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.customer.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.customer.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.customer.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.customer.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.customer.delete(i, p)),
};

/** Whom units belong to: one Unix user, with the same numbers on all nodes. */
export class Customer extends pulumi.dynamic.Resource {
  declare public readonly uid: pulumi.Output<number>;
  declare public readonly gid: pulumi.Output<number>;
  declare public readonly user: pulumi.Output<string>;
  public readonly customerName: string;
  public readonly cluster: Cluster;

  public constructor(name: string, args: CustomerArgs, options: pulumi.CustomResourceOptions = {}) {
    const { cluster, ...rest } = args;
    register(`customer name in cluster ${cluster.clusterName}`, name, `Customer ${name}`);
    super(provider, name, { ...rest, name, connection: cluster.connection, uid: undefined, gid: undefined, user: undefined }, pulumi.mergeOptions({ dependsOn: [cluster], ...(cluster.local === undefined ? {} : { deletedWith: cluster.local }) }, options), "hybridcluster", "Customer");
    this.customerName = name;
    this.cluster = cluster;
  }
}
