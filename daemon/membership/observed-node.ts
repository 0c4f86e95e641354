import { loadavg } from "node:os";
import { type Clock, sleepUntilTick } from "../lib/clock.js";
import type { CommandRunner } from "../lib/command.js";
import type { Logger } from "../lib/log.js";
import { keys, type ObservedNode, recordVersion } from "../lib/records.js";
import type { Store } from "../state/store.js";

export interface NodeFacts {
  pool(): Promise<ObservedNode["pool"]>;
  memory(): Promise<ObservedNode["memory"]>;
  etcd(): Promise<ObservedNode["etcd"]>;
  templates(): Promise<Record<string, string>>;
  links(): Record<string, number>;
  generation(): number;
  problems(): string[];
  watchdog?(): ObservedNode["watchdog"];
  /** UTC ms, see ObservedNode. */
  unitsAtMs(): number;
}

const lookMs = 2000;
/** Without a meaningful change the record is written this often all the same, so that its age says something. */
const refreshMs = 5_000;

/** Publishes what this node is like: changed parts only, at most every 2 s. */
export class NodePublisher {
  private published: ObservedNode | undefined;
  private publishedMs = Number.NEGATIVE_INFINITY;
  private nudged: (() => void) | undefined;
  private token: unknown;

  public constructor(private readonly options: { node: string; store: Store; clock: Clock; log: Logger; facts: NodeFacts }) {}

  public async look(): Promise<ObservedNode> {
    const { facts, node, clock, log } = this.options;
    const watchdog = facts.watchdog?.();
    const failed: string[] = [];
    const take = async <T>(what: string, act: () => Promise<T>, fallback: T): Promise<T> => {
      try {
        return await act();
      } catch (error) {
        log.debug({ err: error, what }, "a fact about this node could not be read");
        failed.push(`${what} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
        return fallback;
      }
    };
    return {
      version: recordVersion,
      node,
      generation: facts.generation(),
      atMs: clock.wallMs(),
      unitsAtMs: facts.unitsAtMs(),
      pool: await take("the pool", () => facts.pool(), null),
      memory: await take("memory", () => facts.memory(), { totalBytes: 0, availableBytes: 0 }),
      load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
      etcd: await take("etcd", () => facts.etcd(), { role: "client", healthy: false, fsyncMs: null }),
      templates: await take("templates", () => facts.templates(), this.published?.templates ?? {}),
      links: facts.links(),
      problems: [...facts.problems(), ...failed].slice(0, 20),
      ...(watchdog === undefined ? {} : { watchdog }),
    };
  }

  /** Looks, and publishes when something meaningful changed. True when it was published. */
  public async step(): Promise<boolean> {
    const { store, clock, node } = this.options;
    const now = await this.look();
    if (this.published !== undefined && sameNode(this.published, now) && clock.monotonicMs() - this.publishedMs < refreshMs) return false;
    await store.txn([], [{ put: keys.observedNode(node), value: JSON.stringify(now) }]);
    this.published = now;
    this.publishedMs = clock.monotonicMs();
    return true;
  }

  /** Looks again at once when `token` is another one than last time (the map of templates was replaced: one was built). */
  public nudgeWhen(token: unknown): void {
    if (token === this.token) return;
    this.token = token;
    this.nudged?.();
  }

  public async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.step().catch((error: unknown) => this.options.log.debug({ err: error }, "the node's record could not be published"));
      const wake = new AbortController();
      this.nudged = () => wake.abort();
      await sleepUntilTick(this.options.clock, lookMs, AbortSignal.any([signal, wake.signal]));
    }
  }
}

/** Pure: do these say the same to a planner and to a person? Free space to 2 % of the pool, memory to 10 %, load to 1, links by name, fsync to a factor of two. */
export function sameNode(a: ObservedNode, b: ObservedNode): boolean {
  return JSON.stringify(coarse(a, a)) === JSON.stringify(coarse(b, a));
}

function coarse(value: ObservedNode, base: ObservedNode): object {
  const near = (one: number, other: number, within: number): number => (Math.abs(one - other) <= within ? other : one);
  const size = Number(base.pool?.sizeBytes ?? 0);
  const fsync = value.etcd.fsyncMs;
  const fsyncBase = base.etcd.fsyncMs;
  return {
    generation: value.generation,
    pool: value.pool === null ? null : { ...value.pool, sizeBytes: near(Number(value.pool.sizeBytes), size, size * 0.02), freeBytes: near(Number(value.pool.freeBytes), Number(base.pool?.freeBytes ?? 0), size * 0.02) },
    memory: [value.memory.totalBytes, near(value.memory.availableBytes, base.memory.availableBytes, base.memory.totalBytes * 0.1)],
    load: near(value.load, base.load, 1),
    etcd: [value.etcd.role, value.etcd.healthy, fsync !== null && fsyncBase !== null && fsync < fsyncBase * 2 + 1 && fsync > fsyncBase / 2 - 1 ? fsyncBase : fsync],
    templates: Object.entries(value.templates).sort(([x], [y]) => (x < y ? -1 : 1)),
    links: Object.keys(value.links).sort(),
    problems: value.problems,
    watchdog: value.watchdog,
  };
}

/** State of the pool below `dataset` ("" = none): health from zpool(8), sizes as its root dataset sees them, so that raidz counts once; null: it is not there. `health`: what it was a moment ago, and is not asked again; one command then. */
export async function readPool(runner: CommandRunner, dataset: string, health?: string): Promise<ObservedNode["pool"]> {
  const name = dataset.split("/")[0] ?? "";
  if (name === "") return null;
  const ask = async (argv: string[]): Promise<string | undefined> => {
    const { code, stdout } = await runner.run([...argv, name], { timeoutMs: 10_000 });
    return code === 0 ? stdout.trim() : undefined;
  };
  const state = health ?? (await ask(["zpool", "list", "-H", "-o", "health"]));
  const properties = state === undefined ? undefined : await ask(["zfs", "get", "-Hp", "-o", "property,value", "used,available,guid"]);
  if (state === undefined || properties === undefined) return null;
  const values = new Map(properties.split("\n").map((line) => line.split("\t") as [string, string]));
  const bytes = (property: string): bigint => BigInt(/^\d+$/.test(values.get(property) ?? "") ? (values.get(property) as string) : "0");
  const free = bytes("available");
  return { name, dataset, guid: values.get("guid") ?? "", health: state, sizeBytes: (bytes("used") + free).toString(), freeBytes: free.toString() };
}
