import { chmod, chown, lstat, mkdir, readlink, symlink } from "node:fs/promises";
import { dirname } from "node:path";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import { HcError } from "../lib/errors.js";
import { parseSize } from "../lib/sizes.js";
import type { ServiceDefinition } from "../platform/platform.js";
import { etcMounts, groupText, passwdText } from "./site-etc.js";
import { siteServiceName } from "./site-paths.js";
import type { SiteRun } from "./site-services.js";

/** What a site sees of the host, read-only; on Linux its /etc besides (site-etc.ts). Missing ones are left out by the supervisor. */
const visible: Record<"linux" | "freebsd", readonly string[]> = {
  linux: ["/usr", "/lib", "/lib64", "/bin"],
  // nullfs mounts folders only (mount_nullfs(8)); files of /etc are copied, see `copied`
  freebsd: ["/bin", "/lib", "/libexec", "/usr/bin", "/usr/lib", "/usr/libexec", "/usr/local", "/usr/share", "/etc/ssl"],
};
/** Nodes of the host's /dev that a container has in its own. */
const devices: Record<"linux" | "freebsd", readonly string[]> = { linux: ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"], freebsd: [] };
/** Files of the host that are copied into the dataset. */
const copied = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/localtime", "/etc/services", "/etc/protocols"];

/** The service of a site's container. Capabilities: what php-fpm's master needs to become the site's user; its workers have none. `etc`: folder of SiteEtc, used on Linux. */
export function siteService(site: SiteRun, options: { platform: "linux" | "freebsd"; phpFpm: string; config: string; writable: readonly string[]; etc: string }): ServiceDefinition {
  const { platform } = options;
  const seen = visible[platform].map((path) => ({ source: path, target: path }));
  return {
    name: siteServiceName(site.unit),
    description: `Site ${site.name}`,
    argv: [options.phpFpm, "--nodaemonize", "--fpm-config", options.config],
    limits: { memoryBytes: String(parseSize(site.limits.memory, "limits.memory")), cpu: site.limits.cpu, tasks: site.limits.tasks },
    container: { root: site.root, readOnly: platform === "linux" ? [...seen, ...etcMounts(options.etc, site.unit)] : seen, devices: devices[platform], writable: [site.root, ...options.writable] },
    restart: "always",
    capabilities: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_CHROOT"],
    notify: platform === "linux",
    openFiles: 4096,
  };
}

async function ensureFolder(path: string, mode: number, uid: number, gid: number): Promise<void> {
  await mkdir(path, { mode }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  const seen = await lstat(path);
  if (!seen.isDirectory()) throw new HcError("PATH_IN_USE", `${path} must be a folder: the container needs it.`);
  if (seen.uid !== uid || seen.gid !== gid) await chown(path, uid, gid);
  if ((seen.mode & 0o7777) !== mode) await chmod(path, mode);
}
async function ensureFile(path: string, text: string): Promise<void> {
  const seen = await lstat(path).catch(() => undefined);
  if (seen !== undefined && !seen.isFile()) throw new HcError("PATH_IN_USE", `${path} must be a file: the container needs it.`);
  if (seen === undefined || (text !== "" && (await readFileIfAny(path)) !== text)) await writeFileAtomic(path, text, { uid: 0, gid: 0 });
}

/**
 * Brings the mounted dataset of a site into the shape that its container needs; writes only what differs.
 * The dataset's root and everything that mounts go on belong to root, so that a tenant can never put a link where the supervisor mounts as root;
 * the tenant's own are www, tmp, log and data. It runs before any code of the tenant does.
 */
export async function prepareRoot(site: SiteRun, platform: "linux" | "freebsd", webGid: number): Promise<void> {
  const { root, uid, gid } = site;
  await ensureFolder(root, 0o755, 0, 0);
  // the outer path is valid inside: /hc/site-x → /
  let inner = root;
  for (const part of dirname(root).split("/").filter(Boolean)) {
    inner = `${inner}/${part}`;
    await ensureFolder(inner, 0o755, 0, 0);
  }
  const link = `${root}${root}`;
  const target = await readlink(link).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new HcError("PATH_IN_USE", `${link} must be a link to /: the container needs it.`, { cause: error });
  });
  if (target === undefined) await symlink("/", link);
  else if (target !== "/") throw new HcError("PATH_IN_USE", `${link} must be a link to /: the container needs it.`);
  for (const folder of ["/dev", "/etc", "/usr"]) await ensureFolder(`${root}${folder}`, 0o755, 0, 0);
  for (const path of visible[platform]) await ensureFolder(`${root}${path}`, 0o755, 0, 0);
  for (const path of devices[platform]) await ensureFile(`${root}${path}`, "");
  if (platform === "freebsd") {
    for (const path of copied) await ensureFile(`${root}${path}`, (await readFileIfAny(path)) ?? "");
    await ensureFile(`${root}/etc/passwd`, passwdText(site));
    await ensureFile(`${root}/etc/group`, groupText(site));
  }
  // the web server's group may have another number on each node, so this one folder is the gate for all below it
  await ensureFolder(`${root}/www`, 0o750, uid, webGid);
  await ensureFolder(`${root}/tmp`, 0o700, uid, gid);
  await ensureFolder(`${root}/log`, 0o750, uid, gid);
  await ensureFolder(`${root}/data`, 0o750, uid, gid);
}
