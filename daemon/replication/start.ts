import type { NodeContext } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { restoreOf, type UnitRecord } from "../lib/records.js";
import { keptNames } from "../vault/kept.js";
import { isRecovering } from "../state/cluster-state.js";
import { Driver } from "./driver.js";
import { HoldBook } from "./hold-book.js";
import { InUse } from "./in-use.js";
import { zfsFailure } from "../zfs/errors.js";
import { LagBook, noRoom } from "./lag.js";
import { Counters } from "./metrics.js";
import type { Retention } from "./plan-prune.js";
import { retentionOf } from "./retention.js";
import { Pruner } from "./prune.js";
import { RateLimit } from "./rate-limit.js";
import { Receiver } from "./receiver.js";
import type { MetricSample, Replication } from "./replication.js";
import { rpoOf } from "./rpo.js";
import { Sender } from "./sender.js";
import { mayRecord, Snapshotter } from "./snapshotter.js";
import { stashRoutes } from "./stash-routes.js";
import { TemplatePuller } from "./template-puller.js";
import { TemplateSource } from "./template-source.js";

export interface ReplicationOptions {
  /** All streams of this node together; 0 = no limit. */
  rateBytesPerS?: number;
  retention?: Retention;
  /** Sends at once (default 4). */
  maxConcurrentSends?: number;
  /** Between two looks at what was written, ms (default 1000, the floor between two snapshots of a unit; a unit's rpoS may set them further apart). */
  lookMs?: number;
  pruneMs?: number;
  templateMs?: number;
  /** Holds that may go are let go of together, ms (default 5000). */
  releaseMs?: number;
  /** A pair that is up to date is compared again this often, ms (default 300 000): a replica may have lost its copy. */
  verifyMs?: number;
}

/** Longest time for which a unit that was moved here is left alone before it serves, ms. */
const arrivalMs = 5_000;

/** Starts replication on this node and registers its peer routes. On a witness (no dataset) it does nothing. */
export async function startReplication(context: NodeContext, options: ReplicationOptions = {}): Promise<Replication> {
  const { clock, log } = context;
  const stopping = new AbortController();
  const signal = AbortSignal.any([context.signal, stopping.signal]);
  const me = context.host.node;
  const counters = new Counters();
  const lag = new LagBook(() => clock.monotonicMs());
  const inUse = new InUse();
  const rate = new RateLimit(options.rateBytesPerS ?? 0, clock);
  const holds = new HoldBook(context.zfs, log);
  const sender = new Sender(context, { lag, counters, rate, inUse, holds });
  const puller = new TemplatePuller(context, counters);
  const source = new TemplateSource(context, rate);
  const receiver = new Receiver(context, { counters, holds, wantTemplate: (name, version, from) => puller.want(name, version, from) });

  const driver = new Driver({
    async attempt(unit, node, attemptSignal) {
      if (isRecovering(context.view.current())) throw new HcError("NOT_READY", "The cluster recovers: nothing is sent.");
      await sender.send(unit, node, attemptSignal);
    },
    onFailure(unit, node, error, failures) {
      // the pool of whichever side zfs said it on
      const full = zfsFailure(error) === "space";
      const where = (error as { context?: { node?: unknown } }).context?.node === node ? node : me;
      lag.failed(unit, node, full ? noRoom(unit, where, where === node ? "for what is new" : "to send from") : messageOf(error), full);
      counters.add("hc_replication_failures_total", { peer: node, code: errorCode(error) ?? "INTERNAL" });
      if (failures === 1 || failures % 20 === 0) log.warn({ unit, peer: node, failures, err: error }, "replication attempt failed");
      if (failures === 1 && full) context.event(unit, "replication-paused", noRoom(unit, where, `for the copy on ${node}`));
      if (failures === 1 && errorCode(error) === "DIVERGED") context.event(unit, "diverged", messageOf(error));
    },
    clock,
    backoff: { firstMs: 500, capMs: 10_000 },
    signal,
    ...(options.maxConcurrentSends === undefined ? {} : { maxConcurrent: options.maxConcurrentSends }),
  });

  /** A record whose unit may become a snapshot of its epoch; one that is being deleted is on its way to the trash, and nobody mounts it any more. Throws NOT_HOME, NOT_READY. */
  function takenRecord(unit: string): UnitRecord {
    const record = sender.ownRecord(unit);
    if (record.state === "deleting" || mayRecord(record, context.session)) return record;
    throw new HcError("NOT_READY", `${unit} was given to ${me} just now, which has not taken it over yet: no snapshot of epoch ${record.epoch} can be made before.`);
  }
  const homes = (): UnitRecord[] => [...context.view.current().units.values()].map(({ value }) => value).filter((record) => record.home === me && record.state === "live");
  const snapshotter = new Snapshotter(context, {
    lag,
    counters,
    isPaused: (unit) => driver.isPaused(unit),
    rpo: () => rpoOf(context.view.current()),
    record: (unit) => context.view.current().units.get(unit)?.value,
    made(unit) {
      const record = context.view.current().units.get(unit)?.value;
      if (record?.state === "live") for (const node of record.replicas) if (node !== me) driver.want(unit, node);
    },
    failed(unit, error) {
      const full = zfsFailure(error) === "space";
      const text = full ? noRoom(unit, me, "for a snapshot") : `no snapshot could be made: ${messageOf(error)}`;
      if (!lag.stalled(unit, text, full)) return; // told once, not each second
      log.warn({ unit, err: error }, "snapshot failed");
      if (full) context.event(unit, "replication-paused", text);
    },
  });
  /** Session generations of other nodes as seen at the last look: one that is back is tried at once, whatever pause its failures had earned. */
  const generations = new Map<string, number>();
  function back(): Set<string> {
    const returned = new Set<string>();
    for (const [node, { value }] of context.view.current().sessions) {
      if (generations.has(node) && generations.get(node) !== value.generation) returned.add(node);
      generations.set(node, value.generation);
    }
    return returned;
  }
  /** unit → epoch that came here by a move, and when that was first seen, monotonic ms. */
  const arrivals = new Map<string, { epoch: number; sinceMs: number }>();
  /** Requests wait for this unit, which has just been moved here: its disk is left to its start. Nothing is written to it before it serves, and its former home has all that it holds. */
  function arrives({ unit, epoch, handed }: UnitRecord): boolean {
    if (handed?.epoch !== epoch || context.gates.serving.get(unit) === epoch) return false;
    const nowMs = clock.monotonicMs();
    const known = arrivals.get(unit);
    if (known?.epoch === epoch) return nowMs - known.sinceMs < arrivalMs;
    arrivals.set(unit, { epoch, sinceMs: nowMs });
    return true;
  }
  /** Pairs follow the records: new ones are compared at once. */
  function reconcile(): void {
    const returned = back();
    const here = homes();
    for (const unit of arrivals.keys()) if (context.view.current().units.get(unit)?.value.home !== me) arrivals.delete(unit);
    const pairs = new Map(here.map((record) => [record.unit, record.replicas.filter((node) => node !== me)]));
    driver.retain((unit, node) => pairs.get(unit)?.includes(node) ?? false);
    lag.retain(pairs);
    sender.retain((unit, node) => {
      const record = context.view.current().units.get(unit)?.value;
      return record?.home === me && (record.replicas.includes(node) || record.move?.target === node);
    });
    for (const record of here) {
      if (arrives(record)) continue;
      for (const node of pairs.get(record.unit) ?? []) if (returned.has(node) || !driver.has(record.unit, node)) driver.want(record.unit, node, { now: true });
    }
  }
  let tidying = false;
  /** One after the other: a node alone has many of them after its start. */
  async function tidyLonely(): Promise<void> {
    if (tidying) return;
    tidying = true;
    try {
      for (const record of homes()) if (record.move === undefined && record.replicas.every((node) => node === me) && !arrives(record) && !signal.aborted) await sender.tidyAlone(record);
    } finally {
      tidying = false;
    }
  }
  function verify(): void {
    for (const record of homes()) for (const node of record.replicas) if (node !== me) driver.want(record.unit, node);
  }
  const pruner = new Pruner(context, {
    counters,
    inUse,
    retention: (unit) => options.retention ?? retentionOf(context.view.current(), unit),
    keep(unit, atMs) {
      if (driver.isPaused(unit) || receiver.isReceiving(unit)) return undefined;
      return new Set([...lag.confirmedSnapshots(unit), ...keptNames(context.view.current().units.get(unit)?.value, atMs)]);
    },
  });

  /**
   * Longest rest after a round that took long, ms: what is written is in a snapshot well within the 10 s that are promised. A round on a busy node takes one or two seconds, most of it waiting for a transaction group;
   * with twice this rest (measured at 50 sites and a full machine) copies were 8 to 16 s behind at p99 instead of 7, and the commands cost the same.
   */
  const restMs = 2_000;
  /** Repeats `act` with `ms` between the beginnings; what takes long is done more seldom: at most a fifth of the time, as far as `restMs` allows. Its errors are logged and do not end it. */
  function every(ms: number, what: string, act: () => Promise<void> | void): Promise<void> {
    return (async () => {
      while (!signal.aborted) {
        const beganMs = clock.monotonicMs();
        try {
          await act();
        } catch (error) {
          if (!signal.aborted && errorCode(error) !== "NOT_READY") log.warn({ err: error, what }, "replication round failed");
        }
        try {
          const tookMs = clock.monotonicMs() - beganMs;
          await clock.sleep(Math.max(Math.min(4 * tookMs, restMs), ms - tookMs), signal);
        } catch {
          return;
        }
      }
    })();
  }

  const loops: Promise<void>[] = [];
  if (context.cluster.dataset !== "") {
    await receiver.recover();
    context.peerRoutes.route("PUT", "/peer/v1/streams/:unit", (request) => receiver.receive(unitOf(request), request));
    stashRoutes(context);
    context.peerRoutes.route("POST", "/peer/v1/units/:unit/seal", async (request) => receiver.seal(unitOf(request), await request.json()));
    context.peerRoutes.route("POST", "/peer/v1/promises", async (request) => receiver.promises.answer(await request.json(), request.from));
    context.peerRoutes.route("POST", "/peer/v1/units/:unit/stash", async (request) => receiver.stash(unitOf(request), await request.json(), request.from));
    context.peerRoutes.route("POST", "/peer/v1/units/:unit/abandon", async (request) => receiver.abandon(unitOf(request), await request.json(), request.from));
    context.peerRoutes.route("GET", "/peer/v1/units/:unit/snapshots", (request) => receiver.snapshots(unitOf(request), request.query, request.from));
    context.peerRoutes.route("GET", "/peer/v1/templates/:name/:version", async (request, response) => {
      await source.serve(request.params["name"] ?? "", request.params["version"] ?? "", request.query.get("have") ?? "", response);
      return undefined;
    });
    let verifiedMs = clock.monotonicMs();
    loops.push(
      every(options.lookMs ?? 1_000, "snapshots", async () => {
        if (!context.session.isLive() && context.session.held().size === 0) return;
        reconcile();
        void tidyLonely();
        // while a unit is made what it was (daemon/vault), what is written is neither the customer's nor whole: no snapshot of it, and no lag
        await snapshotter.roundIfDue(homes().filter((record) => (restoreOf(record)?.before ?? "") === "" && !arrives(record)), options.lookMs ?? 1_000, (node) => context.view.current().sessions.get(node)?.value.dead !== true);
        if (clock.monotonicMs() - verifiedMs > (options.verifyMs ?? 300_000)) {
          verifiedMs = clock.monotonicMs();
          verify();
        }
      }),
      every(options.releaseMs ?? 5_000, "holds", () => holds.flush()),
      every(options.templateMs ?? 1_000, "templates", () => puller.round(signal)),
      every(options.pruneMs ?? 60_000, "prune", async () => {
        await receiver.sweep();
        await pruner.round(signal);
      }),
    );
  }

  return {
    report: () => lag.report(),
    writtenBytes: (unit) => snapshotter.writtenBytes(unit),
    snapshotNow: async (unit) => snapshotter.now(takenRecord(unit)),
    snapshotMade: async (unit) => snapshotter.make(takenRecord(unit)),
    snapshotName: (unit) => snapshotter.nameFor(sender.ownRecord(unit)),
    async snapshotTogether(wanted) {
      for (const { unit } of wanted) takenRecord(unit);
      await snapshotter.together(wanted);
    },
    sendNow: (unit, node, callSignal) => driver.exclusive(unit, node, () => sender.send(unit, node, AbortSignal.any([signal, callSignal]))),
    async flushAll(unit, callSignal) {
      const record = sender.ownRecord(unit);
      await snapshotter.now(record);
      const outcomes = record.replicas.filter((node) => node !== me).map(async (node) => {
        try {
          await driver.exclusive(unit, node, () => sender.send(unit, node, AbortSignal.any([signal, callSignal])));
          return [node, ""] as const;
        } catch (error) {
          return [node, messageOf(error)] as const;
        }
      });
      return Object.fromEntries(await Promise.all(outcomes));
    },
    async pause(unit) {
      await driver.pause(unit);
      await snapshotter.settled();
    },
    resume(unit) {
      driver.resume(unit);
    },
    sendingTo: (unit) => driver.sendingTo(unit),
    lookedAtMs: () => snapshotter.lookedAtWallMs,
    snapshotsSettled: () => snapshotter.settled(),
    stashTail: (unit, record) => receiver.stashTail(unit, record),
    metrics(): MetricSample[] {
      const lags = [...lag.report()].flatMap(([unit, replicas]) => Object.entries(replicas).flatMap(([node, item]) => [{ name: "hc_replication_lag_seconds", labels: { unit, replica: node }, value: item.lagS }, ...(item.paused === true ? [{ name: "hc_replication_paused", labels: { unit, replica: node }, value: 1 }] : [])]));
      return [...counters.samples(), ...lags, { name: "hc_replication_sends_running", labels: {}, value: driver.runningCount }, { name: "hc_replication_sends_waiting", labels: {}, value: driver.waitingCount }, { name: "hc_replication_releases_waiting", labels: {}, value: holds.waitingCount }];
    },
    async stop() {
      stopping.abort();
      await receiver.stop();
      await driver.idle();
      await Promise.allSettled(loops);
    },
  };
}

/** The unit in the path of a request. Throws INVALID_INPUT for what is no name of one: it becomes part of a dataset's name. */
function unitOf(request: { params: Record<string, string> }): string {
  const unit = request.params["unit"] ?? "";
  if (!/^[a-z][a-z0-9-]{1,40}$/.test(unit)) throw new HcError("INVALID_INPUT", `unit: ${JSON.stringify(unit.slice(0, 60))} is no name of a unit.`);
  return unit;
}
