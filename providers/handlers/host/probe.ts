import { type CommandRunner, runOk } from "../../../daemon/lib/command.js";
import type { HostInputs } from "../../schemas/host.js";
import { type HostFacts, parseProbe } from "./parse-probe.js";
import { serviceFile } from "./plan-host.js";

/** Asks a machine everything that the plan needs, in one command; changes nothing. Output: one fact a line, tab between key and value. */
const script = `
fact() { printf '%s\\t%s\\n' "$1" "$2"; }
digest() { [ -f "$1" ] || return 0; if command -v sha256sum >/dev/null 2>&1; then sha256sum < "$1" | cut -d' ' -f1; else sha256 -q "$1"; fi; }
paths_etc=$1 paths_state=$2 paths_run=$3 paths_log=$4 paths_lib=$5 paths_data=$6 service=$7 fencer=$8
fact kernel "$(uname -s)"
fact machine "$(uname -m)"
[ -r /etc/os-release ] && . /etc/os-release && fact os "$ID $VERSION_ID"
if command -v dpkg-query >/dev/null 2>&1; then
  dpkg-query -W -f '\${db:Status-Abbrev}\${Package}\\n' 2>/dev/null | sed -n 's/^ii \\{0,1\\}/package\\t/p'
elif pkg -N >/dev/null 2>&1; then pkg query %n | while read -r p; do fact package "$p"; done; fi
if command -v ss >/dev/null 2>&1; then ss -Hltnp 2>/dev/null | while read -r _ _ _ l _ o; do
  pid=$(printf '%s' "$o" | sed -n 's/.*pid=\\([0-9]*\\).*/\\1/p'); exe=; [ -n "$pid" ] && exe=$(readlink "/proc/$pid/exe" 2>/dev/null)
  fact listen "\${l##*:} $(basename "\${exe:-$(printf '%s' "$o" | sed -n 's/.*(("\\([^"]*\\)".*/\\1/p')}")"; done
elif command -v sockstat >/dev/null 2>&1; then sockstat -46lP tcp 2>/dev/null | tail -n +2 | while read -r _ c _ _ _ l _; do fact listen "\${l##*:} $c"; done; fi
for u in _hcproxy _hcetcd _hcweb; do id "$u" >/dev/null 2>&1 && fact user "$u"; done
# a pool of ours that was imported before (docs/recovery.md) is in nobody's way
ours() { [ "$1" = data ] && command -v zfs >/dev/null 2>&1 && zfs list -H -t filesystem -o mountpoint,mounted,hybridcluster:pool 2>/dev/null | awk -F'\\t' -v p="$2" '$1==p && $2=="yes" && $3!="-"{found=1} END{exit !found}'; }
for k in etc state run log lib data; do eval "p=\\$paths_$k"; [ -e "$p" ] && { [ -n "$(ls -A "$p" 2>/dev/null)" ] && ! ours "$k" "$p" && fact path "$k full" || fact path "$k empty"; }; done
command -v zpool >/dev/null 2>&1 && fact zfs yes
if [ -r /sys/module/zfs/parameters/zfs_txg_timeout ]; then fact txg "$(cat /sys/module/zfs/parameters/zfs_txg_timeout)"
elif [ "$(uname -s)" = FreeBSD ]; then t=$(sysctl -n vfs.zfs.txg.timeout 2>/dev/null) && fact txg "$t"; fi
if [ "$(uname -s)" = FreeBSD ]; then fact racct "$(sysctl -n kern.racct.enable 2>/dev/null)"; fact zfsatboot "$(sysrc -n zfs_enable 2>/dev/null)"; fi
[ -x "$paths_lib/node" ] && fact node "$("$paths_lib/node" -v 2>/dev/null)"
[ -x /usr/local/bin/node ] && fact othernode "$(/usr/local/bin/node -v 2>/dev/null)"
[ -L "$paths_lib/current" ] && fact current "$(basename "$(readlink "$paths_lib/current")")"
fact artefact "$(digest "$paths_lib/current/hcd.cjs")"
fact hostconfig "$(digest "$paths_etc/host.json")"
fact service "$(digest "$service")"
fact fencer "$(digest "$fencer")"
for w in /sys/class/watchdog/watchdog*; do [ -e "$w/nowayout" ] && fact watchdog "/dev/$(basename "$w") $(cat "$w/nowayout") $(cat "$w/identity" 2>/dev/null)"; done
if [ -d /run/systemd/system ]; then fact systemd yes; systemctl is-active --quiet hcd.service && fact active yes; systemctl is-active --quiet hcd-fencer.service && fact fenceractive yes
else
  if [ -x "$service" ]; then "$service" onestatus >/dev/null 2>&1 && fact active yes; fi
  if [ -x "$fencer" ]; then "$fencer" onestatus >/dev/null 2>&1 && fact fenceractive yes; fi
fi
if [ -r "$paths_state/manifest.json" ]; then fact manifest "$(tr -d '\\n\\t' < "$paths_state/manifest.json")"; fi
exit 0
`;

export async function probeHost(runner: CommandRunner, inputs: Pick<HostInputs, "paths" | "platform">, signal?: AbortSignal): Promise<HostFacts> {
  const { etc, state, run, log, lib, data } = inputs.paths;
  const argv = ["sh", "-c", script, "sh", etc, state, run, log, lib, data, serviceFile(inputs.platform, "hcd"), serviceFile(inputs.platform, "hcd-fencer")];
  return parseProbe(await runOk(runner, argv, { timeoutMs: 30_000, ...(signal === undefined ? {} : { signal }) }));
}
