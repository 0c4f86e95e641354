import type { NodeContext, Running } from "./context.js";
import type { CommandRunner } from "./lib/command.js";
import type { Logger } from "./lib/log.js";
import type { ClusterConfig, HostConfig } from "./lib/node-config.js";
import type { Platform } from "./platform/platform.js";
import type { Replication } from "./replication/replication.js";
import type { ClusterState } from "./state/cluster-state.js";
import type { SiteServices } from "./services/site-services.js";
import type { Zfs } from "./zfs/zfs.js";

export interface NodeParts { platform: Platform; zfs: Zfs; services: SiteServices }
export interface Sampled { metrics(): { name: string; labels: Readonly<Record<string, string>>; value: number }[] }
/** What the control process needs of the agent. */
export interface AgentPart extends Running, Sampled {
  /** Number of rounds (observe, plan, dispatch) that ended well since the start. */
  rounds(): number;
  /** UTC ms at which what it has published of this node's units was last as it really is; 0 = never yet. */
  publishedAtMs?(): number;
  /** What a person should know of the services that all units here share; "" when all is well. */
  problem?(): string;
  /** "<template>@<version>" → guid of the templates that lie here, as it last saw them; undefined: it has not looked yet. */
  templates?(): ReadonlyMap<string, string> | undefined;
}

/** `move` begins a move of a unit at home here, or passes it on to its home; the operation's id. */
export interface MigrationPart extends Running, Sampled { move(unit: string, to: string, reason: string, maxHoldMs?: number): Promise<string> }
export type IsAlive = (state: ClusterState, node: string) => boolean;

/** What the control process is put together from; main takes the real ones, tests take fakes. `A` is their agent. */
export interface Parts<A extends AgentPart = AgentPart> {
  create(host: HostConfig, cluster: ClusterConfig, runner: CommandRunner, log: Logger): NodeParts;
  startReplication(context: NodeContext): Promise<Replication>;
  startAgent(context: NodeContext, replication: Replication, isAlive: IsAlive): Promise<A>;
  startMigration(context: NodeContext, replication: Replication, agent: A, isAlive: IsAlive): Promise<MigrationPart>;
  startVault(context: NodeContext, replication: Replication, agent: A): Promise<Running & Sampled>;
  startProxy(context: NodeContext): Promise<Running & Sampled>;
}
