import type { FencePlan } from "../../daemon/fencer/plan-fence.js";
import type { FenceOrder } from "../../daemon/fencer/parse-fence.js";
import { accepts } from "./agent.js";
import { msOf, nameOf, nowMs, unit } from "./pictures.js";
import { noteOf } from "./session.js";
import { type Node, tickClocks } from "./state.js";
import { Stopped, Violation, type World } from "./world.js";

/** The fencer, what befalls machines, and time. The fencer's decisions are planFence's and afterTry's; kill and unmount always work (that they may not is fencer.test.ts's). */
const orderOf = ({ order }: Node): FenceOrder | undefined =>
  order === undefined ? undefined : { version: 1, bootId: "boot", generation: order.gen, deadlineMs: msOf(order.deadline), units: order.has ? [{ unit, dataset: unit, mountpoint: unit, ...(order.unit === undefined ? {} : { deadlineMs: msOf(order.unit) }) }] : [] };
const plan = (w: World, me: number): FencePlan => w.rules.planFence(orderOf(w.node(me)), noteOf(w.node(me)), nowMs);
const remains = (n: Node): boolean => n.order?.has === true && (n.mounted || n.active);

/** Has the fencer something to do? */
export function isFencing(w: World, me: number): boolean {
  const n = w.node(me);
  if (!n.up || n.fencer !== 1 || n.fencerDone || !w.rules.fencerActs) return false;
  const next = plan(w, me);
  if (next.do === "wait") return false;
  if (next.do === "part") return remains(n);
  return next.do !== "fence" || next.begin || n.note?.state !== "fenced" || remains(n);
}

/** Fencer.step until it waits: the note first, then the order once more, then the end of the units. */
export function fence(w: World, me: number): void {
  const n = w.node(me);
  const mayStop = (): void => {
    if (w.strikes("stop-fencer", `the fencer on ${nameOf(me)} is stopped`)) throw new Stopped();
  };
  try {
    mayStop();
    const next = plan(w, me);
    if (next.do === "yield") n.note = { gen: next.note.generation, state: "overtaken" };
    else if (next.do === "forget") n.note = undefined;
    else if (next.do === "part") end(n);
    else if (next.do === "fence") {
      if (next.begin || n.note === undefined) n.note = { gen: next.order.generation, state: "fencing" };
      else if (n.note.state === "fenced" && remains(n)) n.note = { ...n.note, state: "fencing" };
      mayStop();
      if (["fence", "part"].includes(plan(w, me).do)) end(n);
      const left = remains(n) ? [{ unit, why: "" }] : [];
      n.note = { gen: n.note.gen, state: w.rules.afterTry(noteOf(n)!, left, nowMs).state as "fencing" };
    }
    n.fencerDone = true;
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    n.fencer = 2;
  }
}
function end(n: Node): void {
  if (n.order?.has !== true) return;
  n.active = false;
  n.mounted = false;
}

export function powerOff(n: Node): void {
  Object.assign(n, { up: false, ctl: 0, fencer: 1, worker: true, active: false, mounted: false, mounting: false, stray: false, order: undefined, note: undefined, tableHome: false, tableGen: 0, open: 0, gate: 0, gateHeld: 0 });
}
export function powerOn(n: Node): void {
  Object.assign(n, { up: true, ctl: 1, age: 0 });
}

/** What must hold in every state. */
export function check(w: World): void {
  const { s } = w;
  const takers = s.nodes.flatMap((_node, index) => (accepts(w, index) ? [nameOf(index)] : []));
  if (takers.length > 1) throw new Violation(`${takers.join(" and ")} accept writes at the same moment`);
  const mounted = s.nodes.flatMap((node, index) => (node.up && node.mounted && !node.stray ? [index] : []));
  if (mounted.length < 2) return;
  // while the session lives, the record ends a mount, as soon as it is seen; after it the fencer does, and the control process too
  for (const index of mounted) {
    const n = s.nodes[index]!;
    if (s.etcd.rec.home === index) continue;
    // verified within a second of the deadline: one that was not stopped has done it long before anybody else may mount
    const fencer = n.fencer === 1 && !n.fencerBack && (n.order?.has !== true || n.order.deadline === 0);
    if (fencer || (n.ctl === 1 && n.done && n.view === s.etcd)) throw new Violation(`mounted writable on ${mounted.map(nameOf).join(" and ")}, and on ${nameOf(index)} nobody ends it`);
  }
}

/** All who run have had their turn: a second passes. A client writes to every node each second. */
export function tick(w: World): void {
  w.s.nodes.forEach((node, index) => {
    if (accepts(w, index)) node.dirty = true;
  });
  tickClocks(w.s);
}
