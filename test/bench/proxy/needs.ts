import { readFileSync } from "node:fs";
import { type NeededPackage, missingPackages } from "../../../providers/lab/preflight.js";

const needed: readonly NeededPackage[] = [
  { package: "haproxy", program: "haproxy", why: "compared with", service: "haproxy" },
  { package: "nginx", program: "nginx", why: "compared with, and the backend behind all of them", service: "nginx" },
  { package: "wrk", program: "wrk", why: "makes requests" },
  { package: "apache2-utils", program: "ab", why: "makes requests with a full TLS handshake each" },
  { package: "util-linux", program: "taskset", why: "pins the proxy to one core, everything else to the others" },
  { package: "util-linux", program: "setpriv", why: "ends what was started together with the benchmark" },
];

/** Debian packages that this machine lacks for `npm run bench:proxy`. */
export const benchPackages = (): Promise<NeededPackage[]> => missingPackages(needed);

/** Cores as taskset takes them: the proxy has the last one, the load and the backend have the others. Throws on a machine with one core. */
export function cores(online = readFileSync("/sys/devices/system/cpu/online", "utf8").trim()): { proxy: number; load: string } {
  const last = Number(online.split(/[-,]/).at(-1));
  if (!(last > 0)) throw new Error("The benchmark needs two cores: one for the proxy alone, one for the load and the backend.");
  return { proxy: last, load: last === 1 ? "0" : `0-${last - 1}` };
}
