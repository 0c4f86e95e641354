import { access, mkdir, mkdtemp } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { HcError } from "../../daemon/lib/errors.js";

/** A Debian package that is needed on the machine itself. */
export interface NeededPackage { package: string; program: string; why: string; /** That the package would start by itself, and that must not be. */ service?: string }
const needed: readonly NeededPackage[] = [
  { package: "mmdebstrap", program: "mmdebstrap", why: "builds the Debian root of the lab nodes" },
  { package: "iproute2", program: "ip", why: "makes the lab's bridge and network links" },
  { package: "util-linux", program: "unshare", why: "starts a node in namespaces of its own" },
  { package: "util-linux", program: "flock", why: "keeps a node from running twice" },
  { package: "util-linux", program: "nsenter", why: "runs commands inside a node" },
  { package: "util-linux", program: "setpriv", why: "ends a build of the root with the run that began it" },
  { package: "mount", program: "mount", why: "lays a node's files over the common root" },
];

async function onPath(program: string): Promise<boolean> {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
  for (const folder of folders) if (folder !== "" && (await access(join(folder, program)).then(() => true, () => false))) return true;
  return false;
}

/** Debian packages that this machine lacks for a lab, each once, with the reason. */
export const debianPackages = (present?: (program: string) => Promise<boolean>): Promise<NeededPackage[]> => missingPackages(needed, present);

/** Those of `wanted` that this machine lacks, each once. */
export async function missingPackages(wanted: readonly NeededPackage[], present: (program: string) => Promise<boolean> = onPath): Promise<NeededPackage[]> {
  const missing: NeededPackage[] = [];
  for (const each of wanted) if (!missing.some((known) => known.package === each.package) && !(await present(each.program))) missing.push(each);
  return missing;
}

/** A step of the probe that failed → what it means and what can be done. The probe makes what a node needs in namespaces that end with it. */
const meanings: Record<string, string> = {
  namespaces: "namespaces cannot be made here (unshare is refused). In a container, start it with --privileged.",
  overlay: "overlayfs cannot be mounted in the lab's folder. It needs a folder on ext4, xfs or tmpfs (not on another overlay): set HC_HOME to one.",
  veth: 'veth network links cannot be made here. Load the kernel module "veth"; in a container, start it with --privileged.',
  bridge: 'a network bridge cannot be made here. Load the kernel module "bridge"; in a container, start it with --privileged.',
  fuse: '/dev/fuse cannot be opened. Load the kernel module "fuse" (modprobe fuse); in a container, add --device /dev/fuse or --privileged.',
};
const probe = `
set -e
step() { echo "$1" >&2; }
step overlay; mkdir -p lower upper work root; mount -t overlay probe -o lowerdir=lower,upperdir=upper,workdir=work root
step veth; ip link add hclprobe0 type veth peer name hclprobe1
step bridge; ip link add hclprobe2 type bridge
step fuse; mknod fuse c 10 229; exec 3<>fuse
step done`;

/** Finds out whether this machine can run a lab in `dir`; throws one UNSUPPORTED error that names everything that is missing. Changes nothing. */
export async function preflight(runner: CommandRunner, dir: string, machine: { platform: string; uid: number } = { platform: process.platform, uid: process.getuid?.() ?? -1 }): Promise<void> {
  if (machine.platform !== "linux") throw new HcError("UNSUPPORTED", `A lab needs Linux; this is ${machine.platform}. Use a Linux machine or a virtual machine with Debian 12; stacks with hosts of your own work from here.`);
  const problems: string[] = [];
  if (machine.uid !== 0) problems.push("it needs root (namespaces, mounts, network links): run it as root, or with sudo -E.");
  const packages = await debianPackages();
  if (packages.length > 0) problems.push(`programs are missing: ${packages.map((each) => `${each.package} (${each.why})`).join(", ")}. Install them: apt-get install ${packages.map((each) => each.package).join(" ")}.`);
  if (problems.length === 0) problems.push(...(await tryOut(runner, dir)));
  if (problems.length > 0) throw new HcError("UNSUPPORTED", `This machine cannot run a lab yet:\n${problems.map((problem) => ` - ${problem}`).join("\n")}`, { context: { problems } });
}

async function tryOut(runner: CommandRunner, dir: string): Promise<string[]> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const folder = await mkdtemp(join(dir, ".probe-"));
  try {
    const result = await runner.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--uts", "--ipc", "--net", "--cgroup", "/bin/sh", "-c", probe], { timeoutMs: 20_000, cwd: folder });
    if (result.code === 0) return [];
    const steps = result.stderr.split("\n").filter((line) => line in meanings);
    const failed = steps.at(-1) ?? "namespaces";
    return [`${meanings[failed]} (${result.stderr.trim().split("\n").at(-1)})`];
  } finally {
    await runner.run(["rm", "-rf", folder], { timeoutMs: 10_000 });
  }
}
