import { FreebsdPlatform } from "./freebsd.js";
import { LinuxPlatform, type PlatformOptions } from "./linux.js";
import type { Platform } from "./platform.js";

/** The platform adapter of this node; no I/O yet. */
export function createPlatform(name: "linux" | "freebsd", options: PlatformOptions): Platform {
  return name === "linux" ? new LinuxPlatform(options) : new FreebsdPlatform(options);
}
