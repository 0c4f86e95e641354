import type { NodeContext } from "../context.js";
import type { CommandRunner } from "../lib/command.js";
import type { Logger } from "../lib/log.js";
import type { Replication } from "../replication/replication.js";
import type { AgentMemory } from "./memory.js";

/** Runs a recipe of templates/recipes in `root`, an empty or an earlier version's folder (daemon/services/recipes.ts). */
export type BuildTemplate = (options: { recipe: string; version: string; settings: Record<string, string>; root: string; runner: CommandRunner; log: Logger; signal: AbortSignal }) => Promise<unknown>;

/** The initial content of a unit, put under `root` and owned by its user. */
export interface ContentRequest { root: string; sha256: string; uid: number; gid: number }

/** What executors are given. File system acts come in as functions, so that the simulation can do them on its fake ZFS. */
export interface AgentTools {
  context: NodeContext;
  replication: Replication;
  memory: AgentMemory;
  buildTemplate: BuildTemplate;
  populate(request: ContentRequest, signal: AbortSignal): Promise<void>;
  /** Removes everything in a folder, not the folder. */
  emptyFolder(path: string): Promise<void>;
}

/** The unit does not serve, or is about to stop: its gate closes, and only a new check opens it. Settles when the proxy's workers were told; never rejects. */
export function closeGate({ context, memory }: Pick<AgentTools, "context" | "memory">, unit: string): Promise<void> {
  memory.checked.delete(unit);
  return context.gates.stops(unit);
}
