import { type CommandRunner, runOk } from "../../../daemon/lib/command.js";
import { devicesOf, type ZfsPoolInputs } from "../../schemas/zfs-pool.js";
import { markProperty, type PoolFacts } from "./plan-pool.js";

const quickMs = 60_000;
/** One fact a line: kind, tab, value. $1 = pool, the rest = wanted files. */
const script = `
pool=$1; shift
if zpool list -H -o name "$pool" >/dev/null 2>&1; then
  printf 'exists\\tyes\\n'
  { zpool status -P "$pool" 2>/dev/null || zpool status "$pool"; } | awk '/^config:/{on=1;next} /^errors:/{on=0} on && $1!="" && $1!="NAME"{print "device\\t" $1}'
  zfs get -Hp -r -t filesystem -o name,property,value ${markProperty},hybridcluster:unit "$pool" | awk -F'\\t' '{print "dataset\\t" $0}'
else
  dirs=; for f in "$@"; do dirs="$dirs -d $(dirname "$f")"; done
  zpool import $dirs 2>/dev/null | awk -v p="$pool" '$1=="pool:" && $2==p{print "importable\\tyes"}'
fi
for f in "$@"; do [ -e "$f" ] && printf 'file\\t%s\\n' "$f"; done
{ [ -d /usr/share/zfs/compatibility.d ] || [ -d /usr/local/share/zfs/compatibility.d ]; } && printf 'compatibility\\tyes\\n'
exit 0
`;

/** Pure reader of the script's output. */
export function parsePool(text: string, pool: string): PoolFacts {
  const facts: PoolFacts = { exists: false, importable: false, devices: [], datasets: [], compatibilityKnown: false, files: [] };
  const datasets = new Map<string, { name: string; mark: string; unit: boolean }>();
  const groups = /^(mirror|raidz[123]?|spare|replacing|log|logs|cache|special|dedup)(-[0-9]+)?$/;
  for (const line of text.split("\n")) {
    const [kind, first = "", second = "", third = ""] = line.split("\t");
    if (kind === "exists") facts.exists = true;
    else if (kind === "importable") facts.importable = true;
    else if (kind === "compatibility") facts.compatibilityKnown = true;
    else if (kind === "file") facts.files.push(first);
    else if (kind === "device" && first !== pool && !groups.test(first)) facts.devices.push(first);
    else if (kind === "dataset") {
      const entry = datasets.get(first) ?? { name: first, mark: "", unit: false };
      datasets.set(first, entry);
      if (second === markProperty && third !== "-") entry.mark = third;
      if (second === "hybridcluster:unit" && third !== "-") entry.unit = true;
    }
  }
  facts.datasets = [...datasets.values()];
  return facts;
}

export async function lookAtPool(runner: CommandRunner, inputs: Pick<ZfsPoolInputs, "pool" | "vdevs">): Promise<PoolFacts> {
  const files = inputs.vdevs.flatMap((vdev) => ("file" in vdev ? devicesOf(vdev) : []));
  return parsePool(await runOk(runner, ["sh", "-c", script, "sh", inputs.pool, ...files], { timeoutMs: quickMs }), inputs.pool);
}
