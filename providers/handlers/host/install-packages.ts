import type { CommandRunner } from "../../../daemon/lib/command.js";
import { progress } from "../../core/progress.js";
import type { HostInputs } from "../../schemas/host.js";
import type { HostStep } from "./plan-host.js";
import { type HostWork, saveManifest, sh } from "./work.js";

const installMs = 15 * 60_000;
type Platform = HostInputs["platform"];

const lines = (text: string): string[] => text.split("\n").filter((line) => line !== "");
/** Where pkg itself is not there yet, nothing is installed: `-N` asks without fetching it (pkg(8)). */
const pkgNames = "if pkg -N >/dev/null 2>&1; then pkg query %n; fi";
const installed = async (runner: CommandRunner, platform: Platform): Promise<string[]> =>
  lines(await sh(runner, platform === "freebsd" ? pkgNames : `dpkg-query -W -f '\${db:Status-Abbrev}\${Package}\\n' | sed -n 's/^ii \\{0,1\\}//p'`));
const users = async (runner: CommandRunner): Promise<string[]> => lines(await sh(runner, "cut -d: -f1 /etc/passwd"));
/** Of these services, those that the machine knows: they are somebody's, and stay as they are. */
const known = async (runner: CommandRunner, services: readonly string[]): Promise<string[]> =>
  services.length === 0 ? [] : lines(await sh(runner, 'for s in "$@"; do systemctl cat "$s" >/dev/null 2>&1 && echo "$s"; done; true', services));

/**
 * policy-rc.d (invoke-rc.d(8)) says 101: nothing is started or restarted by an installation. The guard is recognised by its text, so one that a
 * killed run has left is ours; one of the machine's own stays, and counts.
 */
const guard = "/usr/sbin/policy-rc.d";
const aptScript = `set -e
guard=${guard}
if [ ! -e "$guard" ] || grep -q hybridcluster "$guard"; then printf '#!/bin/sh\\n# hybridcluster\\nexit 101\\n' > "$guard"; chmod 755 "$guard"; trap 'rm -f "$guard"' EXIT; fi
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
dpkg --configure -a
[ $# -gt 0 ] || exit 0
apt-get -o DPkg::Lock::Timeout=120 update -qq
apt-get -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold install -y -qq --no-install-recommends "$@"`;

export async function installPackages(work: HostWork, step: Extract<HostStep, { kind: "packages" }>): Promise<void> {
  const { runner, inputs, manifest } = work;
  const { platform } = inputs;
  if (manifest.before === null) {
    manifest.before = { packages: await installed(runner, platform), users: await users(runner) };
    const theirs = platform === "freebsd" ? [] : await known(runner, step.silence);
    manifest.silenced = [...new Set([...manifest.silenced, ...step.silence.filter((service) => !theirs.includes(service))])];
    await saveManifest(work);
  }
  if (platform === "freebsd") {
    if (step.names.length > 0) await sh(runner, 'env ASSUME_ALWAYS_YES=yes pkg install -y "$@"', step.names, installMs);
  } else {
    await sh(runner, aptScript, step.names, installMs);
    if (manifest.silenced.length > 0) await sh(runner, 'for s in "$@"; do systemctl disable --now "$s" >/dev/null 2>&1 || true; done', manifest.silenced);
  }
  const { before } = manifest;
  const fresh = (now: string[], old: readonly string[]): string[] => now.filter((name) => !old.includes(name));
  manifest.packages = [...new Set([...manifest.packages, ...fresh(await installed(runner, platform), before.packages)])].sort();
  manifest.users = [...new Set([...manifest.users, ...fresh(await users(runner), before.users)])];
  manifest.before = null;
  await saveManifest(work);
}

/** Takes our packages away, unless something that came later needs them: then they stay, and are said to. */
export async function removePackages(runner: CommandRunner, host: string, platform: Platform, packages: readonly string[]): Promise<void> {
  // pkg stays: it would delete itself, named like this (pkg-delete(8))
  const ours = (await installed(runner, platform)).filter((name) => packages.includes(name) && !(platform === "freebsd" && name === "pkg"));
  if (ours.length === 0) return;
  if (platform === "freebsd") {
    const needing = lines(await sh(runner, 'pkg query %rn "$@"', ours)).filter((name) => !packages.includes(name)); // pkg delete would take them too
    if (needing.length > 0) return progress("Host", host, `packages ${ours.join(", ")} stay: ${[...new Set(needing)].join(", ")} came later and need them`);
    progress("Host", host, `remove packages ${ours.join(", ")}`);
    return void (await sh(runner, 'pkg delete -y "$@"', ours, installMs));
  }
  const plan = await sh(runner, "export DEBIAN_FRONTEND=noninteractive; apt-get -s purge \"$@\" | sed -n 's/^\\(Purg\\|Remv\\) \\([^ ]*\\).*/\\2/p'", ours, 60_000);
  const others = lines(plan).filter((name) => !packages.includes(name));
  if (others.length > 0) return progress("Host", host, `packages ${ours.join(", ")} stay: ${others.join(", ")} came later and need them`);
  progress("Host", host, `remove packages ${ours.join(", ")}`);
  await sh(runner, 'export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1; apt-get -o DPkg::Lock::Timeout=120 purge -y -qq "$@"', ours, installMs);
}
