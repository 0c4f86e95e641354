import * as pulumi from "@pulumi/pulumi";
import { defaultPorts } from "../../daemon/lib/node-config.js";
import { register } from "../core/registry.js";
import { type ClusterConnection, type ClusterSettings, settingsDefaults } from "../schemas/cluster.js";
import type { Host } from "./host.js";
import type { LocalHost } from "./local-host.js";
import type { ZfsPool } from "./zfs-pool.js";

export interface ClusterArgs {
  /** A pool stands for its host. The first three vote in etcd. */
  pools: ZfsPool[];
  /** Hosts that only vote: with two nodes, the third vote. */
  witnesses?: Host[];
  /** Copies of each unit, its home included; default 2, or the number of nodes if that is less. */
  redundancy?: number;
  settings?: Partial<Omit<ClusterSettings, "etcd">> & { etcd?: Partial<ClusterSettings["etcd"]> };
  /**
   * Certificates for sites with `tls: { certificate: "acme" }` (RFC 8555). `termsOfServiceAgreed: true` says that you agree to the CA's terms: nothing is asked of it without. Default `directory`: Let's Encrypt; try with its
   * staging one first (https://acme-staging-v02.api.letsencrypt.org/directory). `email`: where the CA may write to. `ca`: PEM of the CA that the directory's own certificate comes from, where that is one of your own.
   */
  acme?: { termsOfServiceAgreed: boolean; directory?: string; email?: string; ca?: string };
  /**
   * Load balancers before the nodes that speak the PROXY protocol, version 2, on the ports of HTTP and HTTPS: their addresses and networks ("192.0.2.10", "10.1.0.0/24"). Each of their connections must begin with its header, and
   * the visitor's address is the one that it says; nobody else's may.
   */
  proxyProtocol?: { from: string[] };
  /** A local cluster: it goes with its machines. */
  ephemeral?: boolean;
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.cluster.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.cluster.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.cluster.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.cluster.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.cluster.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.cluster.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.cluster.delete(i, p)),
};

/** Nodes that share one state: certificates, etcd, and everything that lives on their pools. */
export class Cluster extends pulumi.dynamic.Resource {
  declare public readonly clusterId: pulumi.Output<string>;
  public readonly clusterName: string;
  /** How any node is reached: made of inputs only. */
  public readonly connection: pulumi.Output<ClusterConnection>;
  /** Copies of each unit where nothing else is said. */
  public readonly redundancy: number;
  public readonly nodeCount: number;
  /** A lab node that everything here goes with. */
  public readonly local: LocalHost | undefined;

  public constructor(name: string, args: ClusterArgs, options: pulumi.CustomResourceOptions = {}) {
    register("cluster name", name, `Cluster ${name}`);
    const hosts = [...args.pools.map((pool) => pool.host), ...(args.witnesses ?? [])];
    const redundancy = args.redundancy ?? Math.min(2, args.pools.length);
    const connections = pulumi.all(hosts.map((host) => host.connection));
    const members = pulumi.all(hosts.map((host) => host.member)).apply((all) => all.map((member) => ({ ...member, ports: { ...defaultPorts, ...member.ports } })));
    const datasets = Object.fromEntries(args.pools.map((pool) => [pool.host.nodeName, pool.dataset]));
    const settings = { ...settingsDefaults, ...args.settings, etcd: { ...settingsDefaults.etcd, ...args.settings?.etcd } };
    const local = args.ephemeral === true ? hosts[0]?.local : undefined;
    super(
      provider, name,
      { name, connections, members, datasets, redundancy, settings, ...(args.acme === undefined ? {} : { acme: args.acme }), ...(args.proxyProtocol === undefined ? {} : { proxyProtocol: args.proxyProtocol }), ephemeral: args.ephemeral ?? false, clusterId: undefined, secrets: undefined, renewAfter: undefined },
      pulumi.mergeOptions({ dependsOn: [...args.pools, ...(args.witnesses ?? [])], additionalSecretOutputs: ["secrets"], ...(local === undefined ? {} : { deletedWith: local }) }, options),
      "hybridcluster", "Cluster",
    );
    this.clusterName = name;
    this.redundancy = redundancy;
    this.nodeCount = args.pools.length;
    this.local = local;
    this.connection = pulumi.all([connections, members]).apply(([all, known]) => ({ cluster: name, hosts: all, nodes: args.pools.length, zones: [...new Set(known.map((member) => member.zone).filter((zone) => zone !== ""))], httpPort: known[0]?.ports.http ?? defaultPorts.http, httpsPort: known[0]?.ports.https ?? defaultPorts.https }));
  }
}
