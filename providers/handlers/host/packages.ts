import type { HostInputs } from "../../schemas/host.js";
import type { HostFacts } from "./parse-probe.js";

/** PHP of each Debian release; the version is part of a unit's runtime. */
const debianPhp: Record<string, string> = { "11": "7.4", "12": "8.2", "13": "8.4" };

/** From Debian's section contrib; the module is built on the machine, for its running kernel (some minutes). */
const zfsPackages = (machine: string): string[] => [`linux-headers-${machine === "aarch64" ? "arm64" : "amd64"}`, "zfs-dkms", "zfsutils-linux"];

/** Packages that a node needs, by platform and release. Undefined = this system is not known. */
export function neededPackages(inputs: Pick<HostInputs, "platform" | "role">, facts: Pick<HostFacts, "os" | "zfs" | "machine">): string[] | undefined {
  const witness = inputs.role === "witness";
  if (inputs.platform === "freebsd") return witness ? ["coreos-etcd34", "node22"] : ["coreos-etcd34", "node22", "apache24", "php83", "php83-extensions", "php83-gd", "php83-curl", "php83-mbstring"];
  const [id = "", release = ""] = facts.os.split(" ");
  if (id !== "debian") return undefined;
  const php = debianPhp[release];
  if (php === undefined) return undefined;
  const web = ["apache2", ...["fpm", "cli", "xml", "mbstring", "gd", "curl"].map((part) => `php${php}-${part}`)];
  return ["etcd-server", "ca-certificates", "tzdata", ...(witness ? [] : [...web, ...(facts.zfs ? [] : zfsPackages(facts.machine))])];
}

/** Services that Debian starts by itself when their package is installed, and that we do not use under that name. */
export const distributionServices = (packages: readonly string[]): string[] =>
  packages.flatMap((name) => (name === "apache2" ? ["apache2.service", "apache-htcacheclean.service"] : name === "etcd-server" ? ["etcd.service"] : /^php[0-9.]+-fpm$/.test(name) ? [`${name}.service`] : []));
