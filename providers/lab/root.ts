import { chmod, copyFile, mkdir, readdir, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { runOk } from "../../daemon/lib/command.js";
import { HcError } from "../../daemon/lib/errors.js";
import { withLock } from "./lock.js";
import { disabledUnits, maskedUnits, nodeBinary, packagesFolder, rootKey, rootPackages, storedPackages, suite, zfsFuseSettings } from "./root-recipe.js";

/** Told as the work goes on: what is being done, and for how long already (ms). */
export type Progress = (what: string, sinceMs: number) => void;

const buildTimeoutMs = 15 * 60_000;

export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  const folder = env["HC_CACHE"] ?? "/var/cache/hybridcluster";
  if (!folder.startsWith("/") || /[,:\\]/.test(folder))
    throw new HcError("INVALID_INPUT", `HC_CACHE: ${JSON.stringify(folder)} cannot be used; write an absolute path without comma, colon or backslash.`);
  return join(folder, "roots");
}

/** Where the root of this version of the package lies, whether it is built or not. */
export const rootPath = (): string => join(cacheFolder(), rootKey(nodeBinary()));

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/**
 * The Debian root that all nodes lie over, built by mmdebstrap when it is not in the cache. Built under a temporary name and renamed when it is
 * complete, so that a broken build is never used; two runs build it once. Needs the network; a node never does.
 */
export async function ensureRoot(runner: CommandRunner, progress: Progress = () => undefined): Promise<string> {
  const path = rootPath();
  if (await exists(path)) return path;
  return withLock(path, buildTimeoutMs, async () => {
    if (await exists(path)) return path; // another run was faster
    await mkdir(cacheFolder(), { recursive: true, mode: 0o755 });
    // under the lock nobody builds this key: what carries its name is of a build that was killed
    const prefix = `.building-${rootKey(nodeBinary())}-`;
    for (const name of await readdir(cacheFolder())) if (name.startsWith(prefix)) await rm(join(cacheFolder(), name), { recursive: true, force: true });
    const building = join(cacheFolder(), `${prefix}${process.pid}`);
    const begin = performance.now();
    let doing = "";
    const tick = (what: string): void => { doing = what; progress(what, performance.now() - begin); };
    const timer = setInterval(() => progress(doing, performance.now() - begin), 5_000);
    try {
      tick(`building the Debian root of the lab nodes (${rootPackages.length} packages with what they need)`);
      await bootstrap(runner, building);
      tick("configuring the root of the lab nodes");
      await configure(runner, building);
      await rename(building, path);
      tick("the root of the lab nodes is ready");
    } finally {
      clearInterval(timer);
    }
    return path;
  });
}

async function bootstrap(runner: CommandRunner, building: string): Promise<void> {
  const policy = 'printf "#!/bin/sh\\nexit 101\\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"';
  // apt of the machine working on the new root (mmdebstrap(1), HOOKS): its lists, its architecture, what is installed in it
  const download = `mkdir -p "$1${packagesFolder}/partial"; APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --quiet --no-install-recommends --download-only -o Dir::Cache::archives="$1${packagesFolder}" -o Debug::NoLocking=1 install ${storedPackages.join(" ")}; rmdir "$1${packagesFolder}/partial" || true`;
  const mirror = process.env["HC_DEBIAN_MIRROR"]; // none: Debian's own with updates and security
  await runOk(runner, [
    // a namespace of its own that ends with us: a killed run leaves neither processes nor mounts
    "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--mount-proc", "--pid", "--fork", "--kill-child=KILL",
    "mmdebstrap", "--variant=minbase", "--mode=root", "--format=directory",
    "--aptopt=APT::Install-Recommends \"false\"",
    `--include=${rootPackages.join(",")}`,
    `--essential-hook=${policy}`, `--customize-hook=${download}`,
    suite, building, ...(mirror === undefined ? [] : [mirror]),
  ], { timeoutMs: buildTimeoutMs, env: { TMPDIR: "/tmp" } });
}

async function configure(runner: CommandRunner, root: string): Promise<void> {
  const systemctl = (...args: string[]): Promise<unknown> => runner.run(["chroot", root, "systemctl", ...args], { timeoutMs: 60_000 });
  for (const unit of disabledUnits) await systemctl("disable", unit); // not all exist in every version
  for (const unit of maskedUnits) await replaceLink("/dev/null", join(root, "etc/systemd/system", unit));
  await replaceLink("/lib/systemd/system/multi-user.target", join(root, "etc/systemd/system/default.target"));
  await writeFile(join(root, "etc/zfs/zfsrc"), zfsFuseSettings);
  await copyFile(nodeBinary().path, join(root, "usr/local/bin/node"));
  await chmod(join(root, "usr/local/bin/node"), 0o755);
  await mkdir(join(root, "disks"), { recursive: true });
  // each node has keys of its own
  for (const name of await readdir(join(root, "etc/ssh"))) if (name.startsWith("ssh_host_")) await rm(join(root, "etc/ssh", name));
  await rm(join(root, "usr/sbin/policy-rc.d"), { force: true });
}

async function replaceLink(target: string, path: string): Promise<void> {
  await rm(path, { force: true });
  await symlink(target, path);
}
