/** One state of the model: plain small numbers. Times are whole ticks (1 s) from now: below 0 = past. Nodes are numbers from 0; guids are numbers from 1, 0 = a snapshot that was pruned everywhere. */

export interface Move { target: number; stopping: boolean }
/** The ownership record, as far as the protocol looks at it. */
export interface Rec { home: number; gen: number; epoch: number; start: number; replicas: readonly number[]; move: Move | undefined }
/** `mine`: it is what the node's own heartbeat, whose answer was lost, has written. */
export interface Sess { gen: number; dead: boolean; rev: number; mine: boolean }
/** What etcd holds, or what a node has last seen of it. Replaced, never changed. `serving`: node → epoch at which it has published that it serves, 0 = it does not. */
export interface Pic { rec: Rec; recRev: number; sess: readonly Sess[]; leader: number; leaderGen: number; leaderRev: number; serving: readonly number[] }

export interface Compare { rec?: number; leader?: number; sess?: { node: number; rev: number } }
export type Op = { put: "rec"; value: Rec; act: "" | "hand-over" | "undo" | "promote" | "move" } | { put: "sess"; node: number; gen: number; dead: boolean; /** By a process of the node that is there no more. */ foreign?: boolean } | { put: "leader"; node: number; gen: number };
/** A transaction that its sender has given up, and that may still commit. */
export interface LateTxn { compare: Compare; op: Op }
/** A stream on its way, whose sender has given it up. */
export interface LateStream { from: number; to: number; epoch: number; gen: number; base: number; guid: number }

export type MoverState = "" | "presync" | "announcing" | "quieting" | "finalizing" | "handing-over" | "looking" | "starting" | "undoing";
export interface Order { gen: number; deadline: number; /** Of the unit alone; undefined = the order's. */ unit: number | undefined; has: boolean }
export interface Note { gen: number; state: "fencing" | "fenced" | "overtaken" }

export interface Node {
  /** Machine; control process and fencer: 0 = not there, 1 = runs, 2 = stopped (SIGSTOP). */
  up: boolean; ctl: number; fencer: number; worker: boolean;
  /** Had their turn in this tick; `at`: the act at which a stopped control process goes on. */
  done: boolean; fencerDone: boolean; at: number; /** It goes on in this tick. */ fencerBack: boolean;
  /** 0 = reaches all, 1 = reaches nobody, 2 = does not reach etcd. `deaf`: etcd answers, and its watch brings nothing: 1 = a fault, 2 = until the end of the next turn. */
  cut: number; deaf: number;
  view: Pic | undefined;
  // the control process' memory
  gen: number; deadline: number; lost: boolean; promise: number; pendingSince: number; answered: number; liveSince: number; liveUntil: number;
  seen: number[]; won: { gen: number; rev: number } | undefined; attempts: number; started: number; checked: number; /** It has looked whether the unit serves: `checked` says so, 0 = it does not. */ knows: boolean; wasLive: boolean; age: number; given: number; /** It has had no session yet: it may go on with its predecessor's. */ inherits: boolean;
  mover: MoverState; moverTarget: number; moverEpoch: number; lastGuid: number;
  // the machine's
  active: boolean; mounted: boolean; mounting: boolean; stray: boolean; order: Order | undefined; note: Note | undefined;
  tableHome: boolean; tableGen: number; open: number; gate: number; gateHeld: number;
  // the disk's
  snaps: number[]; dirty: boolean; readonly: boolean; diskEpoch: number; seal: { epoch: number; generation: number } | undefined;
}
export interface State {
  outage: boolean; faults: number; moves: number; etcd: Pic; nodes: Node[]; guids: { epoch: number; node: number }[]; late: LateTxn[]; streams: LateStream[];
  /** Ghosts: how the move that was ordered ended, as the record says. */
  handed: boolean; undone: boolean;
}

export const never = -10;
/** Past times further back than this make no difference to any rule (the longest look back is 8 s). */
const oldest = -9;

export const clone = (state: State): State => ({
  ...state, guids: state.guids.slice(), late: state.late.slice(), streams: state.streams.slice(),
  nodes: state.nodes.map((node) => ({ ...node, seen: node.seen.slice(), snaps: node.snaps.slice() })),
});

/** One second passes for everybody. */
export function tickClocks(state: State): void {
  const ahead = (at: number): number => Math.max(0, at - 1);
  const back = (at: number): number => (at <= oldest ? at : at - 1);
  for (const node of state.nodes) {
    node.deadline = ahead(node.deadline); node.promise = ahead(node.promise); node.given = ahead(node.given); node.gate = ahead(node.gate); node.gateHeld = ahead(node.gateHeld); node.liveUntil = ahead(node.liveUntil);
    node.pendingSince = back(node.pendingSince); node.answered = back(node.answered); node.liveSince = back(node.liveSince); node.seen = node.seen.map(back);
    node.age = Math.min(11, node.age + 1);
    if (node.order !== undefined) node.order = { ...node.order, deadline: ahead(node.order.deadline), unit: node.order.unit === undefined ? undefined : ahead(node.order.unit) };
    node.done = false; node.fencerDone = false; node.fencerBack = false;
  }
}

/** What nobody can tell apart is made equal, so that the space is finite. Each line says why it may be. */
export function settle(state: State): void {
  const { etcd } = state;
  // a compare with a revision that is past never holds again: such a transaction is gone
  state.late = state.late.filter(({ compare }) => (compare.rec ?? etcd.recRev) === etcd.recRev && (compare.leader ?? etcd.leaderRev) === etcd.leaderRev && (compare.sess === undefined || compare.sess.rev === etcd.sess[compare.sess.node]!.rev));
  for (const node of state.nodes) {
    // a process that is not there remembers nothing
    if (node.ctl === 0) Object.assign(node, { view: undefined, gen: 0, deadline: 0, lost: true, promise: 0, pendingSince: never, answered: oldest, liveSince: 0, liveUntil: 0, seen: node.seen.map(() => never), won: undefined, attempts: 0, started: 0, checked: 0, knows: false, wasLive: false, age: 0, given: 0, inherits: true, mover: "", moverTarget: 0, moverEpoch: 0, lastGuid: 0, at: 0, done: false, deaf: 0 });
    if (node.mover === "") Object.assign(node, { moverTarget: 0, moverEpoch: 0, lastGuid: 0 });
    if (node.order !== undefined && !node.order.has) node.order = { ...node.order, unit: undefined };
    if (!node.up) Object.assign(node, { fencerDone: false, fencerBack: false });
    if (!node.mounted) node.stray = false;
  }
  prune(state);
}

/** Retention without its times (plan-prune.ts): of two neighbouring snapshots that the same disks hold, nobody needs the older; nor the oldest that all hold, when they have a newer one in common. */
function prune(state: State): void {
  const { etcd, nodes } = state;
  const needed = new Set<number>();
  for (const pic of [etcd, ...nodes.map(({ view }) => view)]) if (pic !== undefined && pic.rec.gen === 0) needed.add(pic.rec.start);
  for (const { op } of state.late) if (op.put === "rec" && op.value.gen === 0) needed.add(op.value.start);
  for (const { base, guid } of state.streams) needed.add(base).add(guid);
  for (const { lastGuid } of nodes) needed.add(lastGuid);
  const drop = new Set<number>();
  const holders = new Map<number, number>();
  nodes.forEach(({ snaps }, index) => {
    for (const guid of snaps) holders.set(guid, (holders.get(guid) ?? 0) | (1 << index));
  });
  const next = new Map<number, number>();
  for (const { snaps } of nodes) for (let at = 0; at + 1 < snaps.length; at += 1) {
    const [guid, after] = [snaps[at]!, snaps[at + 1]!];
    next.set(guid, next.has(guid) && next.get(guid) !== after ? -1 : after);
  }
  for (const [guid, after] of next) if (after > 0 && !needed.has(guid) && holders.get(guid) === holders.get(after) && (state.guids[guid - 1]!.epoch === state.guids[after - 1]!.epoch || holders.get(guid) === (1 << nodes.length) - 1)) drop.add(guid);
  // numbered anew, in the order of first sight
  const numbers = new Map<number, number>();
  const guids: State["guids"] = [];
  for (const node of nodes) {
    node.snaps = node.snaps.filter((guid) => !drop.has(guid));
    for (const guid of node.snaps) if (!numbers.has(guid)) {
      guids.push(state.guids[guid - 1]!);
      numbers.set(guid, guids.length);
    }
  }
  const to = (guid: number): number => numbers.get(guid) ?? 0;
  const same = numbers.size === state.guids.length && [...numbers].every(([a, b]) => a === b);
  if (same) return;
  for (const node of nodes) {
    node.snaps = node.snaps.map(to);
    node.lastGuid = to(node.lastGuid);
  }
  state.guids = guids;
  const pics = new Map<Pic, Pic>();
  const rec = (value: Rec): Rec => ({ ...value, start: to(value.start) });
  const pic = (value: Pic): Pic => {
    const next = pics.get(value) ?? { ...value, rec: rec(value.rec) };
    pics.set(value, next);
    return next;
  };
  state.etcd = pic(state.etcd);
  for (const node of nodes) if (node.view !== undefined) node.view = pic(node.view);
  state.late = state.late.map((txn) => (txn.op.put === "rec" ? { ...txn, op: { ...txn.op, value: rec(txn.op.value) } } : txn));
  state.streams = state.streams.map((stream) => ({ ...stream, base: to(stream.base), guid: to(stream.guid) }));
}
