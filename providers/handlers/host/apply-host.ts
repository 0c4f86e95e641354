import { createHash } from "node:crypto";
import { type CommandRunner, runOk } from "../../../daemon/lib/command.js";
import { HcError } from "../../../daemon/lib/errors.js";
import type { HostConfig } from "../../../daemon/lib/node-config.js";
import { renderTemplate } from "../../../templates/render.js";
import { progress } from "../../core/progress.js";
import type { HostInputs } from "../../schemas/host.js";
import { remoteSha256, upload } from "../../ssh/upload.js";
import { type Manifest, emptyManifest, manifestFile } from "./manifest.js";
import type { HostFacts } from "./parse-probe.js";
import { describeStep, type HostStep, planHost, serviceFile } from "./plan-host.js";
import { probeHost } from "./probe.js";
import { artefactFile, nodeBinaryFile } from "./own-files.js";

const quickMs = 30_000;
const installMs = 15 * 60_000;
export const freebsdNode = "/usr/local/bin/node";

/** Everything that a step needs. */
export interface HostWork { runner: CommandRunner; inputs: HostInputs; manifest: Manifest }

async function sh(runner: CommandRunner, script: string, args: readonly string[] = [], timeoutMs = quickMs): Promise<string> {
  return runOk(runner, ["sh", "-c", script, "sh", ...args], { timeoutMs });
}
async function saveManifest({ runner, inputs, manifest }: HostWork): Promise<void> {
  await upload(runner, manifestFile(inputs.paths), { text: `${JSON.stringify(manifest)}\n` }, { mode: "600", timeoutMs: quickMs });
}
const installed = async (runner: CommandRunner, platform: HostInputs["platform"]): Promise<string[]> =>
  (await sh(runner, platform === "freebsd" ? "pkg query %n" : "dpkg-query -W -f '${db:Status-Abbrev}${Package}\\n' | sed -n 's/^ii \\{0,1\\}//p'")).split("\n").filter((name) => name !== "");

async function installPackages(work: HostWork, step: Extract<HostStep, { kind: "packages" }>): Promise<void> {
  const { runner, inputs, manifest } = work;
  manifest.packagesBefore ??= await installed(runner, inputs.platform);
  manifest.silenced = [...new Set([...manifest.silenced, ...step.silence])];
  await saveManifest(work);
  if (step.names.length > 0) {
    if (inputs.platform === "freebsd") await sh(runner, 'env ASSUME_ALWAYS_YES=yes pkg install -y "$@"', step.names, installMs);
    else {
      // policy-rc.d (invoke-rc.d(8)): nothing is started by an installation; our guard goes again, one that was there stays
      await sh(runner, `set -e; guard=/usr/sbin/policy-rc.d
        if [ ! -e "$guard" ]; then printf '#!/bin/sh\\n# hybridcluster\\nexit 101\\n' > "$guard"; chmod 755 "$guard"; trap 'grep -q hybridcluster "$guard" && rm -f "$guard"' EXIT; fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq; apt-get install -y -qq --no-install-recommends "$@"`, step.names, installMs);
      if (step.silence.length > 0) await sh(runner, 'for s in "$@"; do systemctl disable "$s" >/dev/null 2>&1 || true; done', step.silence);
    }
  }
  const before = new Set(manifest.packagesBefore);
  manifest.packages = [...new Set([...manifest.packages, ...(await installed(runner, inputs.platform)).filter((name) => !before.has(name))])].sort();
  manifest.packagesBefore = null;
  await saveManifest(work);
}

async function createUser(work: HostWork, name: string): Promise<void> {
  work.manifest.users = [...new Set([...work.manifest.users, name])];
  await saveManifest(work);
  if (work.inputs.platform === "freebsd") await sh(work.runner, 'pw usershow "$1" >/dev/null 2>&1 || pw useradd "$1" -d /nonexistent -s /usr/sbin/nologin -c hybridcluster', [name]);
  else await sh(work.runner, 'id "$1" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1"', [name]);
}

async function bringNode({ runner, inputs }: HostWork, step: Extract<HostStep, { kind: "node" }>): Promise<void> {
  const { lib } = inputs.paths;
  if (step.how === "package") return;
  const target = `${lib}/node-${step.version}/node`;
  if (step.how === "link") await sh(runner, 'mkdir -p "$(dirname "$1")" && ln -f /usr/local/bin/node "$1" 2>/dev/null || cp -f /usr/local/bin/node "$1"', [target]);
  else {
    const source = nodeBinaryFile();
    await upload(runner, target, { file: source }, { mode: "755", timeoutMs: 10 * 60_000 });
  }
  await sh(runner, '"$1" -v >/dev/null && ln -sfn "node-$2/node" "$3/.node-link" && mv -fT "$3/.node-link" "$3/node"', [target, step.version, lib]);
}

/** Points `current` to a digest, atomically. */
export async function switchArtefact(runner: CommandRunner, lib: string, sha256: string): Promise<void> {
  await sh(runner, 'ln -sfn "$2" "$1/.current-new" && (mv -fT "$1/.current-new" "$1/current" 2>/dev/null || mv -fh "$1/.current-new" "$1/current")', [lib, sha256]);
}
async function bringArtefact({ runner, inputs }: HostWork): Promise<void> {
  const { lib } = inputs.paths;
  const target = `${lib}/${inputs.hcd.sha256}/hcd.cjs`;
  if ((await remoteSha256(runner, target)) !== inputs.hcd.sha256) await upload(runner, target, { file: artefactFile(inputs.hcd.sha256) }, { mode: "755", timeoutMs: 120_000 });
  await switchArtefact(runner, lib, inputs.hcd.sha256);
}

export function hostConfig(inputs: HostInputs): HostConfig {
  return { version: 1, node: inputs.name, platform: inputs.platform, zone: inputs.zone, role: inputs.role, addresses: [...new Set([inputs.address, ...inputs.addresses])], ports: inputs.ports, paths: inputs.paths };
}
export function serviceText(inputs: HostInputs): string {
  const data = {
    node: inputs.name,
    nodeBinary: inputs.platform === "freebsd" ? freebsdNode : `${inputs.paths.lib}/node`,
    artefact: `${inputs.paths.lib}/current/hcd.cjs`,
    hostConfig: `${inputs.paths.etc}/host.json`,
    runtimeDirectory: inputs.paths.run.replace(/^\/(var\/)?run\//, ""),
    runtimePath: inputs.paths.run,
  };
  return renderTemplate(inputs.platform === "freebsd" ? "host/hcd.rc.hbs" : "host/hcd.service.hbs", data);
}

async function writeIfChanged(runner: CommandRunner, path: string, text: string, mode: string): Promise<boolean> {
  if ((await remoteSha256(runner, path)) === createHash("sha256").update(text).digest("hex")) return false;
  await upload(runner, path, { text }, { mode, timeoutMs: quickMs });
  return true;
}

async function runStep(work: HostWork, step: HostStep, changed: { config: boolean }): Promise<void> {
  const { runner, inputs, manifest } = work;
  switch (step.kind) {
    case "folders": {
      await sh(runner, 'for p in "$@"; do mkdir -p "$p"; done; chmod 0711 "$1" "$2"', [inputs.paths.state, inputs.paths.etc, ...step.paths]);
      return saveManifest(work);
    }
    case "packages": return installPackages(work, step);
    case "user": return createUser(work, step.name);
    case "node": return bringNode(work, step);
    case "artefact": return bringArtefact(work);
    case "host-config":
      if (await writeIfChanged(runner, step.path, `${JSON.stringify(hostConfig(inputs), null, 2)}\n`, "644")) changed.config = true;
      return;
    case "service": {
      manifest.files = [...new Set([...manifest.files, step.path])];
      await saveManifest(work);
      const text = serviceText(inputs);
      if (await writeIfChanged(runner, step.path, text, inputs.platform === "freebsd" ? "755" : "644")) {
        changed.config = true;
        if (inputs.platform === "linux") await sh(runner, "systemctl daemon-reload");
      }
      return;
    }
    case "start": {
      const restart = step.restart || changed.config;
      if (inputs.platform === "freebsd") await sh(runner, `sysrc hcd_enable=YES >/dev/null; service hcd ${restart ? "restart" : "status >/dev/null 2>&1 || service hcd start"}`, [], 60_000);
      else await sh(runner, `systemctl enable -q hcd.service 2>/dev/null; systemctl ${restart ? "restart" : "start"} hcd.service`, [], 60_000);
      return;
    }
  }
}

/** Brings a machine from whatever state to the wished one. Conflicts are thrown before anything is changed. Can be repeated after a crash at any step. */
export async function applyHost(runner: CommandRunner, inputs: HostInputs): Promise<{ facts: HostFacts; steps: HostStep[] }> {
  const facts = await probeHost(runner, inputs);
  const plan = planHost(inputs, facts);
  const [conflict] = plan.conflicts;
  if (conflict !== undefined) {
    throw new HcError(conflict.code, `Host ${inputs.name}: ${plan.conflicts.map((item) => `${item.property}: ${item.reason}`).join("; ")}. Nothing was changed.`, { context: { conflicts: plan.conflicts } });
  }
  const work: HostWork = { runner, inputs, manifest: { ...emptyManifest(inputs.name, inputs.ports, inputs.paths), ...facts.manifest, ports: inputs.ports, paths: inputs.paths } };
  const changed = { config: false };
  for (const step of plan.steps) {
    if (step.kind === "packages" || step.kind === "node" || step.kind === "artefact") progress("Host", inputs.name, describeStep(step));
    await runStep(work, step, changed);
  }
  return { facts, steps: plan.steps };
}

/** Takes back what the manifest lists: service, files, folders, users, packages. What was there before stays. Idempotent. */
export async function revertHost(runner: CommandRunner, inputs: HostInputs): Promise<void> {
  const facts = await probeHost(runner, inputs);
  const { manifest } = facts;
  if (manifest === undefined) return;
  const service = serviceFile(inputs.platform);
  if (inputs.platform === "freebsd") await sh(runner, 'service hcd stop >/dev/null 2>&1; sysrc -x hcd_enable >/dev/null 2>&1; rm -f "$1"', [service], 60_000);
  else {
    await sh(runner, 'systemctl disable --now hcd.service >/dev/null 2>&1 || true; for u in $(systemctl list-unit-files --no-legend "hcd-*.service" "hc-site-*.service" 2>/dev/null | cut -d" " -f1); do systemctl disable --now "$u" >/dev/null 2>&1 || true; rm -f "/etc/systemd/system/$u"; done; for f in "$@"; do rm -f "$f"; done; systemctl daemon-reload', manifest.files, 60_000);
  }
  if (manifest.packages.length > 0) {
    progress("Host", inputs.name, `remove packages ${manifest.packages.join(", ")}`);
    if (inputs.platform === "freebsd") await sh(runner, 'pkg delete -y "$@" >/dev/null 2>&1 || true', manifest.packages, installMs);
    else await sh(runner, 'export DEBIAN_FRONTEND=noninteractive; apt-get purge -y -qq "$@"', manifest.packages, installMs);
  }
  for (const user of manifest.users) {
    if (inputs.platform === "freebsd") await sh(runner, 'pw userdel "$1" 2>/dev/null || true', [user]);
    else await sh(runner, 'id "$1" >/dev/null 2>&1 && userdel "$1" || true', [user]);
  }
  // the manifest goes last: as long as it is there, a repeated deletion knows what is ours
  const { etc, lib, log, run, data, state } = manifest.paths;
  await sh(runner, 'for p in "$@"; do rm -rf --one-file-system "$p" 2>/dev/null || rm -rf "$p"; done', [etc, lib, log, run]);
  await sh(runner, 'rmdir "$1" 2>/dev/null || true; rm -rf "$2"', [data, state]);
}
