import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import type { Replication } from "../replication/replication.js";
import type { ClusterState } from "../state/cluster-state.js";
import { type Agent, AgentLoop } from "./agent.js";
import { emptyFolder, populateFolder } from "./content.js";
import type { BuildTemplate } from "./tools.js";
import { reachableFrom } from "./reachable.js";
import { registerTrashRoutes } from "./trash-routes.js";

export type { Agent } from "./agent.js";
export interface AgentOptions {
  replication: Replication;
  /** daemon/services/recipes.ts */
  buildTemplate: BuildTemplate;
  /** Whether a node lives, by the membership's judgement; default: reachable.ts. */
  isAlive?: (state: ClusterState, node: string) => boolean;
}
const idleAgent: Agent = { rounds: () => 1, wake: () => undefined, last: () => undefined, untilRound: () => Promise.reject(new HcError("UNSUPPORTED", "A witness holds no units.")), isBusy: () => false, failures: () => new Map(), metrics: () => [], stop: () => Promise.resolve() };

/** Starts the loop of this node and registers the trash's API routes. A witness (no dataset) only gets the routes. */
export async function startAgent(context: NodeContext, options: AgentOptions): Promise<Agent> {
  registerTrashRoutes(context, options.isAlive ?? reachableFrom(context.cluster.node));
  if (context.cluster.dataset === "") return idleAgent;
  return new AgentLoop(context, {
    replication: options.replication,
    buildTemplate: options.buildTemplate,
    populate: (request, signal) => populateFolder(context, request, signal),
    emptyFolder,
  });
}
