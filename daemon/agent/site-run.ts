import type { DesiredDocument } from "../lib/documents.js";
import type { CustomerRecord, UnitRecord } from "../lib/records.js";
import type { SiteRun } from "../services/site-services.js";

/** Everything that the services need of a site. Pure; property order is fixed, so that equal runs have equal text. */
export function siteRun(node: string, data: string, record: UnitRecord, document: DesiredDocument<"site">, customer: CustomerRecord): SiteRun {
  const { hostnames, limits, php, ready, tls } = document.spec;
  return {
    unit: record.unit,
    name: record.name,
    root: `${data}/${record.unit}`,
    user: customer.user,
    uid: customer.uid,
    gid: customer.gid,
    hostnames: [...hostnames].sort(),
    limits: { memory: limits.memory, cpu: limits.cpu, tasks: limits.tasks },
    php: Object.fromEntries(Object.entries(php).sort(([a], [b]) => (a < b ? -1 : 1))),
    ready: { path: ready.path, status: ready.status },
    node,
    epoch: record.epoch,
    ...(tls === undefined ? {} : { secured: true }),
  };
}
/** What a container is started with: all of it. */
export const siteText = (site: SiteRun): string => JSON.stringify(site);
/** What is configured ahead of time: all but the epoch, so that a change of home needs no reload of a shared service. The start itself brings the epoch. */
export const serviceText = ({ epoch: _epoch, ...site }: SiteRun): string => JSON.stringify(site);
export const servicesText = (sites: readonly SiteRun[]): string => `[${sites.map(serviceText).join(",")}]`;
