import type { SiteSpec } from "../lib/documents.js";
import { siteDefaults } from "../lib/documents.js";
import { type ClusterState, desiredOf } from "../state/cluster-state.js";
import type { Retention } from "./plan-prune.js";
import { defaultRetention } from "./plan-prune.js";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** Pure: the grid of a site's document. A property of the document that is missing is the default's. */
export function gridOf(wish: Required<SiteSpec>["retention"] = siteDefaults.retention): Retention {
  return { allMs: wish.minutes * minute, maxRecent: defaultRetention.maxRecent, hourlyMs: wish.hours * hour, dailyMs: wish.days * day, weeklyMs: wish.weeks * 7 * day };
}

/**
 * Pure: how long a node keeps the snapshots of its copy of a unit, home or replica. Undefined when the unit's document is gone (it is on its way to the trash) or was never seen: what a longer wish has kept must not go
 * because the wish is not known.
 */
export function retentionOf(state: ClusterState, unit: string): Retention | undefined {
  const record = state.units.get(unit)?.value;
  const document = record === undefined ? undefined : desiredOf(state, "site", record.name);
  return document === undefined ? undefined : gridOf(document.value.spec.retention);
}
