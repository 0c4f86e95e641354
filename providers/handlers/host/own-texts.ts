import { createHash } from "node:crypto";
import type { HostConfig } from "../../../daemon/lib/node-config.js";
import { renderTemplate } from "../../../templates/render.js";
import type { HostInputs } from "../../schemas/host.js";

export const freebsdNode = "/usr/local/bin/node";

export function hostConfig(inputs: HostInputs): HostConfig {
  return { version: 1, node: inputs.name, platform: inputs.platform, zone: inputs.zone, role: inputs.role, addresses: [...new Set([inputs.address, ...inputs.addresses])], ports: inputs.ports, paths: inputs.paths, ...(inputs.watchdog === undefined ? {} : { watchdog: inputs.watchdog }) };
}
export const hostConfigText = (inputs: HostInputs): string => `${JSON.stringify(hostConfig(inputs), null, 2)}\n`;

/** The services that bootstrap defines, in the order in which they are started. */
export const hostServices = ["hcd-fencer", "hcd"] as const;
export type HostService = (typeof hostServices)[number];

/** The unit of systemd, or the script of rc.d. */
export function serviceText(inputs: HostInputs, service: HostService): string {
  const fencer = service === "hcd-fencer";
  const data = {
    node: inputs.name,
    nodeBinary: inputs.platform === "freebsd" ? freebsdNode : `${inputs.paths.lib}/node`,
    artefact: `${inputs.paths.lib}/current/hcd.cjs`,
    hostConfig: `${inputs.paths.etc}/host.json`,
    runtimeDirectory: inputs.paths.run.replace(/^\/(var\/)?run\//, ""),
    runtimePath: inputs.paths.run,
    name: service.replace("-", "_"),
    mode: fencer ? "fencer" : "control",
    // while the machine goes down a watchdog is fed until all is ended: the deadline, and the fence
    stopS: inputs.watchdog === undefined ? "5" : "20",
    requires: fencer ? "FILESYSTEMS zfs" : "NETWORKING zfs",
  };
  return renderTemplate(inputs.platform === "freebsd" ? "host/hcd.rc.hbs" : `host/${service}.service.hbs`, data);
}
const digest = (text: string): string => createHash("sha256").update(text).digest("hex");

/** Digests of the files that a host shall have, for the plan; and the machine for which this side has a Node binary ("" = none). */
export interface OwnTexts { hostConfig: string; service: string; fencer: string; machine: string }
export function ownTexts(inputs: HostInputs): OwnTexts {
  const machines: Record<string, string> = { x64: "x86_64", arm64: "aarch64" };
  return { hostConfig: digest(hostConfigText(inputs)), service: digest(serviceText(inputs, "hcd")), fencer: digest(serviceText(inputs, "hcd-fencer")), machine: process.platform === "linux" ? (machines[process.arch] ?? "") : "" };
}
