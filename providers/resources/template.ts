import * as pulumi from "@pulumi/pulumi";
import { register } from "../core/registry.js";
import type { Cluster } from "./cluster.js";

export interface TemplateArgs {
  cluster: Cluster;
  /** A recipe that the daemon carries: "php", "dokuwiki". */
  recipe: pulumi.Input<string>;
  /** A new one builds the template anew; existing sites stay as they are. */
  version: pulumi.Input<string>;
  settings?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** Take over one that was made through the API. */
  adopt?: boolean;
  timeouts?: { create?: number };
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.template.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.template.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.template.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.template.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.template.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.template.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.template.delete(i, p)),
};

/** What sites are cloned from: built once on one node, spread to all, its blocks shared by every site. */
export class Template extends pulumi.dynamic.Resource {
  declare public readonly guid: pulumi.Output<string>;
  public readonly templateName: string;

  public constructor(name: string, args: TemplateArgs, options: pulumi.CustomResourceOptions = {}) {
    const { cluster, ...rest } = args;
    register(`template name in cluster ${cluster.clusterName}`, name, `Template ${name}`);
    super(provider, name, { ...rest, name, connection: cluster.connection, guid: undefined }, pulumi.mergeOptions({ dependsOn: [cluster], ...(cluster.local === undefined ? {} : { deletedWith: cluster.local }) }, options), "hybridcluster", "Template");
    this.templateName = name;
  }
}
