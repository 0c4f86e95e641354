import type { CopyReport } from "../../daemon/failover/choose.js";
import type { SessionRecord } from "../../daemon/lib/records.js";
import { fenceMs } from "../../daemon/membership/standing.js";
import { agent, push } from "./agent.js";
import { check } from "./machine.js";
import { mayRecord, promise, seal, send, snapshot } from "./data.js";
import { move } from "./move.js";
import { msOf, nameOf, nodeOf, nowMs, recOf, snapshotOf, tickOf, unit } from "./pictures.js";
import { alive, announce, beat, elect, guardOf, owns, silentMs, standingOf } from "./session.js";
import { Stopped, type World } from "./world.js";

/** failover.ts: a living copy that does not answer is asked so often before one is chosen without it. */
const patience = 3;

/** Failover.step and bringBack, for one unit. "waits": it could not be brought back now; undefined: there is nothing to bring back, or it was. */
function bringBack(w: World, me: number): "waits" | "failed" | undefined {
  const n = w.node(me);
  const guard = guardOf(w, me);
  if (guard === undefined) return undefined;
  if (n.view!.leaderRev < guard) return "failed"; // a picture from before the own election
  for (const write of w.rules.planDeath(w.view(me), silentMs(w, me))) {
    w.mayStop(me);
    const value = JSON.parse((write.ops[0] as { value: string }).value) as SessionRecord;
    const node = nodeOf(value.node);
    w.txn(me, { leader: guard, sess: { node, rev: Number(write.compare[0]!.modRevision) } }, { put: "sess", node, gen: value.generation, dead: true }, `death of ${value.node}`);
  }
  const victim = w.rules.victims(w.view(me), alive(w, me))[0];
  if (victim === undefined) return undefined;
  if (victim.copies.length === 0) return "waits";
  const reports: CopyReport[] = [];
  const silent: string[] = [];
  let promised = "";
  for (const copy of victim.copies) {
    w.mayStop(me);
    const node = nodeOf(copy);
    const called = w.call(me, node, `the seal of ${copy}`);
    const seen = called === "away" ? undefined : seal(w, node, { epoch: victim.record.epoch, generation: victim.session.generation });
    if (seen?.kind === "report" && called === "ok") reports.push({ node: copy, snapshots: w.node(node).snaps.map((guid) => snapshotOf(w.s, guid)) });
    else silent.push(copy);
    if (seen?.kind === "none" && seen.promise !== "" && called === "ok") promised = seen.promise;
  }
  if (promised !== "" || (silent.length > 0 && reports.length > 0 && n.attempts < patience)) return "waits";
  const choice = w.rules.choose(victim.record, reports, victim.record.replicas);
  if (choice.kind === "none" || w.rules.policyRefusal({ policy: "safe", maxLossS: 60 }, 0, "a") !== "") return "waits";
  const next = recOf(w.rules.promoted(victim.record, choice, { generation: victim.session.generation, atMs: 0, lossS: 0 }));
  w.mayStop(me);
  const compare = { leader: guard, rec: Number(victim.revision), sess: { node: nodeOf(victim.record.home), rev: Number(victim.session.revision) } };
  if (w.txn(me, compare, { put: "rec", value: next, act: "promote" }, `promotion of ${choice.node}`) === "ok") return undefined;
  return "failed";
}

function failover(w: World, me: number): void {
  const n = w.node(me);
  const outcome = bringBack(w, me);
  if (outcome === "waits") n.attempts = Math.min(patience, n.attempts + 1);
  else if (outcome === undefined) n.attempts = 0;
}

/** Failsafe.step, the home's side of OWNERSHIP 14. */
function failsafe(w: World, me: number): void {
  const n = w.node(me);
  if (n.view === undefined || w.rules.seesQuorum(-n.answered * 1000) || !w.rules.isStanding(standingOf(n), nowMs)) return;
  const units = w.rules.heldUnits(w.view(me), nameOf(me), n.gen);
  if (units.length === 0) return;
  const answers = new Map<string, { granted: ReadonlySet<string>; why(): string }>();
  for (const [holder, wanted] of w.rules.asked(units)) {
    w.mayStop(me);
    const called = w.call(me, nodeOf(holder), `the question for a promise to ${holder}`);
    const granted = called !== "away" && promise(w, nodeOf(holder), me, { epoch: wanted[0]!.epoch, generation: n.gen });
    answers.set(holder, { granted: granted && called === "ok" ? new Set([unit]) : new Set(), why: () => "" });
  }
  const { held } = w.rules.promised(units, answers);
  const next = w.rules.afterPromises(standingOf(n), n.gen, new Map(held.map((one) => [one, nowMs + fenceMs])), nowMs);
  if (next === undefined || !announce(w, me, next)) return;
  n.promise = Math.max(0, tickOf(next.promises.get(unit) ?? msOf(0)));
  push(w, me);
}

/** What is written is made a snapshot and sent to each copy, while no move has paused it. */
function replicate(w: World, me: number): void {
  const n = w.node(me);
  if (n.view === undefined || n.view.rec.home !== me || !owns(w, me) || !["", "presync", "announcing", "quieting"].includes(n.mover)) return;
  const { epoch, replicas } = n.view.rec;
  if (n.dirty && mayRecord(w, me)) {
    w.mayStop(me);
    snapshot(w, me, epoch);
  }
  for (const copy of replicas) send(w, me, copy);
}

/** In one turn (one second) a control process does each of these once; the agent twice, so that what a failover gave is taken in the same second. */
const acts: readonly ((w: World, me: number) => void)[] = [beat, agent, elect, failover, failsafe, replicate, move, agent];

export function turn(w: World, me: number): void {
  const n = w.node(me);
  w.load(me);
  try {
    for (; n.at < acts.length; n.at += 1) {
      acts[n.at]!(w, me);
      check(w);
    }
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    n.ctl = 2;
    return;
  }
  n.at = 0;
  n.done = true;
  if (n.deaf === 2) {
    // what comes now wakes it at once
    n.deaf = 0;
    n.done = n.view === w.s.etcd;
    w.catchUp(me);
  }
}
