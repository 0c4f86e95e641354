import type { Standing } from "../../daemon/membership/standing.js";
import { msOf, nameOf, nowMs, stateOf, tickOf, unit } from "./pictures.js";
import { never, type Node } from "./state.js";
import type { World } from "./world.js";

/**
 * One heartbeat, and the election. What follows from an answer is the daemon's (membership/standing.ts, leader.ts, liveness.ts); the order of the calls is told again here from
 * NodeSession.beat/open/renew/write, FenceKeeper.announce and Leader.step/guard, because those classes do their I/O in between.
 */
export const standingOf = (n: Node): Standing => ({ generation: n.gen, deadlineMs: msOf(n.deadline), lost: n.lost, promises: n.promise > 0 ? new Map([[unit, msOf(n.promise)]]) : new Map() });
export const isLive = (w: World, me: number): boolean => w.rules.isLive(standingOf(w.node(me)), nowMs);
export const owns = (w: World, me: number): boolean => w.rules.ownsUnit(standingOf(w.node(me)), unit, nowMs);
export const holdsUnit = (w: World, me: number): boolean => w.rules.heldBy(standingOf(w.node(me)), nowMs).has(unit);
const stands = (n: Node, next: Standing): void => void Object.assign(n, { gen: next.generation, deadline: Math.max(0, tickOf(next.deadlineMs)), lost: next.lost, promise: Math.max(0, tickOf(next.promises.get(unit) ?? nowMs)) });

/** fence-keeper.ts: nothing counts before the fencer knows it. False: it may not live. */
export function announce(w: World, me: number, standing: Standing): boolean {
  const n = w.node(me);
  const note = noteOf(n);
  if (w.rules.whyNotFree(note, standing.generation) !== "") return false;
  const held = new Map([...standing.promises].filter(([, untilMs]) => untilMs > standing.deadlineMs));
  const order = w.rules.fenceOrder("boot", { generation: standing.generation, deadlineMs: standing.deadlineMs, held }, [{ unit, dataset: unit, mountpoint: unit }]);
  const own = order.units[0]!.deadlineMs;
  n.order = { gen: order.generation, deadline: Math.max(0, tickOf(order.deadlineMs)), unit: own === undefined ? undefined : Math.max(0, tickOf(own)), has: n.order?.has ?? false };
  return true;
}
export function noteOf({ note }: Node): Parameters<World["rules"]["whyNotFree"]>[0] {
  return note === undefined ? undefined : { version: 1, bootId: "boot", generation: note.gen, state: note.state, deadlineMs: nowMs, startedMs: nowMs, verifiedMs: null, wallMs: 0, units: [], left: [] };
}

function lose(w: World, n: Node): void {
  stands(n, w.rules.afterLoss(standingOf(n)));
  n.liveUntil = Math.min(n.liveUntil, 0);
  n.pendingSince = never;
  n.inherits = false;
}

function committed(w: World, me: number, generation: number, sentAt: number): void {
  const n = w.node(me);
  const { late, standing } = w.rules.afterCommit(standingOf(n), generation, msOf(sentAt), nowMs);
  n.gen = generation;
  n.promise = Math.max(0, tickOf(standing.promises.get(unit) ?? nowMs));
  n.pendingSince = never;
  if (late) {
    lose(w, n);
    return;
  }
  if (!announce(w, me, standing)) return;
  n.inherits = false;
  n.liveSince = 0 < n.liveUntil ? n.liveSince : 0;
  n.liveUntil = tickOf(standing.deadlineMs);
  stands(n, standing);
}

export function beat(w: World, me: number): void {
  const n = w.node(me);
  if (!n.lost && (n.note?.gen ?? 0) >= n.gen) lose(w, n);
  if (w.rules.whyNotFree(noteOf(n), Number.POSITIVE_INFINITY) !== "") {
    if (w.reachesEtcd(me)) n.answered = 0;
    return;
  }
  if (!n.lost && !w.rules.isStanding(standingOf(n), nowMs)) lose(w, n);
  w.mayStop(me);
  const name = nameOf(me);
  const sess = w.s.etcd.sess[me]!;
  if (n.lost) {
    // an order with a deadline of the unit's own lives by promises that this process knows nothing of
    const before = n.inherits && n.order !== undefined && n.order.unit === undefined && w.reachesEtcd(me) ? { generation: n.order.gen, deadlineMs: msOf(n.order.deadline) } : undefined;
    if (before !== undefined && w.rules.mayInherit(before, { generation: sess.gen, dead: sess.dead }, n.note?.gen ?? 0, nowMs)) {
      n.gen = before.generation;
      n.deadline = n.order!.deadline;
      const seen = w.txn(me, { sess: { node: me, rev: sess.rev } }, { put: "sess", node: me, gen: n.gen, dead: false }, `session of ${name}, taken over`);
      if (seen === "ok" || seen === "refused") n.answered = 0;
      if (seen === "ok") committed(w, me, n.gen, 0);
      return;
    }
    const generation = w.rules.nextGeneration(sess.gen, n.gen, n.note?.gen);
    const seen = w.txn(me, { sess: { node: me, rev: sess.rev } }, { put: "sess", node: me, gen: generation, dead: false }, `session of ${name}, generation ${generation}`);
    if (seen !== "away" && seen !== "unsure") n.answered = 0;
    if (seen === "ok") committed(w, me, generation, 0);
    return;
  }
  if (n.pendingSince === never) n.pendingSince = 0;
  // the revision as this generation last wrote it: whatever else has written since makes the compare fail
  const own = sess.gen === n.gen && !sess.dead && !sess.mine ? sess.rev : -1;
  const seen = w.txn(me, { sess: { node: me, rev: own } }, { put: "sess", node: me, gen: n.gen, dead: false }, `heartbeat of ${name}`);
  if (seen === "away" || seen === "unsure") return;
  n.answered = 0;
  if (seen === "ok") committed(w, me, n.gen, 0);
  else if (!sess.mine || sess.dead || sess.gen !== n.gen) lose(w, n);
  else {
    w.found(me);
    committed(w, me, n.gen, n.pendingSince);
  }
}

// ---- liveness and election
export const silentMs = (w: World, me: number) => (name: string): number => {
  const n = w.node(me);
  const at = n.seen[Number(name.slice(1)) - 1]!;
  return w.rules.silentFor(at === never ? undefined : msOf(at), { sinceMs: msOf(n.liveSince), untilMs: msOf(n.liveUntil) }, nowMs);
};
export const alive = (w: World, me: number) => (name: string): boolean => w.rules.countsAsAlive(w.view(me).sessions.get(name)?.value, silentMs(w, me)(name));

/** Leader.guard: the revision that the leader's writes are compared with. */
export function guardOf(w: World, me: number): number | undefined {
  const { won, view, gen } = w.node(me);
  if (won === undefined || view === undefined || !isLive(w, me) || gen !== won.gen) return undefined;
  if (view.leaderRev > won.rev || (view.leaderRev === won.rev && view.leader !== me)) return undefined;
  return won.rev;
}
export function elect(w: World, me: number): void {
  const n = w.node(me);
  if (n.view === undefined || guardOf(w, me) !== undefined) return;
  n.won = undefined;
  if (!isLive(w, me)) return;
  const isOwnPast = n.view.leader === me && n.view.leaderGen === n.gen;
  if (!isOwnPast && !w.rules.leaderIsGone(stateOf(n.view, w.count), alive(w, me))) return;
  w.mayStop(me);
  const sess = w.s.etcd.sess[me]!;
  const own = sess.gen === n.gen && !sess.dead && !sess.mine ? sess.rev : -1;
  const seen = w.txn(me, { leader: n.view.leaderRev, sess: { node: me, rev: own } }, { put: "leader", node: me, gen: n.gen }, `election of ${nameOf(me)}`);
  if (seen === "ok") n.won = { gen: n.gen, rev: w.s.etcd.leaderRev };
}
