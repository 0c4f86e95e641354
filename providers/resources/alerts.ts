import * as pulumi from "@pulumi/pulumi";
import { register } from "../core/registry.js";
import type { Cluster } from "./cluster.js";

export interface AlertsArgs {
  cluster: Cluster;
  /** Each gets a POST with a JSON body (README, "Alerts"). The address and the headers' values are kept as secrets. */
  webhooks?: pulumi.Input<pulumi.Input<{ url: pulumi.Input<string>; headers?: pulumi.Input<Record<string, pulumi.Input<string>>>; /** Default "webhook-1", … */ name?: pulumi.Input<string> }>[]>;
  /** `security`: "starttls" (default, port 587), "tls" (465), "none" (only without a password). The password is kept as a secret. */
  mail?: pulumi.Input<{ host: pulumi.Input<string>; port?: pulumi.Input<number>; security?: pulumi.Input<"starttls" | "tls" | "none">; user?: pulumi.Input<string>; password?: pulumi.Input<string>; from: pulumi.Input<string>; to: pulumi.Input<pulumi.Input<string>[]> }>;
  /** A dead man's switch elsewhere (healthchecks and the like): asked every `everyS` (60) seconds while the cluster leads itself and its alerts are taken. */
  heartbeat?: pulumi.Input<{ url: pulumi.Input<string>; everyS?: pulumi.Input<number> }>;
  /** Seconds until people are told. Defaults: downS 120, oneCopyS 1800, quorumS 60, poolS 60, behindS 300; clearS 60 is how long it must be over. */
  thresholds?: pulumi.Input<{ downS?: pulumi.Input<number>; oneCopyS?: pulumi.Input<number>; quorumS?: pulumi.Input<number>; poolS?: pulumi.Input<number>; behindS?: pulumi.Input<number>; clearS?: pulumi.Input<number> }>;
  /** PEM of a CA of your own, for receivers whose certificates come from it. */
  ca?: pulumi.Input<string>;
  adopt?: boolean;
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.alerts.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.alerts.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.alerts.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.alerts.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.alerts.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.alerts.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.alerts.delete(i, p)),
};

const secretInputs = ["webhooks", "mail", "heartbeat"] as const;

/** Who is told when something needs a person: one alert of a cause, and one message when it is over. */
export class Alerts extends pulumi.dynamic.Resource {
  public constructor(name: string, args: AlertsArgs, options: pulumi.CustomResourceOptions = {}) {
    const { cluster, ...rest } = args;
    register(`alerts' name in cluster ${cluster.clusterName}`, name, `Alerts ${name}`);
    // secrets whether or not the program says so: tokens stand in addresses
    const sealed = Object.fromEntries(secretInputs.flatMap((key) => (rest[key] === undefined ? [] : [[key, pulumi.secret(rest[key])]])));
    super(provider, name, { ...rest, ...sealed, name, connection: cluster.connection }, pulumi.mergeOptions({ dependsOn: [cluster], additionalSecretOutputs: [...secretInputs], ...(cluster.local === undefined ? {} : { deletedWith: cluster.local }) }, options), "hybridcluster", "Alerts");
  }
}
