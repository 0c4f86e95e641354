import { readFileSync } from "node:fs";
import type { HostConfig } from "./lib/node-config.js";

/** host.json, written by the Host resource. */
export function readHost(path: string): HostConfig {
  const host = JSON.parse(readFileSync(path, "utf8")) as HostConfig;
  if (host.version !== 1) throw new Error(`${path} has version ${String(host.version)}; this hcd reads 1.`);
  return host;
}
