/**
 * What the trampolines in state call: `import("hybridcluster/providers").then((m) => m.site.create(…))`. These keys are frozen: state written by any
 * older version calls them. Never rename one; keep old ones exported.
 */
import { adapt, type ProviderEntry } from "./core/adapter.js";
import { alertsHandler } from "./handlers/alerts.js";
import { certificateHandler } from "./handlers/certificate.js";
import { clusterHandler } from "./handlers/cluster.js";
import { customerHandler } from "./handlers/customer.js";
import { hostHandler } from "./handlers/host.js";
import { localEntryHandler } from "./handlers/local-entry.js";
import { localHostHandler } from "./handlers/local-host.js";
import { siteHandler } from "./handlers/site.js";
import { templateHandler } from "./handlers/template.js";
import { zfsPoolHandler } from "./handlers/zfs-pool.js";

export const localHost: ProviderEntry = adapt(localHostHandler);
export const localEntry: ProviderEntry = adapt(localEntryHandler);
export const host: ProviderEntry = adapt(hostHandler);
export const zfsPool: ProviderEntry = adapt(zfsPoolHandler);
export const cluster: ProviderEntry = adapt(clusterHandler);
export const template: ProviderEntry = adapt(templateHandler);
export const customer: ProviderEntry = adapt(customerHandler);
export const site: ProviderEntry = adapt(siteHandler);
export const alerts: ProviderEntry = adapt(alertsHandler);
export const certificate: ProviderEntry = adapt(certificateHandler);
