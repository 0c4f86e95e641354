import { renderTemplate } from "../../templates/render.js";
import { HcError } from "../lib/errors.js";
import { failuresText, hostnameSchema } from "../lib/schema.js";
import { parseSize } from "../lib/sizes.js";
import { checkPhpSettings } from "../platform/php-settings.js";
import { apacheModules, type Programs } from "./programs.js";
import { canonicalName, type ServicePaths, webUser } from "./site-paths.js";
import type { SiteRun } from "./site-services.js";

/** Pure: texts of all configuration files of the services. */

export const listenAddresses = (port: number): string[] => [`127.0.0.1:${port}`, `[::1]:${port}`];

export function apacheText(paths: ServicePaths, programs: Programs, port: number, sites = `${paths.sitesFolder}/*.conf`): string {
  return renderTemplate("services/apache.conf.hbs", {
    serverRoot: paths.apacheFolder,
    runtime: paths.runtimeFolder,
    pidFile: `${paths.runtimeFolder}/apache.pid`,
    modules: apacheModules.map((name) => ({ name: `${name}_module`, path: `${programs.modules}/mod_${name}.so` })),
    user: webUser,
    listen: listenAddresses(port),
    rotatelogs: programs.rotatelogs,
    errorLog: `${paths.apacheLogFolder}/error.log`,
    mimeTypes: programs.mimeTypes,
    sites,
  });
}

const hostname = new RegExp(hostnameSchema.pattern);

/** Throws CONFIG_REFUSED that names the site and what cannot be used. */
export function vhostText(site: SiteRun, port: number, socket: string): string {
  for (const name of site.hostnames)
    if (name.length > hostnameSchema.maxLength || !hostname.test(name)) throw new HcError("CONFIG_REFUSED", `${site.unit}: ${JSON.stringify(name.slice(0, 80))} is not a host name.`);
  return refusing(site, () =>
    renderTemplate("services/vhost.conf.hbs", {
      listen: listenAddresses(port),
      canonical: `${canonicalName(site.unit)}:80`,
      hostnames: [...site.hostnames].sort(),
      documentRoot: `${site.root}/www`,
      handler: `proxy:unix:${socket}|fcgi://${site.unit}`,
    }),
  );
}

const childBytes = 32n << 20n;

/** As many PHP processes as fit: one for 32 MiB of memory, three tasks kept for the master and its like, 64 at most. */
export function childrenOf(limits: SiteRun["limits"]): number {
  const byMemory = parseSize(limits.memory, "limits.memory") / childBytes;
  return Math.max(1, Math.min(Number(byMemory > 64n ? 64n : byMemory), limits.tasks - 3, 64));
}

/** php-fpm of one site. Values that hcd sets itself stand before the site's own, which may replace only what the table of settings names. */
export function fpmText(site: SiteRun, socket: string, errorLog: string): string {
  const failures = checkPhpSettings(site.php);
  if (failures.length > 0) throw new HcError("CONFIG_REFUSED", `${site.unit}: ${failuresText(failures)}`);
  return refusing(site, () =>
    renderTemplate("services/php-fpm.conf.hbs", {
      unit: site.unit,
      uid: site.uid,
      gid: site.gid,
      root: site.root,
      socket,
      errorLog,
      webUser,
      children: childrenOf(site.limits),
      environment: { HC_EPOCH: site.epoch, HC_NODE: site.node, HC_UNIT: site.unit, HOME: "/", PATH: "/usr/local/bin:/usr/bin:/bin", TMPDIR: "/tmp" },
      fixed: fixedSettings,
      settings: Object.fromEntries(Object.entries(site.php).sort(([a], [b]) => (a < b ? -1 : 1))),
    }),
  );
}

/** Paths are those inside the container; sessions lie in the dataset, so they move with it. */
const fixedSettings = {
  "opcache.interned_strings_buffer": "4",
  "opcache.memory_consumption": "32",
  "opcache.validate_timestamps": "1",
  "opcache.revalidate_freq": "2",
  "session.gc_probability": "1",
  "session.gc_divisor": "1000",
  "session.save_path": "/tmp",
  "sys_temp_dir": "/tmp",
  "upload_tmp_dir": "/tmp",
  "log_errors": "1",
} as const;

function refusing<T>(site: SiteRun, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const { code, message } = error as HcError;
    if (code !== "INVALID_INPUT") throw error;
    throw new HcError("CONFIG_REFUSED", `${site.unit}: ${message}`, { cause: error });
  }
}
