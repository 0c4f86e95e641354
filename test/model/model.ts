import { accepts } from "./agent.js";
import { turn } from "./control.js";
import { decode, encode } from "./encode.js";
import type { Model, Step } from "./explorer.js";
import { check, fence, isFencing, powerOff, powerOn, tick } from "./machine.js";
import { orderMove } from "./move.js";
import { nameOf } from "./pictures.js";
import { receive } from "./data.js";
import type { Rules } from "./rules.js";
import { type Node, never, type Pic, type State } from "./state.js";
import { type FaultKind, Violation, World } from "./world.js";

export interface Bounds { nodes: 2 | 3; faults: number; moves: number; kinds: readonly FaultKind[]; rules: Rules; /** Who leads at first. Default: each in turn. */ leaders?: readonly number[] }

function initialState({ nodes: count, faults, moves }: Bounds, leader: number): State {
  const others = Array.from({ length: count - 1 }, (_, index) => index + 1);
  const etcd: Pic = { rec: { home: 0, gen: 1, epoch: 1, start: 0, replicas: others, move: undefined }, recRev: 10, sess: Array.from({ length: count }, () => ({ gen: 1, dead: false, rev: 10, mine: false })), leader, leaderGen: 1, leaderRev: 10, serving: Array.from({ length: count }, (_, node) => (node === 0 ? 1 : 0)) };
  const nodes = etcd.sess.map((_sess, me): Node => ({
    up: true, ctl: 1, fencer: 1, worker: true, done: false, fencerDone: false, at: 0, fencerBack: false, cut: 0, deaf: 0, view: etcd,
    gen: 1, deadline: 4, lost: false, promise: 0, pendingSince: never, answered: -1, liveSince: -9, liveUntil: 4, seen: etcd.sess.map(() => -1), won: me === leader ? { gen: 1, rev: 10 } : undefined, attempts: 0, started: me === 0 ? 1 : 0, checked: me === 0 ? 1 : 0, knows: me === 0, wasLive: true, age: 11, given: 0, inherits: false,
    mover: "", moverTarget: 0, moverEpoch: 0, lastGuid: 0, active: me === 0, mounted: me === 0, mounting: false, stray: false, order: { gen: 1, deadline: 4, unit: undefined, has: me === 0 }, note: undefined,
    tableHome: me === 0, tableGen: 1, open: me === 0 ? 1 : 0, gate: 4, gateHeld: 0, snaps: [1], dirty: me === 0, readonly: me !== 0, diskEpoch: 1, seal: undefined,
  }));
  return { outage: false, faults, moves, etcd, nodes, guids: [{ epoch: 1, node: 0 }], late: [], streams: [], handed: false, undone: false };
}

const set = (w: World, me: number, values: Partial<Node>): void => void Object.assign(w.node(me), values);

/** `mends`: the node that is away no more by it. */
interface Act { label: string; mends?: number; ticks?: number; run(w: World): void }

/** All well and the same seen by all: then turns of different nodes touch different things (each its own session, the home its own disk and its copies'), so their order makes no difference and one is enough. */
function isCalm({ nodes, etcd, outage, late, streams }: State): boolean {
  const leader = nodes[etcd.leader];
  return !outage && late.length === 0 && streams.length === 0 && etcd.rec.move === undefined && leader?.won?.rev === etcd.leaderRev && etcd.rec.gen === etcd.sess[etcd.rec.home]!.gen
    && nodes.every((n, me) => n.up && n.ctl === 1 && n.fencer === 1 && n.worker && n.cut === 0 && n.deaf === 0 && n.at === 0 && n.view === etcd && !n.lost && n.deadline >= 3 && n.gen === etcd.sess[me]!.gen && !etcd.sess[me]!.dead && !etcd.sess[me]!.mine && n.pendingSince === never && n.note?.state !== "fencing" && n.mover === "" && n.seen.every((at) => at >= -2) && (me === etcd.rec.home) === (n.active && n.checked === etcd.rec.epoch));
}

/** What may happen next without a new fault beginning between the turns, in the order in which a fair run takes it: first what mends, then turns, then time. */
function ordinary(w: World): Act[] {
  const { s } = w;
  const acts: Act[] = [];
  const boundary = s.nodes.every(({ done, fencerDone, at, ctl }) => !done && !fencerDone && (at === 0 || ctl === 2));
  const at = (index: number): string => nameOf(index);
  // machines and links come back between two seconds; within one it would make no difference to anybody
  if (boundary) {
    s.nodes.forEach((n, me) => {
      if (!n.up) acts.push({ label: `${at(me)} is switched on`, mends: me, run: (v) => powerOn(v.node(me)) });
      else if (n.ctl === 0) acts.push({ label: `hcd on ${at(me)} starts again`, mends: me, run: (v) => void Object.assign(v.node(me), { ctl: 1, age: 0 }) });
      if (n.cut !== 0) acts.push({ label: `${at(me)} is reached again`, mends: me, run: (v) => { set(v, me, { cut: 0 }); v.catchUp(me); } });
      if (n.deaf === 1) acts.push({ label: `the watch of ${at(me)} goes on`, run: (v) => { set(v, me, { deaf: 0 }); v.catchUp(me); } });
    });
    if (s.outage) acts.push({ label: "etcd has a quorum again", run: (v) => void Object.assign(v.s, { outage: false }) });
  }
  s.nodes.forEach((n, me) => {
    if (n.ctl === 2) {
      acts.push({ label: `hcd on ${at(me)} goes on`, mends: me, run: (v) => { set(v, me, { ctl: 1 }); v.catchUp(me); } });
      if (n.view !== s.etcd && n.deaf === 0) acts.push({ label: `hcd on ${at(me)} goes on, with its old picture`, mends: me, run: (v) => void Object.assign(v.node(me), { ctl: 1, deaf: 2 }) });
    }
    if (n.fencer === 2 && n.up) acts.push({ label: `the fencer on ${at(me)} goes on`, run: (v) => void Object.assign(v.node(me), { fencer: 1, fencerBack: true }) });
    if (!n.worker && n.up) acts.push({ label: `the worker on ${at(me)} goes on`, run: (v) => set(v, me, { worker: true }) });
    if (n.mounting) acts.push({ label: `the mount on ${at(me)} is done`, run: (v) => void Object.assign(v.node(me), { mounting: false, mounted: true, stray: true }) });
  });
  s.late.forEach(({ compare, op }, index) => {
    const what = op.put === "rec" ? op.act || "change" : op.put === "sess" ? (op.dead ? "death" : "heartbeat") : "election";
    acts.push({ label: `the late ${what} commits`, run: (v) => { v.s.late.splice(index, 1); if (v.holds(compare)) v.commit(op, true); } });
    acts.push({ label: `the late ${what} is gone for good`, run: (v) => void v.s.late.splice(index, 1) });
  });
  s.streams.forEach((stream, index) => {
    acts.push({ label: `the late stream reaches ${at(stream.to)}`, run: (v) => { v.s.streams.splice(index, 1); receive(v, stream); } });
    acts.push({ label: "the late stream is gone for good", run: (v) => void v.s.streams.splice(index, 1) });
  });
  const turns: Act[] = [];
  s.nodes.forEach((n, me) => {
    if (n.ctl === 1 && !n.done) turns.push({ label: `turn of ${at(me)}`, run: (v) => { turn(v, me); v.node(me).stray = false; } });
    if (isFencing(w, me)) turns.push({ label: `fencer of ${at(me)}`, run: (v) => { fence(v, me); v.node(me).stray = false; } });
  });
  if (turns.length === 0) acts.push({ label: "a second passes", ticks: 1, run: tick });
  else acts.push(...(isCalm(s) ? turns.slice(0, 1) : turns));
  return acts;
}

/** What may go wrong between two turns. */
function faults(w: World, kinds: ReadonlySet<FaultKind>): Act[] {
  const acts: Act[] = [];
  const add = (kind: FaultKind, label: string, run: (v: World) => void): void => {
    if (kinds.has(kind)) acts.push({ label, run: (v) => { v.s.faults -= 1; run(v); } });
  };
  w.s.nodes.forEach((n, me) => {
    const name = nameOf(me);
    if (!n.up) return;
    add("power", `${name} loses power`, (v) => { powerOff(v.node(me)); v.forget(me); });
    if (n.ctl !== 0) add("crash", `hcd on ${name} is killed`, (v) => { set(v, me, { ctl: 0 }); v.forget(me); });
    if (n.fencer === 1) add("stop-fencer", `the fencer on ${name} is stopped`, (v) => set(v, me, { fencer: 2 }));
    if (n.worker && n.open > 0) add("stop-worker", `the worker on ${name} is stopped`, (v) => set(v, me, { worker: false }));
    if (n.cut === 0) add("cut", `${name} is cut off`, (v) => set(v, me, { cut: 1 }));
    if (n.cut === 0) add("cut-etcd", `${name} does not reach etcd`, (v) => set(v, me, { cut: 2 }));
    if (n.deaf === 0 && n.ctl === 1) add("deaf", `the watch of ${name} lags`, (v) => set(v, me, { deaf: 1 }));
  });
  if (!w.s.outage) add("quorum", "etcd has no quorum", (v) => void Object.assign(v.s, { outage: true }));
  return acts;
}

export function makeModel(bounds: Bounds): Model {
  const kinds = new Set(bounds.kinds);
  const leaders = bounds.leaders ?? Array.from({ length: bounds.nodes }, (_, node) => node);
  return {
    fairKinds: ["all mended", "one node away for good"],
    initial: () => leaders.map((leader) => encode(initialState(bounds, leader))),
    good: (text) => {
      const w = new World(decode(text), bounds.rules, [], kinds);
      return w.s.nodes.some((_node, me) => accepts(w, me));
    },
    successors(text) {
      const w = new World(decode(text), bounds.rules, [], kinds);
      const acts = ordinary(w);
      // all is mended; or all but one node, which stays away for good
      const away = w.s.nodes.findIndex(({ up, ctl, cut }) => !up || ctl !== 1 || cut !== 0);
      const plain = ({ label }: Act): boolean => !label.endsWith("with its old picture") && !label.endsWith("is gone for good");
      const fair = [acts.findIndex(plain), acts.findIndex((act) => plain(act) && (act.mends === undefined || act.mends !== away))];
      const moves: Act[] = w.s.moves === 0 ? [] : w.s.nodes.flatMap((n, me) => (n.ctl === 1 && n.view?.rec.home === me ? w.s.nodes.flatMap((_other, to): Act[] => (to === me ? [] : [{ label: `hc move to ${nameOf(to)}`, run: (v) => { v.s.moves -= 1; orderMove(v, me, to); } }])) : []));
      const all = [...acts, ...moves, ...(w.s.faults === 0 ? [] : faults(w, kinds))];
      const steps: Step[] = [];
      const fairAt = fair.map(() => -1);
      all.forEach((act, index) => {
        // the act as it goes by itself, then once more for each point at which a fault may strike in it
        const scripts: boolean[][] = [[]];
        for (let script = scripts.pop(); script !== undefined; script = scripts.pop()) {
          const run = new World(decode(text), bounds.rules, script, kinds);
          if (script.length === 0) fair.forEach((one, kind) => {
            if (one === index) fairAt[kind] = steps.length;
          });
          steps.push(perform(run, act));
          for (let point = script.length; point < run.points; point += 1) scripts.push([...script, ...Array.from({ length: point - script.length }, () => false), true]);
        }
      });
      return { steps, fair: fairAt };
    },
  };
}

function perform(w: World, { label, ticks = 0, run }: Act): Step {
  try {
    run(w);
    check(w);
    return { label: [label, ...w.told].join("; "), state: encode(w.s), ticks };
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return { label: [label, ...w.told].join("; "), state: "", ticks, violation: error.message };
  }
}
