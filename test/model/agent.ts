import type { UnitPlan } from "../../daemon/agent/plan-unit.js";
import type { Step } from "../../daemon/agent/steps.js";
import type { RouteTable } from "../../daemon/proxy/routes.js";
import { inputsOf, nameOf, nowMs, planKey, unit } from "./pictures.js";
import { holdsUnit, isLive, owns, standingOf } from "./session.js";
import { stash } from "./data.js";
import type { World } from "./world.js";

/** The agent: planUnit decides, its steps are done one after the other until one fails, then it plans anew. */
const mostRounds = 6;
const plans = new WeakMap<object, Map<string, UnitPlan>>();

function planOf(w: World, me: number): UnitPlan {
  const { view } = w.node(me);
  const [live, held] = [isLive(w, me), holdsUnit(w, me)];
  const known = plans.get(w.rules.planUnit) ?? new Map<string, UnitPlan>();
  plans.set(w.rules.planUnit, known);
  const key = planKey(w.s, me, view!, live, held);
  let plan = known.get(key);
  if (plan === undefined) {
    const { input, unitInput } = inputsOf(w.s, me, view!, live, held);
    plan = w.rules.planUnit(input, unitInput);
    known.set(key, plan);
  }
  return plan;
}

export function agent(w: World, me: number): void {
  const n = w.node(me);
  if (n.view === undefined) return;
  if (isLive(w, me)) n.wasLive = true;
  // AgentLoop.counted: a process that comes up again does not stop what its predecessor left serving
  if (!w.rules.knowsStanding({ live: false, wasLive: n.wasLive, sinceStartMs: n.age * 1000, missed: n.order?.deadline === 0 })) return;
  if (!n.active) n.started = n.checked = 0; // "its container ended by itself"
  // AgentLoop.round: what is found down is told to the gate, and what left home is forgotten
  if (n.view.rec.home !== me) n.knows = false;
  else if (!n.active || !n.mounted) {
    n.checked = 0;
    n.knows = true;
  }
  for (let round = 0; round < mostRounds; round += 1) {
    const { steps } = planOf(w, me);
    if (steps.length === 0 || !steps.every((step) => execute(w, me, step))) break;
  }
  if (n.order?.has === true && !n.mounted && !n.active && !n.mounting) n.order = { ...n.order, has: false };
  const { rec } = n.view;
  // describe.ts: "serving"
  w.publish(me, rec.home === me && n.mounted && n.active && n.checked === rec.epoch ? rec.epoch : 0);
  push(w, me);
}

/** proxy/control.ts: table and deadlines to the workers. */
export function push(w: World, me: number): void {
  const n = w.node(me);
  if (!n.worker) return;
  if (n.view !== undefined) {
    const [node, { open }] = [nameOf(me), n];
    // what is open already is what the process before has told, in its generation
    const before: RouteTable | undefined = n.tableGen === n.gen ? { version: 1, revision: "", node, hosts: {}, units: { [unit]: { home: n.tableHome ? node : "", epoch: open, open: open > 0 } }, nodes: {}, apachePort: 80 } : undefined;
    const route = w.rules.buildRoutes(w.view(me), node, n.gen, 80, 0, { serving: new Map(n.knows ? [[unit, n.checked]] : []), before }).units[unit];
    n.tableGen = n.gen;
    n.tableHome = route?.home === nameOf(me);
    n.open = route?.open === true ? route.epoch : 0;
  }
  const standing = standingOf(n);
  const held = w.rules.heldBy(standing, nowMs).get(unit);
  const next = w.rules.laterDeadlines(deadlinesOf(w, me), standing.lost ? 0 : standing.deadlineMs, held === undefined ? {} : { [unit]: held }, nowMs);
  n.gate = Math.max(0, Math.round((next.all - nowMs) / 1000));
  n.gateHeld = Math.max(0, Math.round(((next.held.get(unit) ?? nowMs) - nowMs) / 1000));
}
const deadlinesOf = (w: World, me: number): { all: number; held: ReadonlyMap<string, number> } => {
  const { gate, gateHeld } = w.node(me);
  return { all: nowMs + gate * 1000, held: gateHeld === 0 ? new Map() : new Map([[unit, nowMs + gateHeld * 1000]]) };
};

/** A write that comes to this node now is taken, and reaches the disk: gate, container, mount. */
export function accepts(w: World, me: number): boolean {
  const n = w.node(me);
  if (!n.up || !n.worker || !n.active || !n.mounted || n.open === 0) return false;
  const node = nameOf(me);
  return w.rules.isServable({ version: 1, revision: "", node, hosts: {}, units: { [unit]: { home: n.tableHome ? node : "", epoch: n.open, open: n.open > 0 } }, nodes: {}, apachePort: 80 }, deadlinesOf(w, me), unit, nowMs);
}

function isHome(w: World, me: number): boolean {
  const n = w.node(me);
  try {
    w.rules.assertHome({ view: { current: () => w.view(me), onChange: () => () => undefined }, session: { generation: n.gen, owns: () => owns(w, me) }, cluster: { node: nameOf(me) } } as unknown as Parameters<World["rules"]["assertHome"]>[0], unit);
    return true;
  } catch {
    return false;
  }
}

/** execute-unit.ts. False: it did not work, or nothing more can be done now. */
function execute(w: World, me: number, step: Step): boolean {
  const n = w.node(me);
  const view = n.view!;
  w.mayStop(me);
  switch (step.action) {
    case "stop":
      n.active = false;
      n.started = n.checked = 0;
      n.knows = true;
      return true;
    case "unmount":
      n.mounted = false;
      return true;
    case "set-properties": {
      const epoch = step.properties["hybridcluster:epoch"];
      if (step.properties["readonly"] !== undefined) n.readonly = step.properties["readonly"] === "on";
      if (epoch !== undefined) n.diskEpoch = Number(epoch);
      if (step.properties["readonly"] === undefined && epoch === undefined) throw new Error(`the model knows nothing of ${JSON.stringify(step.properties)}`);
      return true;
    }
    case "take-home": {
      const { rec, recRev } = w.s.etcd;
      if (!w.reachesEtcd(me) || rec.home !== me || rec.gen === n.gen || !isLive(w, me)) return false;
      return w.txn(me, { rec: recRev }, { put: "rec", value: { ...rec, gen: n.gen }, act: "" }, `${nameOf(me)} takes the unit`) === "ok" && n.view === w.s.etcd;
    }
    case "stash-tail":
      if (view.rec.home !== me || view.rec.gen !== 0 || !isLive(w, me)) return false;
      return stash(w, me, view.rec.start, view.rec.epoch);
    case "mount-writable":
      // the fencer knows it before it is mounted
      if (!isHome(w, me) || n.order === undefined || n.mounting) return false;
      n.order = { ...n.order, has: true };
      n.readonly = false;
      if (w.strikes("slow-mount", `the mount on ${nameOf(me)} takes its time`)) {
        n.mounting = true;
        return false;
      }
      n.mounted = true;
      return true;
    case "start":
      if (!isHome(w, me) || !n.mounted) return false;
      // what runs from the same text goes on; a new process knows by its mark
      if (!n.active || n.started !== view.rec.epoch) n.checked = 0;
      n.active = true;
      n.started = view.rec.epoch;
      return true;
    case "check":
      if (!n.active || !n.mounted) return false;
      n.checked = n.started;
      n.knows = true;
      return true;
    default:
      throw new Error(`the model knows no step ${step.action}`);
  }
}
