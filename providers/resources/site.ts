import * as pulumi from "@pulumi/pulumi";
import type { SiteSpec } from "../../daemon/lib/documents.js";
import type { HstsSpec } from "../../daemon/lib/tls-spec.js";
import { contentDigest, packContent } from "../core/pack-content.js";
import { register } from "../core/registry.js";
import type { Certificate } from "./certificate.js";
import type { Cluster } from "./cluster.js";
import type { Customer } from "./customer.js";
import type { Template } from "./template.js";

export interface SiteArgs {
  customer: Customer;
  template: Template;
  /** Default: the customer's. */
  cluster?: Cluster;
  hostnames: pulumi.Input<string>[];
  /** Copies, its home included; default: the cluster's redundancy. */
  replicas?: pulumi.Input<number>;
  /** Wishes. Where the site is, is an output; only `pin` and `require` move a site that lives. */
  placement?: Partial<SiteSpec["placement"]>;
  /** "10G" */
  quota?: pulumi.Input<string>;
  limits?: Partial<SiteSpec["limits"]>;
  /** php.ini settings of the site. */
  php?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** Folder, or .tar.gz archive, that the site begins with. Later changes of it change nothing: the data is the site's. */
  content?: string;
  /** When the site counts as ready; default: any answer below 500 at "/". */
  ready?: Partial<SiteSpec["ready"]>;
  /**
   * When its home dies. `safe` (default): it comes back on its best copy by itself, unless more than `maxLossS` (60) seconds of writes may be missing there; `manual`: only by
   * `hc promote`; `force`: by itself, whatever is missing.
   */
  failover?: Partial<Required<SiteSpec>["failover"]>;
  /**
   * Data Vault: every snapshot of the last `minutes` (60) is kept, one an hour for `hours` (24), one a day for `days` (30), one a week for `weeks` (12). `hc vault` lists and restores them. They count in the site's quota.
   */
  retention?: Partial<Required<SiteSpec>["retention"]>;
  /**
   * `rpoS`: so many seconds of writes may be missing on the copies when its home dies while all is well; default: the Cluster's `settings.rpoS` (10). A snapshot is made when the oldest new write is a tenth of that old, at the
   * soonest each second. With `failover.policy` "safe" take a `maxLossS` that is not below it.
   */
  replication?: { rpoS: pulumi.Input<number> };
  /**
   * HTTPS. `certificate`: a Certificate, the name of one, or "acme": one for each host name by ACME (Let's Encrypt and the like; see Cluster's `acme`). `redirect` (default true): requests over HTTP are sent to HTTPS
   * as soon as the name has its certificate. `hsts`: browsers never come over HTTP again for so long; take it when HTTPS has proven itself.
   */
  tls?: { certificate: Certificate | pulumi.Input<string>; redirect?: pulumi.Input<boolean>; hsts?: HstsSpec };
  /** Each request is written to the access log of the node that had the visitor (default true): `hc logs --access`. They hold visitors' addresses. */
  accessLog?: pulumi.Input<boolean>;
  adopt?: boolean;
  /** The site's name, when a change may replace it (its data goes to the trash). */
  allowReplace?: string;
  /** Seconds. */
  timeouts?: { create?: number };
  /** Default: the resource's own name. */
  name?: string;
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.site.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.site.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.site.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.site.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.site.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.site.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.site.delete(i, p)),
};

/** A web site on its own replicated ZFS filesystem, in a container of its own. Removing it moves its data to the trash. */
export class Site extends pulumi.dynamic.Resource {
  /** Node that serves it now. */
  declare public readonly home: pulumi.Output<string>;
  declare public readonly replicaNodes: pulumi.Output<string[]>;
  declare public readonly urls: pulumi.Output<string[]>;
  /** Grows with each change of home. */
  declare public readonly epoch: pulumi.Output<number>;

  public constructor(name: string, args: SiteArgs, options: pulumi.CustomResourceOptions = {}) {
    const { customer, template, cluster = customer.cluster, content, name: given, tls, ...rest } = args;
    const certificate = tls === undefined || typeof tls.certificate !== "object" || !("certificateName" in tls.certificate) ? undefined : tls.certificate;
    const siteName = given ?? name;
    register(`site name in cluster ${cluster.clusterName}`, siteName, `Site ${name}`);
    for (const hostname of args.hostnames) if (typeof hostname === "string") register(`hostname in cluster ${cluster.clusterName}`, hostname, `Site ${name}`);
    const sha256 = content === undefined ? "" : contentDigest(packContent(content));
    super(
      provider, name,
      {
        ...rest, ...(tls === undefined ? {} : { tls: { ...tls, certificate: certificate?.certificateName ?? tls.certificate } }), name: siteName, connection: cluster.connection, customer: customer.customerName, template: template.templateName, content: { sha256 }, contentPath: content ?? "",
        home: undefined, replicaNodes: undefined, urls: undefined, epoch: undefined,
      },
      pulumi.mergeOptions({ dependsOn: [cluster, customer, template, ...(certificate === undefined ? [] : [certificate])], ...(cluster.local === undefined ? {} : { deletedWith: cluster.local }) }, options), "hybridcluster", "Site",
    );
  }
}
