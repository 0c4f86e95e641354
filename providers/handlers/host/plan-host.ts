import type { HostInputs } from "../../schemas/host.js";
import type { HostFacts } from "./parse-probe.js";
import { distributionServices, neededPackages } from "./packages.js";

/** What bootstrap does to a machine, as data: shown by `hc doctor --plan`, executed by apply-host.ts. */
export type HostStep =
  | { kind: "packages"; names: string[]; silence: string[] }
  | { kind: "user"; name: string }
  | { kind: "folders"; paths: string[] }
  | { kind: "node"; version: string; how: "link" | "upload" | "package" }
  | { kind: "artefact"; sha256: string; previous: string }
  | { kind: "host-config"; path: string }
  | { kind: "service"; path: string }
  | { kind: "start"; restart: boolean };
/** Why nothing may be changed: property, and what to do. */
export interface Conflict { code: "PORT_IN_USE" | "PATH_IN_USE" | "UNSUPPORTED" | "ALREADY_EXISTS"; property: string; reason: string }
export interface HostPlan { conflicts: Conflict[]; steps: HostStep[] }

export const serviceFile = (platform: HostInputs["platform"]): string => (platform === "freebsd" ? "/usr/local/etc/rc.d/hcd" : "/etc/systemd/system/hcd.service");

/** Pure: facts and wishes → conflicts, else steps. Our own manifest tells which ports, paths and users are ours already. */
export function planHost(inputs: HostInputs, facts: HostFacts): HostPlan {
  const conflicts: Conflict[] = [];
  const ours = facts.manifest;
  const kernel = inputs.platform === "freebsd" ? "FreeBSD" : "Linux";
  if (facts.kernel !== kernel) conflicts.push({ code: "UNSUPPORTED", property: "platform", reason: `${JSON.stringify(inputs.platform)}, but the machine runs ${facts.kernel}` });
  if (inputs.platform === "linux" && !facts.systemd) conflicts.push({ code: "UNSUPPORTED", property: "platform", reason: "the machine does not run systemd, which supervises the services" });
  if (ours !== undefined && ours.node !== inputs.name) conflicts.push({ code: "ALREADY_EXISTS", property: "address", reason: `the machine is node ${ours.node} of a cluster already; delete that Host first` });
  const needed = neededPackages(inputs, facts);
  if (needed === undefined) conflicts.push({ code: "UNSUPPORTED", property: "platform", reason: `the system ${JSON.stringify(facts.os)} is not known; Debian 11 to 13 and FreeBSD 14 are` });
  const wanted = Object.entries(inputs.ports) as [keyof HostInputs["ports"], number][];
  const before = new Set(ours === undefined ? [] : Object.values(ours.ports));
  for (const [name, port] of wanted) {
    const owner = facts.listening.find((item) => item.port === port);
    if (owner !== undefined && !before.has(port)) conflicts.push({ code: "PORT_IN_USE", property: `ports.${name}`, reason: `${port} is in use by ${owner.program === "" ? "another program" : owner.program}; give another port` });
    const twin = wanted.find(([other, value]) => other < name && value === port);
    if (twin !== undefined) conflicts.push({ code: "PORT_IN_USE", property: `ports.${name}`, reason: `${port} is ports.${twin[0]} too; give each its own` });
  }
  if (ours === undefined) for (const key of ["etc", "state", "lib", "data"] as const) if (facts.paths[key] === "full") conflicts.push({ code: "PATH_IN_USE", property: `paths.${key}`, reason: `${inputs.paths[key]} exists and is not ours; give another path` });
  if (conflicts.length > 0) return { conflicts, steps: [] };

  const missing = (needed ?? []).filter((name) => !facts.packages.includes(name));
  const steps: HostStep[] = [{ kind: "folders", paths: [inputs.paths.etc, inputs.paths.state, inputs.paths.lib, inputs.paths.log, inputs.paths.data] }];
  if (missing.length > 0 || (ours?.packagesBefore ?? null) !== null) steps.push({ kind: "packages", names: missing, silence: inputs.platform === "linux" ? distributionServices(missing) : [] });
  for (const name of inputs.role === "witness" ? ["_hcetcd"] : ["_hcproxy", "_hcetcd", "_hcweb"]) if (!facts.users.includes(name)) steps.push({ kind: "user", name });
  if (inputs.platform === "freebsd") steps.push({ kind: "node", version: inputs.runtime, how: "package" });
  else if (facts.node !== inputs.runtime) steps.push({ kind: "node", version: inputs.runtime, how: facts.otherNode === inputs.runtime ? "link" : "upload" });
  steps.push({ kind: "artefact", sha256: inputs.hcd.sha256, previous: facts.current }, { kind: "host-config", path: `${inputs.paths.etc}/host.json` }, { kind: "service", path: serviceFile(inputs.platform) }, { kind: "start", restart: facts.current !== "" && facts.current !== inputs.hcd.sha256 });
  return { conflicts, steps };
}

/** A step for people. */
export function describeStep(step: HostStep): string {
  switch (step.kind) {
    case "packages": return step.names.length === 0 ? "finish an interrupted installation" : `install packages ${step.names.join(", ")}${step.silence.length === 0 ? "" : ` (their own services ${step.silence.join(", ")} are kept from starting)`}`;
    case "user": return `create the system user ${step.name}`;
    case "folders": return `create folders ${step.paths.join(", ")}`;
    case "node": return step.how === "upload" ? `upload Node ${step.version}` : step.how === "link" ? `use the Node ${step.version} that is there` : "use Node of the package";
    case "artefact": return `upload the daemon ${step.sha256.slice(0, 12)}${step.previous === "" ? "" : ` (now ${step.previous.slice(0, 12)})`}`;
    case "host-config": return `write ${step.path}`;
    case "service": return `define the service hcd in ${step.path}`;
    case "start": return step.restart ? "restart the service hcd (sites go on meanwhile)" : "start the service hcd";
  }
}
