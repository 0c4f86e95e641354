import type { NodePaths } from "../../../daemon/lib/node-config.js";
import type { HostInputs } from "../../schemas/host.js";
import type { HostService, OwnTexts } from "./own-texts.js";
import { distributionServices, neededPackages } from "./packages.js";
import type { HostFacts } from "./parse-probe.js";

/** What bootstrap does to a machine, as data: shown by `hc doctor --plan`, executed by apply-host.ts. */
export type HostStep =
  | { kind: "folders"; paths: string[]; before: string[] }
  | { kind: "packages"; names: string[]; silence: string[] }
  | { kind: "user"; name: string }
  | { kind: "txg"; seconds: string; before: string }
  | { kind: "node"; version: string; how: "copy" | "upload" }
  | { kind: "artefact"; sha256: string; previous: string }
  | { kind: "host-config"; path: string }
  | { kind: "service"; name: HostService; path: string }
  | { kind: "start"; name: HostService; restart: boolean };
/** Why nothing may be changed: property, and what to do. */
export interface Conflict { code: "PORT_IN_USE" | "PATH_IN_USE" | "UNSUPPORTED" | "ALREADY_EXISTS"; property: string; reason: string }
export interface HostPlan { conflicts: Conflict[]; steps: HostStep[] }

export const serviceFile = (platform: HostInputs["platform"], name: HostService): string => (platform === "freebsd" ? `/usr/local/etc/rc.d/${name.replace("-", "_")}` : `/etc/systemd/system/${name}.service`);
/** Seconds between transaction groups: `written` is seen only when one is synced (docs: RPO). */
export const txgSeconds = "1";
const pathKeys: (keyof NodePaths)[] = ["etc", "state", "run", "log", "lib", "data"];

/** What only the machine's owner may change: it takes a reboot, or another program's package. Names of packages: CONFLICTS_INSTALL of their ports. */
function freebsdLacks(inputs: HostInputs, facts: HostFacts): string[] {
  const needed = neededPackages(inputs, facts) ?? [];
  const series = (name: string): string | undefined => /^(node|php|coreos-etcd)[0-9]+$/.exec(name)?.[1];
  const rivals = facts.packages.filter((name) => !needed.includes(name) && needed.some((item) => series(item) !== undefined && series(item) === series(name)));
  return [
    ...(inputs.role === "node" && !facts.racct ? ["the limits of sites need resource accounting (rctl(8)); put kern.racct.enable=1 into /boot/loader.conf there and reboot"] : []),
    ...(inputs.role === "node" && !facts.zfsAtBoot ? ["pools would be gone after a reboot (rc.conf(5), zfs_enable); run `sysrc zfs_enable=YES` and `service zfs start` there"] : []),
    ...rivals.map((name) => `the package ${name} is installed, and pkg would remove it for ${needed.find((item) => series(item) === series(name)) ?? ""}; remove it first, or take another machine`),
  ];
}

/** What a watchdog lacks that can be seen without opening it; the fencer looks closer, and tells (daemon/fencer/parse-watchdog.ts). */
function watchdogLacks({ watchdog }: HostInputs, { watchdogs }: HostFacts): string[] {
  if (watchdog === undefined) return [];
  const found = watchdogs.find(({ device }) => device === watchdog.device);
  const others = watchdogs.map(({ device, identity }) => `${device} (${identity})`).join(", ");
  if (found === undefined) return [`the machine has no ${watchdog.device}${others === "" ? "; load the driver of its watchdog (Debian loads none by itself: name it in /etc/modules)" : `; it has ${others}`}`];
  return found.nowayout ? [`${watchdog.device} (${found.identity}) can never be disarmed (nowayout), so an upgrade would reset the machine; load its driver with nowayout=0`] : [];
}

function conflictsOf(inputs: HostInputs, facts: HostFacts, own: OwnTexts): Conflict[] {
  const conflicts: Conflict[] = [];
  const unsupported = (property: string, reason: string): void => void conflicts.push({ code: "UNSUPPORTED", property, reason });
  const ours = facts.manifest;
  const kernel = inputs.platform === "freebsd" ? "FreeBSD" : "Linux";
  if (facts.kernel !== kernel) unsupported("platform", `${JSON.stringify(inputs.platform)}, but the machine runs ${facts.kernel}`);
  else if (inputs.platform === "linux" && !facts.systemd) unsupported("platform", "the machine does not run systemd, which supervises the services");
  else if (neededPackages(inputs, facts) === undefined) unsupported("platform", `the system ${JSON.stringify(facts.os)} is not known; Debian 11 to 13 and FreeBSD 14 are`);
  else if (inputs.platform === "linux" && facts.node !== inputs.runtime && facts.otherNode !== inputs.runtime && facts.machine !== own.machine)
    unsupported("address", `the machine is ${facts.machine}, and this side has no Node for that; put Node ${inputs.runtime} into /usr/local/bin there`);
  else if (inputs.platform === "freebsd") for (const reason of freebsdLacks(inputs, facts)) unsupported("platform", reason);
  for (const reason of watchdogLacks(inputs, facts)) unsupported("watchdog", reason);
  if (ours !== undefined && ours.node !== inputs.name) conflicts.push({ code: "ALREADY_EXISTS", property: "address", reason: `the machine is node ${ours.node} already; delete that Host first` });
  const wanted = Object.entries(inputs.ports) as [keyof HostInputs["ports"], number][];
  const held = new Set(ours === undefined ? [] : Object.values(ours.ports));
  for (const [name, port] of wanted) {
    const owner = facts.listening.find((item) => item.port === port);
    if (owner !== undefined && !held.has(port)) conflicts.push({ code: "PORT_IN_USE", property: `ports.${name}`, reason: `${port} is in use by ${owner.program === "" ? "another program" : owner.program}; give another port` });
    const twin = wanted.find(([other, value]) => other < name && value === port);
    if (twin !== undefined) conflicts.push({ code: "PORT_IN_USE", property: `ports.${name}`, reason: `${port} is ports.${twin[0]} too; give each its own` });
  }
  if (ours === undefined) {
    for (const key of pathKeys) if (facts.paths[key] === "full") conflicts.push({ code: "PATH_IN_USE", property: `paths.${key}`, reason: `${inputs.paths[key]} exists, is not empty and is not ours; give another path` });
    for (const [name, there] of [["hcd", facts.service], ["hcd-fencer", facts.fencer]] as const)
      if (there !== "") conflicts.push({ code: "PATH_IN_USE", property: "name", reason: `${serviceFile(inputs.platform, name)} exists and is not ours: another program is called ${name} here` });
  }
  return conflicts;
}

/** Pure: facts and wishes → conflicts, else the steps that are missing; none when all is as wished. Our own manifest tells which ports, paths and users are ours. */
export function planHost(inputs: HostInputs, facts: HostFacts, own: OwnTexts): HostPlan {
  const conflicts = conflictsOf(inputs, facts, own);
  if (conflicts.length > 0) return { conflicts, steps: [] };
  const ours = facts.manifest;
  const linux = inputs.platform === "linux";
  const steps: HostStep[] = [];
  const lacking = pathKeys.filter((key) => facts.paths[key] === undefined && key !== "run"); // the service makes `run`
  if (ours === undefined || lacking.length > 0 || JSON.stringify(ours.ports) !== JSON.stringify(inputs.ports))
    steps.push({ kind: "folders", paths: lacking.map((key) => inputs.paths[key]), before: ours === undefined ? pathKeys.filter((key) => facts.paths[key] !== undefined).map((key) => inputs.paths[key]) : [] });
  const missing = (neededPackages(inputs, facts) ?? []).filter((name) => !facts.packages.includes(name));
  if (missing.length > 0 || (ours?.before ?? null) !== null) steps.push({ kind: "packages", names: missing, silence: linux ? distributionServices(missing) : [] });
  for (const name of inputs.role === "witness" ? ["_hcetcd"] : ["_hcproxy", "_hcetcd", "_hcweb"]) if (!facts.users.includes(name)) steps.push({ kind: "user", name });
  if (inputs.role === "node" && ((facts.txgSeconds !== "" && facts.txgSeconds !== txgSeconds) || missing.includes("zfsutils-linux"))) steps.push({ kind: "txg", seconds: txgSeconds, before: facts.txgSeconds });
  if (linux && facts.node !== inputs.runtime) steps.push({ kind: "node", version: inputs.runtime, how: facts.otherNode === inputs.runtime ? "copy" : "upload" });
  if (facts.current !== inputs.hcd.sha256 || facts.artefact !== inputs.hcd.sha256) steps.push({ kind: "artefact", sha256: inputs.hcd.sha256, previous: facts.current });
  if (facts.hostConfig !== own.hostConfig) steps.push({ kind: "host-config", path: `${inputs.paths.etc}/host.json` });
  const changed = steps.some((step) => ["node", "artefact", "host-config"].includes(step.kind));
  // the fencer first: it is there before anything is mounted, and a new one reads the order that stands
  const services = [{ name: "hcd-fencer", same: facts.fencer === own.fencer, active: facts.fencerActive }, { name: "hcd", same: facts.service === own.service, active: facts.active }] as const;
  for (const { name, same } of services) if (!same) steps.push({ kind: "service", name, path: serviceFile(inputs.platform, name) });
  for (const { name, same, active } of services) if (changed || !same || !active) steps.push({ kind: "start", name, restart: active });
  return { conflicts, steps };
}

/** A step for people. */
export function describeStep(step: HostStep): string {
  switch (step.kind) {
    case "folders": return step.paths.length === 0 ? "note what is used in the manifest" : `create folders ${step.paths.join(", ")}`;
    case "packages": return step.names.length === 0 ? "finish an interrupted installation" : `install packages ${step.names.join(", ")}${step.silence.length === 0 ? "" : ` (their own services ${step.silence.join(", ")} are kept from starting)`}`;
    case "user": return `create the system user ${step.name}`;
    case "txg": return `sync ZFS' transaction groups every ${step.seconds} s${step.before === "" ? "" : ` (now ${step.before} s)`}`;
    case "node": return step.how === "upload" ? `upload Node ${step.version}` : `use the Node ${step.version} of /usr/local/bin`;
    case "artefact": return `upload the daemon ${step.sha256.slice(0, 12)}${step.previous === "" ? "" : ` (now ${step.previous.slice(0, 12)})`}`;
    case "host-config": return `write ${step.path}`;
    case "service": return `define the service ${step.name} in ${step.path}`;
    case "start": return step.restart ? `restart the service ${step.name}${step.name === "hcd" ? " (sites go on meanwhile)" : ""}` : `start the service ${step.name}`;
  }
}
