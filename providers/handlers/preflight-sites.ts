import { siteUnit } from "../../daemon/lib/documents.js";
import { holdsUnknown } from "../../daemon/lib/schema.js";
import { formatSize, parseSize } from "../../daemon/lib/sizes.js";
import type { Status } from "../../daemon/lib/status.js";
import type { SiteInputs } from "../schemas/site.js";

/** A Site that the plan creates or changes. */
export interface PlannedSite { resource: string; op: "create" | "update" | "replace"; inputs: SiteInputs }
export interface PreflightFailure { resource: string; property: string; reason: string }

/** Pure: what the cluster says of its units now → what the plan cannot do. Quotas below what is used; host names and names that somebody else has. */
export function preflightSites(sites: readonly PlannedSite[], status: Pick<Status, "units">): PreflightFailure[] {
  const units = new Map(status.units.map((unit) => [unit.id, unit]));
  const owners = new Map(status.units.flatMap((unit) => unit.hostnames.map((name) => [name, unit] as const)));
  const planned = new Set(sites.map((site) => siteUnit(site.inputs.name)));
  return sites.flatMap(({ resource, op, inputs }) => {
    const id = siteUnit(inputs.name);
    const unit = units.get(id);
    const failures: PreflightFailure[] = [];
    if (op === "update" && unit !== undefined && !holdsUnknown(inputs.quota) && parseSize(inputs.quota, "quota") < BigInt(unit.usedBytes))
      failures.push({ resource, property: "quota", reason: `${inputs.quota} is below the ${formatSize(unit.usedBytes)} that ${id} uses; give at least that, or make room first` });
    if (op === "create" && unit?.origin === "api" && !inputs.adopt) failures.push({ resource, property: "name", reason: `${id} exists and was made through the API; say adopt: true to take it over` });
    for (const name of inputs.hostnames) {
      const owner = owners.get(name);
      if (owner !== undefined && owner.id !== id && !planned.has(owner.id)) failures.push({ resource, property: "hostnames", reason: `${name} belongs to ${owner.id} already` });
    }
    return failures;
  });
}
