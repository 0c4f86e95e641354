import type { CommandRunner } from "../../../daemon/lib/command.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { progress } from "../../core/progress.js";
import type { HostInputs } from "../../schemas/host.js";
import { remoteSha256, sha256Of, upload } from "../../ssh/upload.js";
import { installPackages } from "./install-packages.js";
import { emptyManifest } from "./manifest.js";
import { artefactFile, nodeBinaryFile } from "./own-files.js";
import { type HostService, hostConfigText, ownTexts, serviceText } from "./own-texts.js";
import type { HostFacts } from "./parse-probe.js";
import { describeStep, type HostStep, planHost } from "./plan-host.js";
import { probeHost } from "./probe.js";
import { dropSysctl, type HostWork, quickMs, saveManifest, sh } from "./work.js";

async function createUser(work: HostWork, name: string): Promise<void> {
  work.manifest.users = [...new Set([...work.manifest.users, name])];
  await saveManifest(work);
  if (work.inputs.platform === "freebsd") await sh(work.runner, 'pw usershow "$1" >/dev/null 2>&1 || pw useradd "$1" -d /nonexistent -s /usr/sbin/nologin -c hybridcluster', [name]);
  else await sh(work.runner, 'id "$1" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1"', [name]);
}

/** zfs_txg_timeout, kept over a reboot. The value of before is in the manifest. sysrc(8) takes no names with dots, so our line of sysctl.conf(5) stands after a mark. */
async function setTxg(work: HostWork, step: Extract<HostStep, { kind: "txg" }>): Promise<void> {
  const { runner, inputs, manifest } = work;
  if (manifest.txgSecondsBefore === "") manifest.txgSecondsBefore = step.before === "" ? "5" : step.before; // 5: the default of OpenZFS
  if (inputs.platform === "linux") manifest.files = [...new Set([...manifest.files, "/etc/modprobe.d/hybridcluster.conf"])];
  await saveManifest(work);
  if (inputs.platform === "freebsd") await sh(runner, `sysctl "vfs.zfs.txg.timeout=$1" >/dev/null; touch /etc/sysctl.conf; ${dropSysctl}; printf '# hybridcluster\\nvfs.zfs.txg.timeout=%s\\n' "$1" >> /etc/sysctl.conf`, [step.seconds]);
  else await sh(runner, 'echo "options zfs zfs_txg_timeout=$1" > /etc/modprobe.d/hybridcluster.conf; modprobe zfs 2>/dev/null; p=/sys/module/zfs/parameters/zfs_txg_timeout; if [ -w "$p" ]; then echo "$1" > "$p"; fi', [step.seconds]);
}

let ownNode: Promise<string> | undefined;
/** Digest of the own Node binary: 120 MB, read once for all hosts. */
const ownNodeSha256 = (): Promise<string> => (ownNode ??= sha256Of(nodeBinaryFile()));

async function bringNode({ runner, inputs }: HostWork, step: Extract<HostStep, { kind: "node" }>): Promise<void> {
  const { lib } = inputs.paths;
  const target = `${lib}/node-${step.version}/node`;
  // the same digest, not only the same version
  const copied = step.how === "copy" && process.platform === "linux" && (await remoteSha256(runner, "/usr/local/bin/node")) === (await ownNodeSha256());
  if (copied) await sh(runner, 'mkdir -p "$(dirname "$1")" && { ln -f /usr/local/bin/node "$1" 2>/dev/null || cp -f /usr/local/bin/node "$1"; }', [target], 120_000);
  else await upload(runner, target, { file: nodeBinaryFile() }, { mode: "755", timeoutMs: 10 * 60_000 });
  await sh(runner, '"$1" -v >/dev/null && ln -sfn "node-$2/node" "$3/.node-link" && mv -fT "$3/.node-link" "$3/node"', [target, step.version, lib]);
}

/** Points `current` to a digest, atomically. */
export async function switchArtefact(runner: CommandRunner, inputs: HostInputs, sha256: string): Promise<void> {
  await sh(runner, `ln -sfn "$2" "$1/.current-new" && mv ${inputs.platform === "freebsd" ? "-fh" : "-fT"} "$1/.current-new" "$1/current"`, [inputs.paths.lib, sha256]);
}
export async function startService(runner: CommandRunner, platform: HostInputs["platform"], name: HostService, restart: boolean): Promise<void> {
  const script = name.replace("-", "_");
  if (platform === "freebsd") await sh(runner, `sysrc ${script}_enable=YES >/dev/null; service ${script} ${restart ? "restart" : "start"}`, [], 60_000);
  else await sh(runner, `systemctl enable -q ${name}.service; systemctl ${restart ? "restart" : "start"} ${name}.service`, [], 60_000);
}

/** Bytes of old artefacts are of no use, but the one of before is what a rollback goes to. */
const dropOldArtefacts = 'cd "$1" || exit 1; shift; for d in *; do case " $* " in *" $d "*) ;; *) case $d in ????????????????????????????????????????????????????????????????) rm -rf "$d";; esac;; esac; done';

async function runStep(work: HostWork, step: HostStep): Promise<void> {
  const { runner, inputs, manifest } = work;
  const { lib, etc, state } = inputs.paths;
  switch (step.kind) {
    case "folders":
      manifest.foldersBefore = [...new Set([...manifest.foldersBefore, ...step.before])];
      await saveManifest(work); // the first change of all: from now on everything here is known to be ours
      return void (await sh(runner, 'for p in "$@"; do mkdir -p "$p"; done; chmod 0711 "$1" "$2"', [state, etc, ...step.paths]));
    case "packages": return installPackages(work, step);
    case "user": return createUser(work, step.name);
    case "txg": return setTxg(work, step);
    case "node": return bringNode(work, step);
    case "artefact": {
      const target = `${lib}/${step.sha256}/hcd.cjs`;
      if ((await remoteSha256(runner, target)) !== step.sha256) await upload(runner, target, { file: artefactFile(step.sha256) }, { mode: "755", timeoutMs: 120_000 });
      await switchArtefact(runner, inputs, step.sha256);
      return void (await sh(runner, dropOldArtefacts, [lib, step.sha256, step.previous]));
    }
    case "host-config": return void (await upload(runner, step.path, { text: hostConfigText(inputs) }, { mode: "644", timeoutMs: quickMs }));
    case "service":
      manifest.files = [...new Set([...manifest.files, step.path])];
      await saveManifest(work);
      await upload(runner, step.path, { text: serviceText(inputs, step.name) }, { mode: inputs.platform === "freebsd" ? "755" : "644", timeoutMs: quickMs });
      if (inputs.platform === "linux") await sh(runner, "systemctl daemon-reload");
      return;
    case "start": return startService(runner, inputs.platform, step.name, step.restart);
  }
}

/** The steps that are missing; throws what stands against them, naming property and remedy. */
export function stepsFor(inputs: HostInputs, facts: HostFacts): HostStep[] {
  const { conflicts, steps } = planHost(inputs, facts, ownTexts(inputs));
  const [first] = conflicts;
  if (first === undefined) return steps;
  throw new HcError(first.code, `Host ${inputs.name}: ${conflicts.map((item) => `${item.property}: ${item.reason}`).join("; ")}. Nothing was changed.`, { context: { conflicts } });
}

/** Brings a machine from whatever state to the wished one. Can be repeated after a crash at any step. */
export async function applyHost(runner: CommandRunner, inputs: HostInputs, begin: () => void): Promise<{ facts: HostFacts; steps: HostStep[] }> {
  const facts = await probeHost(runner, inputs);
  const steps = stepsFor(inputs, facts);
  if (steps.length > 0) begin();
  const work: HostWork = { runner, inputs, manifest: { ...emptyManifest(inputs.name, inputs.ports, inputs.paths), ...facts.manifest, ports: inputs.ports } };
  for (const step of steps) {
    if (step.kind === "packages" || step.kind === "node" || step.kind === "artefact") progress("Host", inputs.name, describeStep(step));
    await runStep(work, step);
  }
  return { facts, steps };
}
