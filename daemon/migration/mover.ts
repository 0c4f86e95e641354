import type { Agent } from "../agent/agent.js";
import type { UnitInput } from "../agent/model.js";
import { assertLive, untilSeen } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { withDeadline } from "../lib/abort.js";
import { retry } from "../lib/backoff.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { keys, type MoveState, type UnitRecord } from "../lib/records.js";
import type { Replication } from "../replication/replication.js";
import type { MoveEvent, MoveStateName } from "./fsm.js";

/** What is small enough to be sent while the site stands still. */
const smallBytes = 1_000_000;
const smallMs = 300;
const presyncRounds = 8;
/** Deadlines of the steps, ms. Before the hand-over their end undoes the move. */
const withinMs = { presync: 15 * 60_000, draining: 5_000, starting: 90_000, pausing: 3_000 };
/** Requests wait at the edges for 30 s (proxy/limits.ts): a move that cannot stop the unit and send its last increment within so long is undone while they still wait, ms. */
const longestHoldMs = 24_000;
/** With less than this left of the longest hold no stop is begun: a stop, an unmount and an increment take longer, and the undo would have to start the site again, ms. */
const leastStopMs = 200;
const undoPauseMs = 500;
/** How often a move looks whether other copies are still being sent to. */
const sendsPauseMs = 250;
/** How often it is looked whether the target still lives, ms. */
const aliveLookMs = 250;

export interface MoveParts { context: NodeContext; replication: Replication; agent: Agent; /** By the membership's judgement. */ isAlive(node: string): boolean }
export interface Outcome { event: MoveEvent; detail: string }
/** What is found out on the way, for people. */
export interface Found { holdFromMs: number; lastBytes: number }
type Actions = { [S in Exclude<MoveStateName, "done" | "failed">]: (signal: AbortSignal) => Promise<Outcome> };

/** Pure: for how much longer requests may wait that have waited since then, ms; below 0 when it is over. `sinceMs` undefined: none waits yet. */
export const holdLeftMs = ({ maxHoldMs = longestHoldMs }: Pick<MoveState, "maxHoldMs">, sinceMs: number | undefined, nowMs: number): number => Math.min(maxHoldMs, longestHoldMs) - (nowMs - (sinceMs ?? nowMs));

/** What a record says about one move. Pure. */
export function judge(record: UnitRecord | undefined, source: string, epoch: number, move: Pick<MoveState, "id" | "target">): "ours" | "handed" | "lost" {
  if (record === undefined) return "lost";
  if (record.home === move.target && record.epoch === epoch + 1) return "handed";
  return record.home === source && record.epoch === epoch && record.move?.id === move.id && record.state === "live" ? "ours" : "lost";
}

/** The record after the hand-over. Pure. */
export function handedOver(record: UnitRecord, move: Pick<MoveState, "target">, lastGuid: string): UnitRecord {
  const { move: _move, ...rest } = record;
  const since = record.handed?.epoch === record.epoch ? record.handed.since : record.epoch;
  return { ...rest, home: move.target, homeGeneration: 0, epoch: record.epoch + 1, handed: { epoch: record.epoch + 1, since }, epochStartGuid: lastGuid, replicas: [...record.replicas.filter((node) => node !== move.target), record.home] };
}
export function withoutMove(record: UnitRecord): UnitRecord {
  const { move: _move, ...rest } = record;
  return rest;
}

/**
 * What a round of the agent says of the stop that was announced at `announced` (revision of the record). Pure. "waits": it does not know of it yet (a picture from before the move names none, and the site
 * runs on), or is about to do it; "gone": the record names the move no more.
 */
export function stopSeen(seen: Pick<UnitInput, "record" | "local" | "service"> | undefined, announced: string, busy: boolean): "waits" | "stopped" | "gone" {
  const record = seen?.record;
  if (record !== undefined && BigInt(record.revision) < BigInt(announced)) return "waits";
  if (record?.value.move === undefined) return "gone";
  if (record.value.move.phase !== "stopping" || busy) return "waits";
  return seen?.local?.mounted === false && seen.service !== "active" ? "stopped" : "waits";
}

/** The acts of one move at its source, one a state of fsm.ts. Each can be repeated; none assumes that the one before was done by this process. */
export function moveActions({ context, replication, agent, isAlive }: MoveParts, unit: string, epoch: number, move: Pick<MoveState, "id" | "target" | "maxHoldMs">, found: Found = { holdFromMs: 0, lastBytes: 0 }): Actions {
  const source = context.cluster.node;
  /** When requests began to wait, monotonic ms. */
  let heldSinceMs: number | undefined;
  const leftMs = (): number => holdLeftMs(move, heldSinceMs, context.clock.monotonicMs());
  /** A step's deadline, or what is left of the longest hold. */
  const withinHold = (ms: number): number => Math.max(1, Math.min(ms, leftMs()));
  let lastGuid = "";
  /** Revision of the record as our last write of it that was answered has left it. */
  let written = "0";
  const read = async (): Promise<{ record: UnitRecord | undefined; revision: string }> => {
    const found = await context.store.get(keys.unit(unit));
    return { record: found === undefined ? undefined : (JSON.parse(found.value) as UnitRecord), revision: found?.modRevision ?? "0" };
  };
  /** Our own compare-and-swap of the record. "unsure" when its answer is lost. */
  const write = async (change: (record: UnitRecord) => UnitRecord): Promise<Outcome> => {
    const { record, revision } = await read();
    const verdict = judge(record, source, epoch, move);
    if (verdict !== "ours") return { event: verdict, detail: "" };
    assertLive(context, unit);
    try {
      const { succeeded, revision: committed } = await context.store.txn([{ key: keys.unit(unit), modRevision: revision }], [{ put: keys.unit(unit), value: JSON.stringify(change(record as UnitRecord)) }]);
      if (!succeeded) return { event: "lost", detail: "the record changed meanwhile" };
      written = committed;
      await untilSeen(context, () => BigInt(context.view.current().units.get(unit)?.revision ?? committed) >= BigInt(committed), unit).catch(() => undefined);
      return { event: "ok", detail: "" };
    } catch (error) {
      return { event: "unsure", detail: messageOf(error) };
    }
  };
  /** Read from etcd itself: the view may still show the time before this move. Without an answer the next write's compare decides. */
  const still = async (): Promise<Outcome | undefined> => {
    const verdict = await read().then(({ record }) => judge(record, source, epoch, move), () => "ours" as const);
    return verdict === "ours" ? undefined : { event: verdict, detail: "the record was changed by another" };
  };
  /** Rejects when the target lives no more: what is sent to it would be waited for until the connection is given up. */
  const targetLost = async (signal: AbortSignal): Promise<never> => {
    while (isAlive(move.target)) await context.clock.sleep(aliveLookMs, signal);
    throw new HcError("UNREACHABLE", `${move.target} gives no sign of life any more`);
  };
  const guarded = async (ms: number, what: string, signal: AbortSignal, act: (inner: AbortSignal) => Promise<string>): Promise<Outcome> => {
    try {
      const detail = await withDeadline(ms, what, (inner) => {
        const ended = new AbortController();
        const all = AbortSignal.any([inner, ended.signal]);
        return Promise.race([act(all), onAbort(inner), targetLost(all)]).finally(() => ended.abort());
      }, signal);
      return (await still()) ?? { event: "ok", detail };
    } catch (error) {
      return (await still()) ?? { event: "error", detail: messageOf(error) };
    }
  };

  return {
    presync: (signal) =>
      guarded(withinMs.presync, `presync of ${unit}`, signal, async (inner) => {
        for (let [round, paused] = [1, false]; ; round += 1) {
          const began = context.clock.monotonicMs();
          await replication.snapshotMade(unit);
          // a target that lacks the template, or that is only just starting, says so: it is asked again for a while
          const { bytes } = await retry(`presync of ${unit} to ${move.target}`, { firstMs: 200, capMs: 2_000, withinMs: paused ? 10_000 : 60_000, signal: inner }, () => replication.sendNow(unit, move.target, inner));
          const tookMs = context.clock.monotonicMs() - began;
          if (paused && tookMs > (move.maxHoldMs ?? Number.POSITIVE_INFINITY)) throw new HcError("LIMIT_EXCEEDED", `the last increment of ${bytes} bytes took ${Math.round(tookMs)} ms: requests would wait for longer than the ${move.maxHoldMs} ms that are allowed`);
          if (paused) return `${round} increments, the last of ${bytes} bytes`;
          if (bytes >= smallBytes && tookMs >= smallMs && round < presyncRounds) continue;
          // sends to other copies and the node's round of snapshots that run now are waited for here and not while requests wait; one increment more takes what was written meanwhile.
          // A long stream is waited for while the unit is still replicated; a paused unit is only held up by what began at the last moment
          while (replication.sendingTo(unit).some((node) => node !== move.target)) await context.clock.sleep(sendsPauseMs, inner);
          if (inner.aborted) throw new HcError("ABORTED", "The step was cancelled."); // nobody would resume it
          paused = await Promise.race([replication.pause(unit).then(() => true), context.clock.sleep(withinMs.pausing, inner).then(() => false)]);
          if (!paused) replication.resume(unit);
        }
      }),
    // the gate closes, what runs ends (or is cut at the deadline), and only then is the stop announced
    async announcing(signal) {
      heldSinceMs = context.clock.monotonicMs();
      found.holdFromMs = context.clock.wallMs();
      const running = await context.gates.hold(unit, withinHold(withinMs.draining), signal);
      // given up before anything was stopped: what runs ends well, and what waits goes on here
      if (leftMs() < leastStopMs) return (await still()) ?? { event: "error", detail: `${running} request(s) had not ended when others had waited for as long as is allowed (${move.maxHoldMs} ms)` };
      const outcome = await write((record) => ({ ...record, move: { ...(record.move as MoveState), phase: "stopping" } }));
      return outcome.event === "ok" && running > 0 ? { ...outcome, detail: `${running} request(s) had not ended within ${withinMs.draining / 1000} s` } : outcome;
    },
    quieting: (signal) =>
      guarded(withinHold(longestHoldMs), `stop of ${unit}`, signal, (inner) =>
        agent.untilRound((input) => {
          const seen = stopSeen(input.units.find((item) => item.id === unit), written, agent.isBusy(unit));
          return seen === "waits" ? undefined : seen === "gone" ? "" : "stopped and unmounted";
        }, inner),
      ),
    finalizing: (signal) =>
      guarded(withinHold(longestHoldMs), `last increment of ${unit}`, signal, async (inner) => {
        if (inner.aborted) throw new HcError("ABORTED", "The step was cancelled."); // nobody would resume it
        await replication.pause(unit); // it is, since presync
        const last = await replication.snapshotMade(unit);
        const sent = await retry(`last increment of ${unit} to ${move.target}`, { firstMs: 100, capMs: 1_000, withinMs: 20_000, signal: inner }, () => replication.sendNow(unit, move.target, inner));
        if (sent.snapshot !== last) throw new HcError("INTERNAL", `${move.target} confirmed snapshot ${sent.snapshot} of ${unit}, the last one is ${last}.`);
        lastGuid = sent.guid;
        found.lastBytes = sent.bytes;
        return `${sent.bytes} bytes while stopped`;
      }),
    "handing-over": () => (lastGuid === "" ? Promise.resolve({ event: "error", detail: "no confirmed last snapshot" }) : write((record) => handedOver(record, move, lastGuid))),
    async looking(signal) {
      // first a look: our own lost write may have been committed. When not, "undoing" writes, and so shuts out the one that may still come
      try {
        const { record } = await read();
        const verdict = judge(record, source, epoch, move);
        return { event: verdict === "ours" ? "ok" : verdict, detail: verdict === "ours" ? "the hand-over was not committed" : "" };
      } catch (error) {
        await context.clock.sleep(undoPauseMs, signal);
        return { event: "unsure", detail: messageOf(error) };
      }
    },
    starting: async (signal) => {
      const serves = (): boolean => {
        const seen = context.view.current().observedUnits.get(move.target)?.get(unit);
        return seen?.state === "serving" && seen.epoch === epoch + 1;
      };
      const seenRecord = (): UnitRecord | undefined => context.view.current().units.get(unit)?.value;
      /** Its home changed once more, e.g. because the target died: nothing is left to be waited for. */
      const passedOn = (): boolean => (seenRecord()?.epoch ?? Number.POSITIVE_INFINITY) > epoch + 1;
      try {
        await withDeadline(withinMs.starting, `start of ${unit} on ${move.target}`, async (inner) => {
          // from here on the record closes the gate; held on, it would stay closed when the unit comes back by a failover
          await seenInView(context, () => (seenRecord()?.epoch ?? Number.POSITIVE_INFINITY) > epoch, inner);
          context.gates.release(unit);
          await seenInView(context, () => serves() || passedOn(), inner);
        }, signal);
        if (serves()) return { event: "ok", detail: `at home on ${move.target}, epoch ${epoch + 1}` };
        return { event: "error", detail: `${move.target} did not come to serve it: its home is ${seenRecord()?.home ?? "nowhere"} now, epoch ${seenRecord()?.epoch ?? 0}` };
      } catch (error) {
        const seen = context.view.current().observedUnits.get(move.target)?.get(unit);
        return { event: "error", detail: `${unit} belongs to ${move.target} now and does not serve there yet: ${seen?.error || messageOf(error)}` };
      }
    },
    async undoing(signal) {
      try {
        const outcome = await write(withoutMove);
        if (outcome.event !== "unsure") return outcome;
        await context.clock.sleep(undoPauseMs, signal);
        return outcome;
      } catch (error) {
        if (errorCode(error) === "ABORTED") throw error;
        // no quorum, or no live session: the fence has stopped everything; the write is tried until it is answered
        await context.clock.sleep(undoPauseMs, signal);
        return { event: "error", detail: messageOf(error) };
      }
    },
  };
}

/** Rejects when the signal fires: an act that does not heed it must not hold up the move. */
function onAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const fail = (): void => reject(new HcError("ABORTED", "The step was cancelled."));
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}

function seenInView(context: Pick<NodeContext, "view">, seen: () => boolean, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      end();
      reject(new HcError("ABORTED", "The wait was cancelled."));
    };
    const look = (): void => {
      if (!seen()) return;
      end();
      signal.removeEventListener("abort", onAbort);
      resolve();
    };
    const end = context.view.onChange(look);
    signal.addEventListener("abort", onAbort, { once: true });
    look();
  });
}
