import { nameOf, nowMs, recordOf, snapshotOf, stateOf, unit } from "./pictures.js";
import { owns } from "./session.js";
import type { LateStream } from "./state.js";
import { Violation, type World } from "./world.js";

/**
 * Snapshots, streams, seals, stash and promises. Decided by the daemon's: what is sent (replication/logic.ts), what is refused (replication/seal.ts), what is promised (failsafe/plan-failsafe.ts).
 * Told again from receiver.ts and stash.ts: the order of the checks, and what a stash takes away. Nothing here ever removes a snapshot but into the stash (and `prune`, see state.ts).
 */
export function snapshot(w: World, me: number, epoch: number): void {
  const n = w.node(me);
  w.s.guids.push({ epoch, node: me });
  n.snaps.push(w.s.guids.length);
  n.dirty = false;
}

/** Asked before each snapshot, of a round as of a move (replication/start.ts): is the unit's record this node's, and taken by its session? */
export function mayRecord(w: World, me: number): boolean {
  const { view, gen } = w.node(me);
  return view !== undefined && view.rec.home === me && w.rules.mayRecord({ unit, homeGeneration: view.rec.gen }, { generation: gen, owns: () => owns(w, me) });
}

/** Receiver.stash / stashTail: what lies after `common` goes out of the way. False: refused. */
export function stash(w: World, me: number, common: number, owner: number): boolean {
  const n = w.node(me);
  if (n.mounted) return false;
  const at = n.snaps.indexOf(common);
  if (common !== 0 && at < 0) return false;
  if (n.snaps.slice(at + 1).some((guid) => w.s.guids[guid - 1]!.epoch >= owner)) return false;
  n.snaps = n.snaps.slice(0, at + 1);
  n.dirty = false;
  return true;
}

/** Receiver.record: the cached record, or the one in etcd when the cached one does not fit. */
function fits(w: World, me: number, from: number, epoch: number): boolean {
  const { view } = w.node(me);
  const [name, sender] = [nameOf(me), nameOf(from)];
  if (view !== undefined && w.rules.takesStream(recordOf(view.rec, w.count), name, sender, epoch)) return true;
  return w.reachesEtcd(me) && w.rules.takesStream(recordOf(w.s.etcd.rec, w.count), name, sender, epoch);
}

/** Receiver.receive and store. "dirty": written to after its newest snapshot (zfs refuses the increment). */
export function receive(w: World, { from, to, epoch, gen, base, guid }: LateStream): "ack" | "refused" | "dirty" {
  const [n, sender] = [w.node(to), w.node(from)];
  if (!n.up || n.ctl !== 1 || n.mounted || n.diskEpoch > epoch || !fits(w, to, from, epoch)) return "refused";
  if (w.rules.keepsOut(n.seal, { epoch, generation: gen })) return "refused";
  if (n.seal !== undefined && n.seal.epoch < epoch) n.seal = undefined;
  if (n.snaps.at(-1) !== guid) {
    if (n.snaps.at(-1) !== base) return "refused";
    if (n.dirty) return "dirty";
    const steps = sender.snaps.slice(sender.snaps.indexOf(base) + 1, sender.snaps.indexOf(guid) + 1);
    n.snaps.push(...(steps.length === 0 ? [guid] : steps));
    n.diskEpoch = epoch;
    n.readonly = true;
  }
  const { rec } = w.s.etcd;
  if (rec.epoch > epoch && !w.node(rec.home).snaps.includes(guid)) throw new Violation(`${nameOf(to)} acknowledges snapshot ${guid} of ${nameOf(from)}, epoch ${epoch}: the record is at epoch ${rec.epoch} without it`);
  return "ack";
}

/** Sender.send: true when the copy has confirmed the newest snapshot. */
export function send(w: World, me: number, to: number): boolean {
  const n = w.node(me);
  if (n.view === undefined || n.view.rec.home !== me || !owns(w, me) || n.view.sess[to]!.dead) return false;
  const { epoch, gen } = n.view.rec;
  const target = n.snaps.at(-1);
  for (let attempt = 0; attempt < 2; attempt += 1) {
    if (w.call(me, to, `look at ${nameOf(to)}`) !== "ok") return false;
    const copy = w.node(to);
    const decision = w.rules.decide(n.snaps.map((guid) => snapshotOf(w.s, guid)), { exists: true, snapshots: copy.snaps.map((guid) => snapshotOf(w.s, guid)), holdsOrigin: true }, undefined);
    let common: number;
    if (decision.kind === "up-to-date") return true;
    else if (decision.kind === "diverged" || decision.kind === "no-common") common = decision.kind === "diverged" ? Number(decision.common.guid) : 0;
    else if (decision.kind === "incremental") {
      const stream: LateStream = { from: me, to, epoch, gen, base: Number(decision.base.guid), guid: target! };
      if (w.s.streams.length === 0 && w.strikes("late-stream", `a stream to ${nameOf(to)} is on its way, given up by its sender`)) {
        w.s.streams.push(stream);
        return false;
      }
      const seen = receive(w, stream);
      if (seen === "ack") return true;
      if (seen === "refused") return false;
      common = stream.base;
    } else return false;
    // the copy is asked to put its other history into its stash first
    if (!fits(w, to, me, epoch) || !stash(w, to, common, epoch)) return false;
  }
  return false;
}

/** Receiver.seal; its report, or why there is none. */
export function seal(w: World, me: number, asking: { epoch: number; generation: number }): { kind: "report" } | { kind: "none"; promise: string } {
  const n = w.node(me);
  if (!w.reachesEtcd(me)) return { kind: "none", promise: "" };
  const picture = stateOf(w.s.etcd, w.count);
  const record = picture.units.get(unit)!.value;
  if (w.rules.sealRefusal(record, picture.sessions.get(record.home)?.value, asking) !== "") return { kind: "none", promise: "" };
  const stands = w.rules.standingPromise(n.given === 0 ? undefined : nowMs + n.given * 1000, nowMs - n.age * 1000, nowMs);
  if (stands !== undefined) return { kind: "none", promise: stands.why };
  if (w.rules.notesSeal) {
    n.seal = w.rules.laterSeal(n.seal, asking);
  }
  return { kind: "report" };
}

/** Promises.answer: true when it promises. */
export function promise(w: World, me: number, from: number, asking: { epoch: number; generation: number }): boolean {
  const n = w.node(me);
  if (n.view === undefined || w.rules.seesQuorum(-n.answered * 1000)) return false;
  if (w.rules.promiseRefusal(stateOf(n.view, w.count), nameOf(me), { unit, from: nameOf(from), ...asking }, n.seal) !== "") return false;
  n.given = w.rules.promiseMs / 1000;
  return true;
}
