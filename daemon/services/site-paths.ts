import { createHmac } from "node:crypto";
import type { HostConfig } from "../lib/node-config.js";

/** Where the services' files lie on a node. */
export interface ServicePaths {
  apacheFolder: string;
  apacheConfig: string;
  /** A file `<unit>.conf` each. */
  sitesFolder: string;
  /** There while files were swapped in and Apache has not been told. */
  pendingMark: string;
  fpmFolder: string;
  socketFolder: string;
  runtimeFolder: string;
  /** See SiteEtc. */
  etcFolder: string;
  apacheLogFolder: string;
  fpmLogFolder: string;
  socketKey: string;
}
export function servicePaths({ paths }: Pick<HostConfig, "paths">): ServicePaths {
  const apacheFolder = `${paths.etc}/apache`;
  return {
    apacheFolder,
    apacheConfig: `${apacheFolder}/apache.conf`,
    sitesFolder: `${apacheFolder}/sites`,
    pendingMark: `${apacheFolder}/pending`,
    fpmFolder: `${paths.etc}/fpm`,
    socketFolder: `${paths.run}/fpm`,
    runtimeFolder: `${paths.run}/apache`,
    etcFolder: `${paths.run}/site-etc`,
    apacheLogFolder: `${paths.log}/apache`,
    fpmLogFolder: `${paths.log}/fpm`,
    socketKey: `${paths.etc}/fpm-socket.key`,
  };
}

/**
 * The FPM socket of a unit: `<run>/fpm/<unit>-<16 hex>.sock`. `.htaccess` may name any handler, so the socket's name is the right to use it:
 * the folder cannot be listed (0711), containers see neither /run nor /proc/net/unix, and the name cannot be computed without the node's key.
 */
export const socketPath = (folder: string, unit: string, key: Buffer): string => `${folder}/${unit}-${createHmac("sha256", key).update(unit).digest("hex").slice(0, 16)}.sock`;

export const siteServiceName = (unit: string): string => `hc-${unit}`;
export const unitOfService = (service: string): string => service.slice("hc-".length);
export const siteServicePrefix = "hc-site-";
export const apacheService = "hcd-apache";
export const webUser = "_hcweb";
/** Canonical name of a unit's virtual host: never a real host name; log lines start with it. */
export const canonicalName = (unit: string): string => `${unit}.hybridcluster.invalid`;
