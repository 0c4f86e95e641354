import type { Compare, Move, Node, Pic, Rec, Sess, State } from "./state.js";
import { settle } from "./state.js";

/** A state as a short text and back. Revisions are told only as "still the newest" or "past": nobody compares them otherwise. */
const shift = 20;
const moverStates = ["", "presync", "announcing", "quieting", "finalizing", "handing-over", "looking", "starting", "undoing"] as const;
const noteStates = ["fencing", "fenced", "overtaken"] as const;
const acts = ["", "hand-over", "undo", "promote", "move"] as const;
const current = 10;

class Writer {
  public readonly codes: number[] = [];
  public put(...values: (number | boolean)[]): void {
    for (const value of values) this.codes.push(Number(value) + shift);
  }
  public list(values: readonly number[]): void {
    this.put(values.length, ...values);
  }
}
class Reader {
  private at = 0;
  public constructor(private readonly text: string) {}
  public num(): number {
    return this.text.charCodeAt(this.at++) - shift;
  }
  public bool(): boolean {
    return this.num() === 1;
  }
  public list(): number[] {
    return Array.from({ length: this.num() }, () => this.num());
  }
}

function putRec(w: Writer, { home, gen, epoch, start, replicas, move }: Rec): void {
  w.put(home, gen, epoch, start, move === undefined ? -1 : move.target * 2 + (move.stopping ? 1 : 0));
  w.list(replicas);
}
function getRec(r: Reader): Rec {
  const [home, gen, epoch, start, moved] = [r.num(), r.num(), r.num(), r.num(), r.num()];
  const move: Move | undefined = moved < 0 ? undefined : { target: moved >> 1, stopping: (moved & 1) === 1 };
  return { home, gen, epoch, start, replicas: r.list(), move };
}
function putPic(w: Writer, pic: Pic, now: Pic): void {
  putRec(w, pic.rec);
  w.put(pic.recRev === now.recRev, pic.leader, pic.leaderGen, pic.leaderRev === now.leaderRev);
  for (const [node, sess] of pic.sess.entries()) w.put(sess.gen, sess.dead, sess.mine, sess.rev === now.sess[node]!.rev);
  w.put(...pic.serving);
}
function getPic(r: Reader, count: number): Pic {
  const rec = getRec(r);
  const rev = (): number => (r.bool() ? current : current - 1);
  const recRev = rev();
  const [leader, leaderGen, leaderRev] = [r.num(), r.num(), rev()];
  const sess = Array.from({ length: count }, (): Sess => {
    const [gen, dead, mine] = [r.num(), r.bool(), r.bool()];
    return { gen, dead, mine, rev: rev() };
  });
  return { rec, recRev, leader, leaderGen, leaderRev, sess, serving: Array.from({ length: count }, () => r.num()) };
}
/** The same picture, told by the same text: a view that lags in nothing is the picture itself. */
const samePic = (a: Pic, b: Pic): boolean => {
  if (a === b) return true;
  const [x, y] = [new Writer(), new Writer()];
  putPic(x, a, b);
  putPic(y, b, b);
  return x.codes.every((code, at) => code === y.codes[at]);
};

function putNode(w: Writer, n: Node, now: Pic): void {
  w.put(n.up, n.ctl, n.fencer, n.worker, n.done, n.fencerDone, n.at, n.fencerBack, n.cut, n.deaf);
  const lag = n.view === undefined ? 0 : samePic(n.view, now) ? 1 : 2;
  w.put(lag);
  if (lag === 2) putPic(w, n.view!, now);
  w.put(n.gen, n.deadline, n.lost, n.promise, n.pendingSince, n.answered, n.liveSince, n.liveUntil, ...n.seen);
  w.put(n.won === undefined ? 0 : n.won.rev === now.leaderRev ? 2 : 1, n.won?.gen ?? 0, n.attempts, n.started, n.checked, n.knows, n.wasLive, n.age, n.given, n.inherits, moverStates.indexOf(n.mover), n.moverTarget, n.moverEpoch, n.lastGuid);
  w.put(n.active, n.mounted, n.mounting, n.stray, n.tableHome, n.tableGen, n.open, n.gate, n.gateHeld, n.dirty, n.readonly, n.diskEpoch);
  if (n.order === undefined) w.put(-1);
  else w.put(n.order.gen, n.order.deadline, n.order.unit ?? -1, n.order.has);
  if (n.note === undefined) w.put(-1);
  else w.put(n.note.gen, noteStates.indexOf(n.note.state));
  if (n.seal === undefined) w.put(-1);
  else w.put(n.seal.epoch, n.seal.generation);
  w.list(n.snaps);
}
function getNode(r: Reader, now: Pic): Node {
  const count = now.sess.length;
  const [up, ctl, fencer, worker, done, fencerDone, at, fencerBack, cut, deaf] = [r.bool(), r.num(), r.num(), r.bool(), r.bool(), r.bool(), r.num(), r.bool(), r.num(), r.num()];
  const lag = r.num();
  const view = lag === 0 ? undefined : lag === 1 ? now : getPic(r, count);
  const [gen, deadline, lost, promise, pendingSince, answered, liveSince, liveUntil] = [r.num(), r.num(), r.bool(), r.num(), r.num(), r.num(), r.num(), r.num()];
  const seen = Array.from({ length: count }, () => r.num());
  const [has, wonGen, attempts, started, checked, knows, wasLive, age, given, inherits, mover, moverTarget, moverEpoch, lastGuid] = [r.num(), r.num(), r.num(), r.num(), r.num(), r.bool(), r.bool(), r.num(), r.num(), r.bool(), r.num(), r.num(), r.num(), r.num()];
  const [active, mounted, mounting, stray, tableHome, tableGen, open, gate, gateHeld, dirty, readonly, diskEpoch] = [r.bool(), r.bool(), r.bool(), r.bool(), r.bool(), r.num(), r.num(), r.num(), r.num(), r.bool(), r.bool(), r.num()];
  const order = ((gen: number): Node["order"] => {
    if (gen < 0) return undefined;
    const [deadline, unit, has] = [r.num(), r.num(), r.bool()];
    return { gen, deadline, unit: unit < 0 ? undefined : unit, has };
  })(r.num());
  const note = ((gen: number): Node["note"] => (gen < 0 ? undefined : { gen, state: noteStates[r.num()]! }))(r.num());
  const seal = ((epoch: number): Node["seal"] => (epoch < 0 ? undefined : { epoch, generation: r.num() }))(r.num());
  const won = has === 0 ? undefined : { gen: wonGen, rev: has === 2 ? current : current - 1 };
  return { up, ctl, fencer, worker, done, fencerDone, at, fencerBack, cut, deaf, view, gen, deadline, lost, promise, pendingSince, answered, liveSince, liveUntil, seen, won, attempts, started, checked, knows, wasLive, age, given, inherits, mover: moverStates[mover]!, moverTarget, moverEpoch, lastGuid, active, mounted, mounting, stray, tableHome, tableGen, open, gate, gateHeld, dirty, readonly, diskEpoch, order, note, seal, snaps: r.list() };
}

/** The canonical text; `state` is settled by it. */
export function encode(state: State): string {
  settle(state);
  const w = new Writer();
  const { etcd } = state;
  w.put(state.nodes.length, state.outage, state.faults, state.moves, state.handed, state.undone);
  putPic(w, etcd, etcd);
  for (const node of state.nodes) putNode(w, node, etcd);
  w.put(state.guids.length);
  for (const { epoch, node } of state.guids) w.put(epoch, node);
  w.put(state.late.length);
  for (const { compare, op } of state.late) {
    w.put(compare.rec !== undefined, compare.leader !== undefined, compare.sess?.node ?? -1);
    if (op.put === "rec") { w.put(0, acts.indexOf(op.act)); putRec(w, op.value); }
    else if (op.put === "sess") w.put(1, op.node, op.gen, op.dead, op.foreign === true);
    else w.put(2, op.node, op.gen);
  }
  w.put(state.streams.length);
  for (const { from, to, epoch, gen, base, guid } of state.streams) w.put(from, to, epoch, gen, base, guid);
  return String.fromCharCode(...w.codes);
}

export function decode(text: string): State {
  const r = new Reader(text);
  const count = r.num();
  const [outage, faults, moves, handed, undone] = [r.bool(), r.num(), r.num(), r.bool(), r.bool()];
  const etcd = getPic(r, count);
  const nodes = Array.from({ length: count }, () => getNode(r, etcd));
  const guids = Array.from({ length: r.num() }, () => ({ epoch: r.num(), node: r.num() }));
  const late = Array.from({ length: r.num() }, () => {
    const [rec, leader, sess] = [r.bool(), r.bool(), r.num()];
    const compare: Compare = { ...(rec ? { rec: current } : {}), ...(leader ? { leader: current } : {}), ...(sess < 0 ? {} : { sess: { node: sess, rev: current } }) };
    const kind = r.num();
    if (kind === 0) {
      const act = acts[r.num()]!;
      return { compare, op: { put: "rec" as const, value: getRec(r), act } };
    }
    return kind === 1 ? { compare, op: { put: "sess" as const, node: r.num(), gen: r.num(), dead: r.bool(), foreign: r.bool() } } : { compare, op: { put: "leader" as const, node: r.num(), gen: r.num() } };
  });
  const streams = Array.from({ length: r.num() }, () => ({ from: r.num(), to: r.num(), epoch: r.num(), gen: r.num(), base: r.num(), guid: r.num() }));
  return { outage, faults, moves, handed, undone, etcd, nodes, guids, late, streams };
}
