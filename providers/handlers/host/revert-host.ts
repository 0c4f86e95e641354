import type { CommandRunner } from "../../../daemon/lib/command.js";
import type { HostInputs } from "../../schemas/host.js";
import { removePackages } from "./install-packages.js";
import { hostServices } from "./own-texts.js";
import { serviceFile } from "./plan-host.js";
import { probeHost } from "./probe.js";
import { dropSysctl, sh } from "./work.js";

/**
 * hcd first; then what it would have taken back itself had the cluster been deleted in order: its services, the users of customers. On Linux host.json goes before all: a fencer that does not find it when it
 * ends disarms its watchdog, because nobody follows who would feed it (daemon/fencer/DESIGN.md).
 */
const stopLinux = `rm -f "$1"; shift; systemctl disable --now hcd.service >/dev/null 2>&1
for f in /etc/systemd/system/hc-site-*.service /etc/systemd/system/hcd-*.service; do [ -e "$f" ] || continue; systemctl disable --now "$(basename "$f")" >/dev/null 2>&1; rm -f "$f"; done
for u in $(getent passwd | cut -d: -f1 | grep '^hc-'); do userdel "$u" 2>/dev/null; done
if [ -e /usr/sbin/policy-rc.d ] && grep -q hybridcluster /usr/sbin/policy-rc.d; then rm -f /usr/sbin/policy-rc.d; fi
for f in "$@"; do rm -f "$f"; done
systemctl daemon-reload; systemctl reset-failed 'hcd*.service' 'hc-site-*.service' >/dev/null 2>&1; true`;
const stopFreebsd = `service hcd onestop >/dev/null 2>&1; sysrc -x hcd_enable >/dev/null 2>&1; sysrc -x hcd_fencer_enable >/dev/null 2>&1
for f in /usr/local/etc/rc.d/hcd_* /usr/local/etc/rc.d/hc_site_*; do [ -e "$f" ] || continue; "$f" onestop >/dev/null 2>&1; rm -f "$f"; done
for u in $(getent passwd | cut -d: -f1 | grep '^hc-'); do pw userdel "$u" 2>/dev/null; done
for f in "$@"; do rm -f "$f"; done; true`;
const restoreTxg = {
  linux: 'p=/sys/module/zfs/parameters/zfs_txg_timeout; if [ -w "$p" ]; then echo "$1" > "$p"; fi',
  freebsd: `sysctl "vfs.zfs.txg.timeout=$1" >/dev/null; ${dropSysctl}`,
} as const;

/** Takes back what the manifest lists: service, files, packages, users, folders. What was there before stays. Idempotent. */
export async function revertHost(runner: CommandRunner, inputs: HostInputs): Promise<void> {
  const { platform } = inputs;
  const { manifest } = await probeHost(runner, inputs);
  if (manifest === undefined || manifest.node !== inputs.name) return; // nothing of this Host is there
  await sh(runner, platform === "freebsd" ? stopFreebsd : stopLinux, [...(platform === "linux" ? [`${inputs.paths.etc}/host.json`] : []), ...new Set([...hostServices.map((name) => serviceFile(platform, name)), ...manifest.files])], 120_000);
  if (manifest.txgSecondsBefore !== "") await sh(runner, restoreTxg[platform], [manifest.txgSecondsBefore]);
  await removePackages(runner, inputs.name, platform, manifest.packages);
  const remove = platform === "freebsd" ? 'pw usershow "$u" >/dev/null 2>&1 && pw userdel "$u"' : 'id "$u" >/dev/null 2>&1 && userdel "$u"';
  await sh(runner, `for u in "$@"; do ${remove}; done; true`, manifest.users);
  // Nothing below a mount is touched. The manifest's folder goes last: as long as it is there, a repeated deletion knows what is ours.
  const { etc, lib, log, run, data, state } = manifest.paths;
  const kept = new Set(manifest.foldersBefore);
  const empty = `find "$1" -xdev -mindepth 1 -delete`;
  for (const path of [etc, lib, log, run]) await sh(runner, `[ -d "$1" ] || exit 0; ${empty} && ${kept.has(path) ? "true" : 'rmdir "$1"'}`, [path], 60_000);
  if (!kept.has(data)) await sh(runner, 'rmdir "$1" 2>/dev/null || true', [data]);
  await sh(runner, `find "$1" -xdev -mindepth 1 ! -path "$1/manifest.json" -delete && rm -f "$1/manifest.json" && ${kept.has(state) ? "true" : 'rmdir "$1"'}`, [state], 60_000);
}
