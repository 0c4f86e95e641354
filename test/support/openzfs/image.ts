import { chmod, copyFile, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type CommandRunner, runOk } from "../../../daemon/lib/command.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { withLock } from "../../../providers/lab/lock.js";
import { cacheFolder, type Progress } from "../../../providers/lab/root.js";
import { suite } from "../../../providers/lab/root-recipe.js";
import { buildOnly, components, diskBytes, imageKey, init, initramfsFiles, packages, sshd } from "./recipe.js";

/** The kernel module takes minutes to build; with other work beside it, many. */
const buildTimeoutMs = 90 * 60_000;

export interface Image { disk: string; kernel: string; initrd: string }

const folder = (): string => join(dirname(cacheFolder()), "openzfs");
const imageAt = (path: string): Image => ({ disk: join(path, "disk.img"), kernel: join(path, "vmlinuz"), initrd: join(path, "initrd") });
async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/**
 * Disk, kernel and ramdisk of the virtual machine, built when they are not in the cache (beside the lab's roots, keyed by the recipe). Built under a temporary name and renamed when
 * complete, so that a broken build is never used; two runs build it once.
 */
export async function ensureImage(runner: CommandRunner, progress: Progress = () => undefined): Promise<Image> {
  const path = join(folder(), imageKey());
  if (await exists(path)) return imageAt(path);
  return withLock(path, buildTimeoutMs, async () => {
    if (await exists(path)) return imageAt(path); // another run was faster
    await mkdir(folder(), { recursive: true, mode: 0o755 });
    const prefix = `.building-${imageKey()}-`;
    for (const name of await readdir(folder())) if (name.startsWith(prefix)) await rm(join(folder(), name), { recursive: true, force: true }); // of a build that was killed
    const building = join(folder(), `${prefix}${process.pid}`);
    const begin = performance.now();
    const tick = (): void => progress("building the virtual machine with OpenZFS (Debian's kernel, the zfs module from source; once)", performance.now() - begin);
    tick();
    const timer = setInterval(tick, 30_000);
    try {
      await mkdir(building);
      await install(runner, join(building, "root"));
      await finish(runner, building);
      await rename(building, path);
    } catch (error) {
      await rm(building, { recursive: true, force: true });
      throw error;
    } finally {
      clearInterval(timer);
    }
    progress("the virtual machine with OpenZFS is built", performance.now() - begin);
    return imageAt(path);
  });
}

async function install(runner: CommandRunner, root: string): Promise<void> {
  const mirror = process.env["HC_DEBIAN_MIRROR"]; // none: Debian's own with updates and security
  const policy = 'printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"';
  // before the kernel's own scripts make a ramdisk
  const early = Object.entries(initramfsFiles).map(([name, text]) => `mkdir -p "$1/${dirname(name)}"; printf '${text.replaceAll("\n", "\\n")}' >"$1/${name}"`).join("; ");
  const inNamespace = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--mount-proc", "--pid", "--fork", "--kill-child=KILL"];
  await runOk(runner, [
    ...inNamespace,
    "nice", "-n", "10", "mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory", `--components=${components}`,
    "--aptopt=APT::Install-Recommends \"false\"", '--dpkgopt=force-confdef', '--dpkgopt=force-confold',
    `--include=${packages.join(",")}`, `--essential-hook=${policy}`, `--essential-hook=${early}`,
    suite, root, ...(mirror === undefined ? [] : [mirror]),
  ], { timeoutMs: buildTimeoutMs, env: { TMPDIR: "/tmp", DEBIAN_FRONTEND: "noninteractive" } });
}

/** Makes the image of the root in `building`, which is gone then. */
export async function finish(runner: CommandRunner, building: string): Promise<void> {
  const root = join(building, "root");
  const [release, ...others] = await readdir(join(root, "lib/modules"));
  if (release === undefined || others.length > 0) throw new HcError("INTERNAL", `The root of the OpenZFS machine has ${others.length + (release === undefined ? 0 : 1)} kernels, not one.`);
  const module = await runner.run(["find", join(root, "lib/modules", release), "-name", "zfs.ko*"], { timeoutMs: 30_000 });
  if (module.stdout.trim() === "") throw new HcError("COMMAND_FAILED", `zfs-dkms built no module for ${release}: look at its log under /var/lib/dkms in a root built by hand.`);
  const put = async (name: string, text: string, mode: number): Promise<void> => {
    await writeFile(join(root, name), text);
    await chmod(join(root, name), mode);
  };
  await put("sbin/openzfs-init", init, 0o755);
  await put("etc/ssh/openzfs_config", sshd, 0o644);
  for (const name of await readdir(join(root, "etc/ssh"))) if (name.startsWith("ssh_host_")) await rm(join(root, "etc/ssh", name));
  const image = imageAt(building);
  await copyFile(join(root, "boot", `vmlinuz-${release}`), image.kernel);
  await copyFile(join(root, "boot", `initrd.img-${release}`), image.initrd);
  for (const name of buildOnly) await rm(join(root, name), { recursive: true, force: true });
  await runOk(runner, ["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-d", root, image.disk, `${diskBytes / 1024}k`], { timeoutMs: 10 * 60_000 });
  await rm(root, { recursive: true, force: true });
}
