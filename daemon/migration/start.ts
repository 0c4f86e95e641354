import type { Agent } from "../agent/agent.js";
import { reachableFrom } from "../agent/reachable.js";
import type { NodeContext, PeerRequest } from "../context.js";
import { retry } from "../lib/backoff.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { keys, type MoveState, type UnitRecord } from "../lib/records.js";
import type { MigrationPart } from "../parts.js";
import type { Replication } from "../replication/replication.js";
import { mayRecord } from "../replication/snapshotter.js";
import type { ClusterState } from "../state/cluster-state.js";
import { isFinal, type MoveStateName, nextState } from "./fsm.js";
import { type Found, moveActions } from "./mover.js";
import { makeMoveId, type Operation, OperationBook, operationOf, parseMoveId } from "./operations.js";
import { checkMove } from "./plan-move.js";
import { LastHolds, movePlanRoute } from "./plan-route.js";
import { startMaintenance } from "./maintenance.js";
import { waitsRoute } from "./waits-route.js";

const callMs = 10_000;
/** How long a home that cannot be reached is asked again before a move is refused, ms. */
const homeBackMs = 10_000;
/** Moves at once from one node. */
const maxMoves = 4;
/** Rest of a unit after a failed move, before one that the leader orders again is tried, ms. */
const restMs = 30_000;

export interface MigrationOptions {
  replication: Replication;
  agent: Agent;
  /** Whether a node lives, by the membership's judgement; default: agent/reachable.ts. */
  isAlive?: (state: ClusterState, node: string) => boolean;
}
type Ordered = Pick<MoveState, "id" | "target" | "maxHoldMs">;
export interface Migration extends MigrationPart {
  operation(id: string): Promise<Operation>;
}

/** Moves of units at home on this node, and the undoing of moves that an earlier process of this node has left behind. Registers the API's routes. */
export async function startMigration(context: NodeContext, options: MigrationOptions): Promise<Migration> {
  const node = context.cluster.node;
  const stopping = new AbortController();
  const signal = AbortSignal.any([context.signal, stopping.signal]);
  const isAlive = options.isAlive ?? reachableFrom(node);
  const book = new OperationBook();
  const holds = new LastHolds();
  /** unit → the move that this process drives. */
  const driven = new Map<string, { id: string; ended: Promise<void> }>();

  /** unit → when a move that others ordered may be begun again after a failure, monotonic ms. */
  const restUntil = new Map<string, number>();

  async function drive(unit: string, epoch: number, move: Ordered, from: MoveStateName, why: string): Promise<void> {
    const found: Found = { holdFromMs: 0, lastBytes: 0 };
    const actions = moveActions({ context, ...options, isAlive: (name) => isAlive(context.view.current(), name) }, unit, epoch, move, found);
    let state = from;
    let cause = why;
    let handed = false;
    let heldSinceMs: number | undefined;
    const began = context.clock.monotonicMs();
    const tell = (detail: string): void => book.set({
      id: move.id, kind: "move", unit, state: state === "done" ? "done" : state === "failed" ? "failed" : "running", phase: state, detail, error: state === "failed" ? cause : "",
      ...(state === "done" && found.holdFromMs > 0 ? { numbers: { ...found, servedAtMs: context.clock.wallMs() } } : {}),
    });
    tell("");
    try {
      while (!isFinal(state)) {
        if (signal.aborted) return;
        const act = actions[state as Exclude<MoveStateName, "done" | "failed">];
        const outcome = await act(signal).catch((error: unknown) => ({ event: "error" as const, detail: messageOf(error) }));
        if (signal.aborted) return;
        const before: MoveStateName = state;
        state = nextState(before, outcome.event);
        if (state === "starting") handed = true;
        // where "stopping" was written the record keeps the gate closed; where it was not the site serves on, however long the undoing takes (no quorum)
        if (state === "undoing") context.gates.release(unit);
        if (state === "announcing") heldSinceMs ??= context.clock.monotonicMs();
        if (outcome.event !== "ok" && outcome.event !== "handed" && before !== "undoing") cause = outcome.detail;
        if (before !== state) context.log.info({ unit, move: move.id, from: before, to: state, event: outcome.event, detail: outcome.detail }, "move goes on");
        tell(outcome.detail);
      }
    } finally {
      context.gates.release(unit);
      options.replication.resume(unit);
      options.agent.wake();
      if (state === "failed") restUntil.set(unit, context.clock.monotonicMs() + restMs);
      else restUntil.delete(unit);
    }
    if (state === "done" && heldSinceMs !== undefined) holds.add(Math.round(context.clock.monotonicMs() - heldSinceMs));
    const since = (ms: number): string => `${Math.round(context.clock.monotonicMs() - ms)} ms`;
    const took = `in ${since(began)}${heldSinceMs === undefined ? "" : `, requests waited for at most ${since(heldSinceMs)}`}`;
    context.event(unit, state === "done" ? "moved" : handed ? "move-late" : "move-undone", state === "done" ? `${node} → ${move.target} ${took}` : `${node} → ${move.target}: ${cause}`);
  }
  function begin(unit: string, epoch: number, move: Ordered, from: MoveStateName, why = ""): void {
    const ended = drive(unit, epoch, move, from, why)
      .catch((error: unknown) => context.log.error({ unit, move: move.id, reason: messageOf(error) }, "move ended by a defect"))
      .finally(() => driven.delete(unit));
    driven.set(unit, { id: move.id, ended });
  }

  /**
   * Moves that no driver here knows: one in its first phase (ordered by the leader, or begun by a process that died) goes on from the start; one that was "stopping" is
   * undone by a write of our own (OWNERSHIP 18), for nobody knows how far it came. A move that failed is not begun again at once, whoever orders it.
   */
  function adopt(state: ClusterState): void {
    if (!context.session.isLive() || signal.aborted) return;
    for (const { value: record } of state.units.values()) {
      const { move, unit, epoch } = record;
      if (record.home !== node || record.state !== "live" || move === undefined || driven.has(unit) || context.gates.held().includes(unit)) continue;
      // ordered before this node has taken the unit (a failover has just given it): the move begins when it has
      if (move.phase === "presync" && !mayRecord(record, context.session)) continue;
      if (move.phase === "stopping") begin(unit, epoch, move, "undoing", "the control process of the source was restarted during the move");
      else if (driven.size < maxMoves && (restUntil.get(unit) ?? 0) <= context.clock.monotonicMs()) begin(unit, epoch, move, "presync");
    }
  }

  async function moveHere(unit: string, to: string, reason: string, maxHoldMs?: number): Promise<string> {
    const bound = maxHoldMs === undefined ? {} : { maxHoldMs };
    return await retry(`move of ${unit}`, { firstMs: 50, capMs: 500, withinMs: 5_000, signal }, async () => {
      const state = context.view.current();
      const running = state.units.get(unit)?.value.move;
      if (running?.target === to && driven.get(unit)?.id === running.id) return running.id;
      const found = await context.store.get(keys.unit(unit));
      const record = found === undefined ? undefined : (JSON.parse(found.value) as UnitRecord);
      if (found === undefined || record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
      if (record.home !== node) throw new HcError("NOT_HOME", `${unit} is at home on ${record.home}.`, { retry: "never", context: { home: record.home } });
      const units = new Map(state.units).set(unit, { value: record, revision: found.modRevision });
      let needed: boolean;
      try {
        needed = checkMove({ ...state, units }, unit, to, (name) => isAlive(state, name));
      } catch (error) {
        // refusals are final answers, not something to repeat here
        throw error instanceof HcError ? new HcError(error.code, error.message, { context: error.context, retry: "never" }) : error;
      }
      const id = makeMoveId({ unit, source: node, epoch: record.epoch, target: to });
      if (!needed) return id;
      if (driven.has(unit)) throw new HcError("CONFLICT", `A move of ${unit} is just ending; try again.`);
      if (driven.size >= maxMoves) throw new HcError("LIMIT_EXCEEDED", `${maxMoves} units are moving away from ${node} already.`, { retry: "never" });
      if (!context.session.isLive()) throw new HcError("NOT_READY", `${node} has no live session.`);
      if (!mayRecord(record, context.session)) throw new HcError("NOT_READY", `${unit} was given to ${node} just now, which has not taken it over yet; move it when it serves.`);
      let release = (): void => undefined;
      // the driver's place is taken before the write, so that `adopt` never takes this move for one left behind
      driven.set(unit, { id, ended: new Promise((resolve) => (release = resolve)) });
      try {
        const next: UnitRecord = { ...record, move: { id, target: to, phase: "presync", reason, ...bound } };
        const { succeeded } = await context.store.txn([{ key: found.key, modRevision: found.modRevision }], [{ put: found.key, value: JSON.stringify(next) }]);
        if (!succeeded) throw new HcError("CONFLICT", `The record of ${unit} changed meanwhile.`);
      } catch (error) {
        driven.delete(unit); // a write whose answer was lost is found by `adopt` and undone
        throw error;
      } finally {
        release();
      }
      begin(unit, record.epoch, { id, target: to, ...bound }, "presync");
      context.event(unit, "moving", `${node} → ${to}: ${reason}`);
      return id;
    });
  }

  const migration: Migration = {
    async move(unit, to, reason, maxHoldMs) {
      // a home whose hcd starts again (an upgrade, a crash) is there in a moment; the same move asked for twice is one move
      return await retry(`move of ${unit}`, { firstMs: 100, capMs: 1_000, withinMs: homeBackMs, signal }, async () => {
        const record = context.view.current().units.get(unit)?.value;
        if (record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
        if (record.home === node) return await moveHere(unit, to, reason, maxHoldMs);
        try {
          return (await context.peers.call<{ operation: string }>(record.home, "POST", `/peer/v1/units/${unit}/move`, { to, reason, ...(maxHoldMs === undefined ? {} : { maxHoldMs }) }, { timeoutMs: callMs, signal })).operation;
        } catch (error) {
          throw error instanceof HcError && error.code !== "UNREACHABLE" && error.code !== "NOT_READY" ? new HcError(error.code, error.message, { context: error.context, retry: "never" }) : error;
        }
      }).catch((error: unknown) => {
        throw error instanceof HcError && error.cause instanceof HcError ? error.cause : error;
      });
    },
    async operation(id) {
      const { unit, source, target, epoch } = parseMoveId(id);
      if (source === node) {
        const known = book.get(id);
        if (known !== undefined) return known;
      } else {
        try {
          return await context.peers.call<Operation>(source, "GET", `/peer/v1/operations/${id}`, undefined, { timeoutMs: 3_000, signal });
        } catch (error) {
          context.log.debug({ source, code: errorCode(error) }, "operation is told from the record");
        }
      }
      const state = context.view.current();
      const seen = state.observedUnits.get(target)?.get(unit);
      return operationOf(id, state.units.get(unit)?.value, seen?.state === "serving" && seen.epoch > epoch);
    },
    metrics: () => [{ name: "hc_moves_running", labels: {}, value: driven.size }, { name: "hc_moves_limit", labels: {}, value: maxMoves }],
    async stop() {
      stopping.abort();
      endWatch();
      endMaintenance();
      await Promise.allSettled([...driven.values()].map(({ ended }) => ended));
    },
  };

  const moveRoute = (move: Migration["move"]) => async ({ params, json }: PeerRequest) => {
    const body = (await json()) as { to?: unknown; reason?: unknown; maxHoldMs?: unknown } | null;
    if (typeof body?.to !== "string") throw new HcError("INVALID_INPUT", "to: is required and missing; write the name of a node.");
    const reason = typeof body.reason === "string" ? body.reason.slice(0, 200) : "";
    const { maxHoldMs } = body;
    if (maxHoldMs !== undefined && (typeof maxHoldMs !== "number" || !(maxHoldMs >= 100 && maxHoldMs <= 120_000))) throw new HcError("INVALID_INPUT", "maxHoldMs: must be a number from 100 to 120000 (ms).");
    return { operation: await move(params["id"] ?? "", body.to, reason, maxHoldMs) };
  };
  context.apiRoutes.route("POST", "/v1/units/:id/move", moveRoute((unit, to, reason, maxHoldMs) => migration.move(unit, to, reason, maxHoldMs)));
  context.peerRoutes.route("POST", "/peer/v1/units/:id/move", moveRoute(moveHere));
  const operationRoute = async ({ params }: PeerRequest): Promise<Operation> => migration.operation(params["id"] ?? "");
  context.apiRoutes.route("GET", "/v1/operations/:id", operationRoute);
  context.peerRoutes.route("GET", "/peer/v1/operations/:id", operationRoute);

  movePlanRoute(context, options.replication, holds, isAlive);
  waitsRoute(context);
  const endMaintenance = startMaintenance(context);
  const endWatch = context.view.onChange(adopt);
  // a session that comes alive later is no change of the view
  void (async () => {
    while (!signal.aborted) {
      try {
        adopt(context.view.current());
        if (context.session.isLive()) context.gates.adopted();
      } catch (error) {
        if (errorCode(error) !== "NOT_READY") context.log.warn({ reason: messageOf(error) }, "left moves could not be looked for");
      }
      // requests of a move that the process before has left wait until it is adopted
      await context.clock.sleep(context.session.isLive() ? 1_000 : 100, signal).catch(() => undefined);
    }
  })();
  return migration;
}
