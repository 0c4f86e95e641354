import { type CommandRunner, runOk } from "../../../daemon/lib/command.js";
import type { HostInputs } from "../../schemas/host.js";
import { type HostFacts, parseProbe } from "./parse-probe.js";

/** Asks a machine everything that the plan needs, in one command; changes nothing. Output: one fact a line, tab between key and value. */
const script = `
fact() { printf '%s\\t%s\\n' "$1" "$2"; }
paths_etc=$1 paths_state=$2 paths_lib=$3 paths_data=$4
fact kernel "$(uname -s)"
fact machine "$(uname -m)"
[ -r /etc/os-release ] && . /etc/os-release && fact os "$ID $VERSION_ID"
if command -v dpkg-query >/dev/null 2>&1; then
  for p in $(dpkg-query -W -f '\${db:Status-Abbrev}\${Package}\\n' 2>/dev/null | sed -n 's/^ii \\{0,1\\}//p'); do fact package "$p"; done
elif command -v pkg >/dev/null 2>&1; then for p in $(pkg query %n 2>/dev/null); do fact package "$p"; done; fi
if command -v ss >/dev/null 2>&1; then ss -Hltnp 2>/dev/null | while read -r _ _ _ l _ o; do fact listen "\${l##*:} $(printf '%s' "$o" | sed -n 's/.*(("\\([^"]*\\)".*/\\1/p')"; done
elif command -v sockstat >/dev/null 2>&1; then sockstat -46lP tcp 2>/dev/null | tail -n +2 | while read -r _ c _ _ _ l _; do fact listen "\${l##*:} $c"; done; fi
for u in _hcproxy _hcetcd _hcweb; do id "$u" >/dev/null 2>&1 && fact user "$u"; done
for k in etc state lib data; do eval "p=\\$paths_$k"; [ -e "$p" ] && { [ -n "$(ls -A "$p" 2>/dev/null)" ] && fact path "$k full" || fact path "$k empty"; }; done
command -v zpool >/dev/null 2>&1 && fact zfs yes
[ -x "$paths_lib/node" ] && fact node "$("$paths_lib/node" -v 2>/dev/null)"
[ -x /usr/local/bin/node ] && fact othernode "$(/usr/local/bin/node -v 2>/dev/null)"
[ -L "$paths_lib/current" ] && fact current "$(basename "$(readlink "$paths_lib/current")")"
[ -d /run/systemd/system ] && fact systemd yes
if [ -r "$paths_state/manifest.json" ]; then fact manifest "$(tr -d '\\n\\t' < "$paths_state/manifest.json")"; fi
exit 0
`;

export async function probeHost(runner: CommandRunner, inputs: Pick<HostInputs, "paths">, signal?: AbortSignal): Promise<HostFacts> {
  const { etc, state, lib, data } = inputs.paths;
  return parseProbe(await runOk(runner, ["sh", "-c", script, "sh", etc, state, lib, data], { timeoutMs: 30_000, ...(signal === undefined ? {} : { signal }) }));
}
