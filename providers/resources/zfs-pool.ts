import * as pulumi from "@pulumi/pulumi";
import type { Vdev } from "../schemas/zfs-pool.js";
import type { Host } from "./host.js";

export interface ZfsPoolArgs {
  host: Host;
  /** Name of the pool, default "hpool". */
  pool?: string;
  /** `{disk}`, `{mirror: […]}`, `{raidz1: […]}` (2, 3), `{file, size}`. More can be added later; none can be taken away. */
  vdevs?: pulumi.Input<pulumi.Input<Vdev>[]>;
  properties?: Record<string, string>;
  compatibility?: string;
  /** Take over a pool that exists, and live under one dataset of it. */
  adopt?: boolean;
  /** That dataset, default "hc". */
  under?: string;
  /** A local pool, destroyed with what is in it. */
  ephemeral?: boolean;
  /** `"<pool>/<dataset>"` that a change of `pool` or `under` may replace. */
  allowReplace?: string;
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.zfsPool.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.zfsPool.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.zfsPool.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.zfsPool.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.zfsPool.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.zfsPool.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.zfsPool.delete(i, p)),
};

/** The pool of a host that the cluster's units live on. It stands for its host in `Cluster`'s `pools`. Never destroyed while units or trash are in it. */
export class ZfsPool extends pulumi.dynamic.Resource {
  declare public readonly pool: pulumi.Output<string>;
  public readonly host: Host;
  /** The dataset that everything lives under, known to the program. */
  public readonly dataset: string;

  public constructor(name: string, args: ZfsPoolArgs, options: pulumi.CustomResourceOptions = {}) {
    const { host, pool = "hpool", under = "hc", vdevs = [], ...rest } = args;
    super(provider, name, { ...rest, name, pool, under, vdevs, connection: host.connection }, pulumi.mergeOptions({ dependsOn: [host], ...(host.local === undefined ? {} : { deletedWith: host.local }) }, options), "hybridcluster", "ZfsPool");
    this.host = host;
    this.dataset = `${pool}/${under}`;
  }
}
