import * as pulumi from "@pulumi/pulumi";
import { register } from "../core/registry.js";
import type { Cluster } from "./cluster.js";

export interface CertificateArgs {
  cluster: Cluster;
  /** PEM: the certificate first, then its issuers', as in "fullchain.pem". */
  chain: pulumi.Input<string>;
  /** PEM of its private key, without a passphrase. Kept as a secret, whether or not the program says so. */
  key: pulumi.Input<string>;
  adopt?: boolean;
  /** Default: the resource's own name. */
  name?: string;
}

const provider: pulumi.dynamic.ResourceProvider = {
  configure: (r) => import("hybridcluster/providers").then((m) => m.certificate.configure(r)),
  check: (o, n) => import("hybridcluster/providers").then((m) => m.certificate.check(o, n)),
  diff: (i, o, n) => import("hybridcluster/providers").then((m) => m.certificate.diff(i, o, n)),
  create: (i) => import("hybridcluster/providers").then((m) => m.certificate.create(i)),
  read: (i, p) => import("hybridcluster/providers").then((m) => m.certificate.read(i, p)),
  update: (i, o, n) => import("hybridcluster/providers").then((m) => m.certificate.update(i, o, n)),
  delete: (i, p) => import("hybridcluster/providers").then((m) => m.certificate.delete(i, p)),
};

/** A certificate of your own with its key, for any number of sites (`tls: { certificate }`). */
export class Certificate extends pulumi.dynamic.Resource {
  /** Host names that it is for; "*.name" for wildcards. */
  declare public readonly names: pulumi.Output<string[]>;
  /** ISO 8601. */
  declare public readonly validUntil: pulumi.Output<string>;
  public readonly certificateName: string;

  public constructor(name: string, args: CertificateArgs, options: pulumi.CustomResourceOptions = {}) {
    const { cluster, name: given, chain, key, ...rest } = args;
    const certificateName = given ?? name;
    register(`certificate name in cluster ${cluster.clusterName}`, certificateName, `Certificate ${name}`);
    super(
      provider, name,
      { ...rest, chain: pulumi.secret(chain), key: pulumi.secret(key), name: certificateName, connection: cluster.connection, names: undefined, validUntil: undefined },
      pulumi.mergeOptions({ dependsOn: [cluster], additionalSecretOutputs: ["chain", "key"], ...(cluster.local === undefined ? {} : { deletedWith: cluster.local }) }, options), "hybridcluster", "Certificate",
    );
    this.certificateName = certificateName;
  }
}
