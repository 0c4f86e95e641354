import type { NodeContext } from "../context.js";
import { heldTemplates } from "../replication/held-templates.js";
import type { ObservedNode } from "../lib/records.js";
import type { EtcdHealth } from "./etcd-health.js";
import type { Links } from "./links.js";
import { type NodeFacts, readPool } from "./observed-node.js";

/** The templates on the disk are read this often, ms; sooner when a record of one changed. */
const templatesMs = 15_000;
/** The sizes of the pool are asked this often, and its health, ms: a command each, whatever the node does. That a disk does not take writes is seen much sooner (disk-probe.ts). */
const poolMs = 10_000;
const poolHealthMs = 30_000;

/** Where the facts of `NodePublisher` come from. */
export function nodeFacts(context: NodeContext, parts: { health: EtcdHealth; links: Links; problems(): string[]; watchdog(): ObservedNode["watchdog"]; unitsAtMs(): number }): NodeFacts {
  const { cluster, runner, platform, zfs, session, clock, view } = context;
  let templates: Record<string, string> = {};
  let readAtMs = Number.NEGATIVE_INFINITY;
  let readFor: unknown;
  let pool: ObservedNode["pool"] = null;
  let [poolAtMs, healthAtMs] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  return {
    pool: async () => {
      const nowMs = clock.monotonicMs();
      if (pool !== null && nowMs - poolAtMs < poolMs) return pool;
      const known = nowMs - healthAtMs < poolHealthMs ? pool?.health : undefined;
      pool = await readPool(runner, cluster.dataset, known);
      poolAtMs = nowMs;
      if (known === undefined) healthAtMs = nowMs;
      return pool;
    },
    memory: () => platform.memory(),
    etcd: async () => {
      const { role, healthy, fsyncMs } = parts.health.last();
      return { role, healthy, fsyncMs };
    },
    templates: async () => {
      if (cluster.dataset === "") return {};
      const records = view.current().templates;
      if (records !== readFor || clock.monotonicMs() - readAtMs > templatesMs) {
        templates = await heldTemplates(zfs, cluster.dataset);
        readFor = records;
        readAtMs = clock.monotonicMs();
      }
      return templates;
    },
    links: () => parts.links.current(),
    generation: () => session.generation,
    problems: () => parts.problems(),
    watchdog: () => parts.watchdog(),
    unitsAtMs: () => parts.unitsAtMs(),
  };
}
