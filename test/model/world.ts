import { nameOf, recordOf, stateOf } from "./pictures.js";
import type { Rules } from "./rules.js";
import type { Compare, Node, Op, Pic, State } from "./state.js";
import type { ClusterState } from "../../daemon/state/cluster-state.js";

/** Each costs one of the faults that a run may have; what ends a fault costs nothing. */
export const faultKinds = ["power", "crash", "stop", "stop-fencer", "stop-worker", "cut", "cut-etcd", "quorum", "deaf", "lost-answer", "late-txn", "lost-call", "late-stream", "slow-mount"] as const;
export type FaultKind = (typeof faultKinds)[number];

/** The process was stopped (SIGSTOP) before its next act. */
export class Stopped extends Error {}
/** An invariant does not hold. */
export class Violation extends Error {}

export type TxnOutcome = "ok" | "refused" | "unsure" | "away";

/** One transition in the making: the state, and the choices that the explorer makes at each point where a fault may strike. */
export class World {
  /** Points where another choice was possible. */
  public points = 0;
  public readonly told: string[] = [];
  public constructor(public readonly s: State, public readonly rules: Rules, private readonly script: readonly boolean[], private readonly kinds: ReadonlySet<FaultKind>) {}

  public get count(): number {
    return this.s.nodes.length;
  }
  public node(index: number): Node {
    return this.s.nodes[index]!;
  }
  public view(index: number): ClusterState {
    return stateOf(this.node(index).view!, this.count);
  }
  /** Does this fault strike here? */
  public strikes(kind: FaultKind, what: string): boolean {
    if (this.s.faults === 0 || !this.kinds.has(kind)) return false;
    const chosen = this.script[this.points] === true;
    this.points += 1;
    if (chosen) {
      this.s.faults -= 1;
      this.told.push(what);
    }
    return chosen;
  }
  public say(text: string): void {
    this.told.push(text);
  }
  /** Before each act of a control process: it may be stopped here, in the middle of its turn. */
  public mayStop(me: number): void {
    if (this.strikes("stop", `hcd on ${nameOf(me)} is stopped`)) throw new Stopped();
  }

  // ---- who reaches whom
  public get quorum(): boolean {
    const voters = this.s.nodes.filter(({ up, cut }) => up && cut === 0).length + (this.count === 2 ? 1 : 0);
    return !this.s.outage && voters >= 2;
  }
  public reachesEtcd(me: number): boolean {
    const { up, cut } = this.node(me);
    return up && cut === 0 && this.quorum;
  }
  public follows(me: number): boolean {
    const { ctl, cut, deaf, view } = this.node(me);
    return ctl === 1 && cut === 0 && deaf === 0 && view !== undefined;
  }
  /** A call between control processes: done, done and the answer lost, or not done. */
  public call(from: number, to: number, what: string): "ok" | "lost" | "away" {
    const [a, b] = [this.node(from), this.node(to)];
    if (from === to) return "ok";
    if (!a.up || !b.up || a.cut === 1 || b.cut === 1 || b.ctl !== 1) return "away";
    return this.strikes("lost-call", `the answer to ${what} is lost`) ? "lost" : "ok";
  }

  // ---- etcd
  public txn(me: number, compare: Compare, op: Op, what: string): TxnOutcome {
    if (!this.reachesEtcd(me)) return "away";
    if (this.s.late.length < 2 && this.holds(compare) && this.strikes("late-txn", `${what}: given up, it may commit later`)) {
      this.s.late.push({ compare, op });
      return "unsure";
    }
    if (!this.holds(compare)) return "refused";
    const lost = this.strikes("lost-answer", `${what}: commits, its answer is lost`);
    this.commit(op, lost);
    return lost ? "unsure" : "ok";
  }
  public holds({ rec, leader, sess }: Compare): boolean {
    const { etcd } = this.s;
    return (rec === undefined || rec === etcd.recRev) && (leader === undefined || leader === etcd.leaderRev) && (sess === undefined || sess.rev === etcd.sess[sess.node]!.rev);
  }
  /** Watches bring it to whoever follows, at once; a watch that lags is the fault "deaf". */
  public commit(op: Op, unanswered: boolean): void {
    const { s } = this;
    const before = s.etcd;
    if (op.put === "rec") {
      this.checkRecord(op);
      s.etcd = { ...before, rec: op.value, recRev: before.recRev + 1 };
    } else if (op.put === "leader") s.etcd = { ...before, leader: op.node, leaderGen: op.gen, leaderRev: before.leaderRev + 1 };
    else s.etcd = { ...before, sess: before.sess.map((sess, node) => (node === op.node ? { gen: op.gen, dead: op.dead, rev: sess.rev + 1, mine: unanswered && !op.dead && op.foreign !== true } : sess)) };
    for (let node = 0; node < this.count; node += 1) if (this.follows(node)) this.show(node, s.etcd);
  }
  /** A mutant's: the record changes, and its revision does not. */
  public unfence(value: Pic["rec"]): void {
    this.amend({ ...this.s.etcd, rec: value });
  }
  /** A control process is gone: heartbeats name their process, so none of its own is taken for one of the next. */
  public forget(me: number): void {
    this.found(me);
    this.s.late = this.s.late.map((txn) => (txn.op.put === "sess" && !txn.op.dead && txn.op.node === me ? { ...txn, op: { ...txn.op, foreign: true } } : txn));
  }
  /** The answer of a heartbeat was found after all. */
  public found(me: number): void {
    this.amend({ ...this.s.etcd, sess: this.s.etcd.sess.map((sess, node) => (node === me ? { ...sess, mine: false } : sess)) });
  }
  public publish(me: number, epoch: number): void {
    const { etcd } = this.s;
    if (etcd.serving[me] === epoch || !this.reachesEtcd(me)) return;
    const next = { ...etcd, serving: etcd.serving.map((one, node) => (node === me ? epoch : one)) };
    this.s.etcd = next;
    for (let node = 0; node < this.count; node += 1) if (this.follows(node)) this.show(node, next);
  }
  private amend(next: Pic): void {
    const before = this.s.etcd;
    this.s.etcd = next;
    for (const node of this.s.nodes) if (node.view === before) node.view = next;
  }
  /** A node sees this picture: sessions that changed are signs of life; that one was declared dead is none. */
  private show(me: number, next: Pic): void {
    const n = this.node(me);
    next.sess.forEach((sess, node) => {
      if (!sess.dead && n.view?.sess[node]?.rev !== sess.rev) n.seen[node] = 0;
    });
    n.view = next;
  }
  public catchUp(me: number): void {
    if (this.follows(me)) this.show(me, this.s.etcd);
  }
  /** The first full read of a control process. */
  public load(me: number): void {
    if (this.node(me).view === undefined && this.reachesEtcd(me)) this.show(me, this.s.etcd);
  }

  // ---- what must hold when the record changes
  private checkRecord(op: Extract<Op, { put: "rec" }>): void {
    const { s } = this;
    const { rec } = s.etcd;
    const next = op.value;
    const holders = (record: typeof rec): string => [record.home, ...record.replicas].sort().join();
    if (holders(rec) !== holders(next)) throw new Violation(`a copy is named no more: ${holders(rec)} → ${holders(next)}`);
    if (op.act === "hand-over") s.handed = true;
    if (op.act === "undo") s.undone = true;
    if (s.handed && s.undone) throw new Violation("the move is both undone and handed over");
    if (next.epoch === rec.epoch) return;
    // what a sealed copy holds of the old owner's history was acknowledged: the new history has it
    const [old, chosen] = [this.node(rec.home).snaps, this.node(next.home).snaps];
    const kept = new Set(chosen.slice(0, chosen.indexOf(next.start) + 1));
    if (kept.size === 0) throw new Violation(`${nameOf(next.home)} does not hold the snapshot with which its epoch starts`);
    s.nodes.forEach((node, index) => {
      const answered = index === next.home || (node.seal !== undefined && this.rules.keepsOut(node.seal, { epoch: rec.epoch, generation: rec.gen }));
      const missing = answered && index !== rec.home ? node.snaps.find((guid) => old.includes(guid) && !kept.has(guid)) : undefined;
      if (missing !== undefined) throw new Violation(`snapshot ${missing}, acknowledged by ${nameOf(index)}, is not in the history that goes on at ${nameOf(next.home)}`);
    });
  }
  public record(pic: Pic): ReturnType<typeof recordOf> {
    return recordOf(pic.rec, this.count);
  }
}
