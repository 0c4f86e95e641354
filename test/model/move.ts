import type { judge as daemonJudge } from "../../daemon/migration/mover.js";
import type { MoveEvent, MoveStateName } from "../../daemon/migration/fsm.js";
import type { LocalDataset } from "../../daemon/agent/model.js";
import type { UnitRecord } from "../../daemon/lib/records.js";
import { mayRecord, send, snapshot } from "./data.js";
import { moveOf, nameOf, recOf, recordOf, unit } from "./pictures.js";
import { alive, isLive } from "./session.js";
import type { MoverState, Op } from "./state.js";
import type { World } from "./world.js";

/** The source's driver: fsm.ts is the table, judge/handedOver/withoutMove are mover.ts's own; the acts between are told again from moveActions and startMigration.adopt. */
type Verdict = ReturnType<typeof daemonJudge>;
const mostStates = 10;

/** What etcd's record says of this move; undefined: it cannot be read. */
function look(w: World, me: number): Verdict | undefined {
  const n = w.node(me);
  return w.reachesEtcd(me) ? w.rules.judge(recordOf(w.s.etcd.rec, w.count), nameOf(me), n.moverEpoch, moveOf(n.moverTarget)) : undefined;
}
function write(w: World, me: number, act: Extract<Op, { put: "rec" }>["act"], what: string, change: (record: UnitRecord) => UnitRecord): MoveEvent {
  const verdict = look(w, me);
  if (verdict === undefined) return "error";
  if (verdict !== "ours") return verdict;
  if (!isLive(w, me)) return "error";
  w.mayStop(me);
  const { rec, recRev } = w.s.etcd;
  const seen = w.txn(me, { rec: recRev }, { put: "rec", value: recOf(change(recordOf(rec, w.count))), act }, what);
  return seen === "ok" ? "ok" : seen === "refused" ? "lost" : "unsure";
}
/** mover.ts `still`: without an answer the next write's compare decides. */
function still(w: World, me: number, event: MoveEvent): MoveEvent {
  const verdict = look(w, me) ?? "ours";
  return verdict === "ours" ? event : verdict;
}

/** undefined: it waits. */
function act(w: World, me: number): MoveEvent | undefined {
  const n = w.node(me);
  const target = n.moverTarget;
  switch (n.mover as Exclude<MoverState, "">) {
    case "presync":
      w.mayStop(me);
      if (!mayRecord(w, me)) return still(w, me, "error");
      snapshot(w, me, n.moverEpoch);
      return still(w, me, send(w, me, target) ? "ok" : "error");
    case "announcing":
      return write(w, me, "", `"stopping" by ${nameOf(me)}`, (record) => ({ ...record, move: { ...record.move!, phase: "stopping" } }));
    case "quieting": {
      const { view } = n;
      // the record that was announced is the newest one, or somebody has written after it: a view that lags is one of before
      const announced = view!.recRev === w.s.etcd.recRev ? view!.recRev : view!.recRev + 1;
      const seen = w.rules.stopSeen({ record: { value: recordOf(view!.rec, w.count), revision: String(view!.recRev) }, local: { mounted: n.mounted } as LocalDataset, service: n.active ? "active" : "inactive" }, String(announced), n.mounting);
      return seen === "waits" ? undefined : still(w, me, "ok");
    }
    case "finalizing":
      w.mayStop(me);
      if (!mayRecord(w, me)) return still(w, me, "error");
      snapshot(w, me, n.moverEpoch);
      if (!send(w, me, target)) return still(w, me, "error");
      n.lastGuid = n.snaps.at(-1)!;
      return still(w, me, "ok");
    case "handing-over":
      return n.lastGuid === 0 ? "error" : write(w, me, "hand-over", `hand-over to ${nameOf(target)}`, (record) => w.rules.handedOver(record, moveOf(target), String(n.lastGuid)));
    case "looking": {
      const verdict = look(w, me);
      return verdict === undefined ? undefined : verdict === "ours" ? "ok" : verdict;
    }
    case "starting":
      if (n.view!.serving[target] === n.moverEpoch + 1) return "ok";
      return n.view!.rec.epoch > n.moverEpoch + 1 ? "lost" : undefined;
    case "undoing": {
      if (w.rules.undoIsWrite) return write(w, me, "undo", `undo by ${nameOf(me)}`, w.rules.withoutMove);
      // the mutant: the record is changed behind everybody's compare
      if (look(w, me) !== "ours" || !isLive(w, me)) return look(w, me) === "handed" ? "handed" : "lost";
      w.s.undone = true;
      w.unfence(recOf(w.rules.withoutMove(recordOf(w.s.etcd.rec, w.count))));
      return "ok";
    }
  }
}

export function move(w: World, me: number): void {
  const n = w.node(me);
  if (n.view === undefined) return;
  const { rec } = n.view;
  // startMigration.adopt: moves that no driver here knows
  if (n.mover === "" && rec.home === me && rec.move !== undefined && isLive(w, me)) Object.assign(n, { mover: rec.move.stopping ? "undoing" : "presync", moverTarget: rec.move.target, moverEpoch: rec.epoch });
  for (let count = 0; count < mostStates && n.mover !== ""; count += 1) {
    const event = act(w, me);
    if (event === undefined) return;
    const before = n.mover;
    const next: MoveStateName = w.rules.nextState(n.mover, event);
    n.mover = next === "done" || next === "failed" ? "" : next;
    if (n.mover === before) return; // it is tried again after a pause
  }
}

/** `hc move`: moveHere at the home. False: it may not. */
export function orderMove(w: World, me: number, target: number): boolean {
  const n = w.node(me);
  if (n.view === undefined || n.mover !== "" || !w.reachesEtcd(me) || w.s.etcd.rec.home !== me || !isLive(w, me)) return false;
  const { rec, recRev } = w.s.etcd;
  const record = recordOf(rec, w.count);
  try {
    const state = w.view(me);
    if (!w.rules.checkMove({ ...state, units: new Map([[unit, { value: record, revision: String(recRev) }]]) }, unit, nameOf(target), alive(w, me))) return false;
  } catch {
    return false;
  }
  const seen = w.txn(me, { rec: recRev }, { put: "rec", value: { ...rec, move: { target, stopping: false } }, act: "move" }, `a move to ${nameOf(target)}`);
  if (seen === "ok") Object.assign(n, { mover: "presync", moverTarget: target, moverEpoch: rec.epoch });
  return true;
}
