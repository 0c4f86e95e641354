import * as pulumi from "@pulumi/pulumi";
import { Cluster, type ClusterArgs } from "../../providers/resources/cluster.js";
import { Host } from "../../providers/resources/host.js";
import { LocalHost } from "../../providers/resources/local-host.js";
import { ZfsPool } from "../../providers/resources/zfs-pool.js";

export interface LocalClusterArgs {
  /** How many nodes, default 3. */
  nodes?: number;
  /** Size of each node's one disk, default "4G": it takes space only as it is written. */
  diskSize?: string;
  /** The lab they belong to; default: the component's name. */
  lab?: string;
  redundancy?: number;
  /** Zone of each node in turn, default "a", "b", "c", … */
  zones?: string[];
  settings?: ClusterArgs["settings"];
}

/** A whole cluster on this machine, for trying and testing: lab nodes, bootstrapped as any other host, with a pool each. It goes with its nodes. */
export class LocalCluster extends pulumi.ComponentResource {
  public readonly cluster: Cluster;
  public readonly hosts: readonly Host[];
  /** node → address */
  public readonly addresses: pulumi.Output<Record<string, string>>;

  public constructor(name: string, args: LocalClusterArgs = {}, options?: pulumi.ComponentResourceOptions) {
    super("hybridcluster:local:LocalCluster", name, {}, options);
    const parent = { parent: this };
    const zones = args.zones ?? ["a", "b", "c"];
    const machines = Array.from({ length: args.nodes ?? 3 }, (_, index) => new LocalHost(`n${index + 1}`, { lab: args.lab ?? name, name: `n${index + 1}`, index: index + 1, diskSizes: [args.diskSize ?? "4G"] }, parent));
    this.hosts = machines.map((machine, index) => new Host(`n${index + 1}`, {
      address: machine.address, addresses: machine.addresses, port: machine.port, user: machine.user, hostKey: machine.hostKey, privateKeyPath: machine.privateKeyPath,
      platform: "linux", zone: zones[index % zones.length] ?? "",
    }, { ...parent, dependsOn: [machine], deletedWith: machine }, machine));
    const pools = this.hosts.map((host, index) => new ZfsPool(`${host.nodeName}-pool`, { host, vdevs: [{ file: `/disks/d0.img` }], ephemeral: true }, { ...parent, dependsOn: [host, machines[index] as LocalHost] }));
    this.cluster = new Cluster(name, {
      pools, ephemeral: true, ...(args.redundancy === undefined ? {} : { redundancy: args.redundancy }),
      // several nodes share this machine's cores: etcd must not take a busy moment for a dead leader
      // and whoever tries it kills nodes again and again
      settings: { etcd: { heartbeatMs: 150, electionMs: 1500 }, failoversPerHour: 0, ...args.settings },
    }, parent);
    this.addresses = pulumi.all(machines.map((machine) => machine.address)).apply((all) => Object.fromEntries(all.map((address, index) => [`n${index + 1}`, address])));
    this.registerOutputs({ addresses: this.addresses });
  }
}
