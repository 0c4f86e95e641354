import type { NodeContext } from "../context.js";
import { heldTemplates } from "../replication/held-templates.js";
import type { ObservedNode } from "../lib/records.js";
import type { EtcdHealth } from "./etcd-health.js";
import type { Links } from "./links.js";
import { type NodeFacts, readPool } from "./observed-node.js";

/** Until there is an agent, which sees them anyway, the templates on the disk are read this often, ms; sooner when a record of one changed. */
const templatesMs = 15_000;
/** The sizes of the pool are asked this often, and its health, ms: a command each, whatever the node does. That a disk does not take writes is seen much sooner (disk-probe.ts). */
const poolMs = 10_000;
const poolHealthMs = 30_000;
/** A pool whose free space hardly changed between two looks, and which is far from full, is looked at with its health only. Parts of the whole. */
const stillShare = 0.005;
const roomyShare = 0.2;
/** A pool with less room than this is known to be full. A part of the whole. */
const fullShare = 0.05;

/** A refusal that the pool does not explain (somebody's quota) does not have it looked at more often, ms. */
const surprisedMs = 5_000;

/** Pure: may the next look at this pool wait? `before`: what the look before that showed. */
export function poolRests(pool: NonNullable<ObservedNode["pool"]>, before: ObservedNode["pool"]): boolean {
  const [size, free] = [Number(pool.sizeBytes), Number(pool.freeBytes)];
  return before !== null && free > roomyShare * size && Math.abs(free - Number(before.freeBytes)) < stillShare * size;
}

/** Pure: a command was refused for want of room. Does what is known of the pool explain it? */
export const explainsRefusal = (pool: NonNullable<ObservedNode["pool"]>): boolean => Number(pool.freeBytes) < fullShare * Number(pool.sizeBytes);

/** Where the facts of `NodePublisher` come from. */
export function nodeFacts(context: NodeContext, parts: { health: EtcdHealth; links: Links; problems(): string[]; watchdog(): ObservedNode["watchdog"]; unitsAtMs(): number; templates(): ReadonlyMap<string, string> | undefined }): NodeFacts {
  const { cluster, runner, platform, zfs, session, clock, view } = context;
  let templates: Record<string, string> = {};
  let readAtMs = Number.NEGATIVE_INFINITY;
  let readFor: unknown;
  let pool: ObservedNode["pool"] = null;
  let [poolAtMs, healthAtMs] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let rests = false;
  let refusals = 0;
  return {
    pool: async () => {
      const nowMs = clock.monotonicMs();
      const refused = context.changes?.refusals ?? 0;
      const surprised = refused !== refusals && pool !== null && !explainsRefusal(pool) && nowMs - poolAtMs >= surprisedMs;
      if (pool !== null && !surprised && nowMs - poolAtMs < (rests ? poolHealthMs : poolMs)) return pool;
      refusals = refused;
      const known = nowMs - healthAtMs < poolHealthMs ? pool?.health : undefined;
      const before = pool;
      pool = await readPool(runner, cluster.dataset, known);
      rests = pool !== null && poolRests(pool, before);
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
      const seen = parts.templates();
      if (seen !== undefined) return Object.fromEntries(seen);
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
