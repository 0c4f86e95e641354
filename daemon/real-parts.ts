import type { Agent } from "./agent/agent.js";
import { startAgent } from "./agent/start.js";
import { proxyIds } from "./identity/identity.js";
import { HcError } from "./lib/errors.js";
import { startMigration } from "./migration/start.js";
import type { Parts } from "./parts.js";
import { createPlatform } from "./platform/create-platform.js";
import { startProxyControl } from "./proxy/control.js";
import { startReplication } from "./replication/start.js";
import { createSiteServices } from "./services/create-site-services.js";
import { buildTemplate } from "./services/recipes.js";
import { startVault } from "./vault/start.js";
import { createZfs } from "./zfs/create-zfs.js";

/** The mechanisms of a real node. */
export const realParts: Parts<Agent> = {
  create: (host, _cluster, runner, log) => {
    const platform = createPlatform(host.platform, { runner, paths: host.paths, log });
    return { platform, zfs: createZfs(runner), services: createSiteServices({ platform, host, runner, log }) };
  },
  startReplication: (context) => startReplication(context),
  startAgent: (context, replication, isAlive) => startAgent(context, { replication, isAlive, buildTemplate }),
  startMigration: (context, replication, agent, isAlive) => startMigration(context, { replication, agent, isAlive }),
  startVault: (context, replication, agent) => startVault(context, { replication, agent }),
  startProxy: async (context) => {
    const user = await proxyIds(context.runner);
    if (user === undefined) throw new HcError("NOT_FOUND", "The user _hcproxy does not exist on this node; run `hc up`, which prepares hosts.");
    return startProxyControl(context, user);
  },
};
