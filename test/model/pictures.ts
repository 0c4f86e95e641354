import type { NodeInput, LocalDataset, UnitInput } from "../../daemon/agent/model.js";
import { serviceText, siteRun, siteText } from "../../daemon/agent/site-run.js";
import { packText } from "../../daemon/lib/packed-text.js";
import type { ObservedUnit, SnapshotInfo, UnitRecord } from "../../daemon/lib/records.js";
import { parseSize } from "../../daemon/lib/sizes.js";
import { type ClusterState, desiredOf } from "../../daemon/state/cluster-state.js";
import { makeSnapshotName } from "../../daemon/zfs/snapshot-name.js";
import { StateBuilder } from "../unit/placement/fixture.js";
import type { Node, Pic, Rec, State } from "./state.js";

/** The model's numbers as what the daemon's functions are given, and back. */
export const unit = "site-a";
export const names = ["n1", "n2", "n3"] as const;
/** Now, in ms of every clock: all clocks are one clock (the rules compare times of one machine only). */
export const nowMs = 1_000_000;
export const msOf = (tick: number): number => nowMs + tick * 1000;
export const tickOf = (ms: number): number => Math.round((ms - nowMs) / 1000);
export const nameOf = (node: number): string => names[node]!;
export const nodeOf = (name: string): number => names.indexOf(name as (typeof names)[number]);

const root = "hpool/hc";
const moveId = "move";
const bases = new Map<number, ClusterState>();
/** Documents, nodes and pools: the same in every state. */
function baseOf(count: number): ClusterState {
  let base = bases.get(count);
  if (base === undefined) {
    const builder = new StateBuilder();
    for (let node = 0; node < count; node += 1) builder.node(nameOf(node), { freeBytes: "900000000000" });
    base = builder.cluster([...names.slice(0, count)]).customer("acme").template("php").site("a").unit("a", "n1", ["n2"]).build();
    bases.set(count, base);
  }
  return base;
}

const recKey = ({ home, gen, epoch, start, replicas, move }: Rec): string => `${home},${gen},${epoch},${start},${replicas.join("")}${move === undefined ? "" : `,${move.target}${move.stopping}`}`;
export const picKey = (pic: Pic): string => `${recKey(pic.rec)};${pic.recRev};${pic.leader},${pic.leaderGen},${pic.leaderRev};${pic.sess.map(({ gen, dead, rev }) => `${gen}${dead ? "x" : "."}${rev}`).join(",")};${pic.serving.join(",")}`;

const records = new Map<string, UnitRecord>();
export function recordOf(rec: Rec, count: number): UnitRecord {
  const key = `${count}/${recKey(rec)}`;
  let record = records.get(key);
  if (record === undefined) {
    record = {
      ...baseOf(count).units.get(unit)!.value, home: nameOf(rec.home), homeGeneration: rec.gen, epoch: rec.epoch, epochStartGuid: rec.start === 0 ? "pruned" : String(rec.start), replicas: rec.replicas.map(nameOf),
      ...(rec.move === undefined ? {} : { move: { id: moveId, target: nameOf(rec.move.target), phase: rec.move.stopping ? "stopping" : "presync", reason: "" } }),
    };
    records.set(key, record);
  }
  return record;
}
export const moveOf = (target: number): { id: string; target: string } => ({ id: moveId, target: nameOf(target) });
/** What a daemon's function made of a record. */
export const recOf = (record: UnitRecord): Rec => ({ home: nodeOf(record.home), gen: record.homeGeneration, epoch: record.epoch, start: Number(record.epochStartGuid) || 0, replicas: record.replicas.map(nodeOf), move: record.move === undefined ? undefined : { target: nodeOf(record.move.target), stopping: record.move.phase === "stopping" } });

const states = new Map<string, ClusterState>();
export function stateOf(pic: Pic, count: number): ClusterState {
  const key = `${count}/${picKey(pic)}`;
  let state = states.get(key);
  if (state === undefined) {
    const base = baseOf(count);
    state = {
      ...base, revision: "100",
      units: new Map([[unit, { value: recordOf(pic.rec, count), revision: String(pic.recRev) }]]),
      sessions: new Map(pic.sess.map(({ gen, dead, rev }, node) => [nameOf(node), { value: { version: 1, node: nameOf(node), generation: gen, counter: 1, ...(dead ? { dead } : {}) }, revision: String(rev) }])),
      observedUnits: new Map(pic.serving.map((epoch, node) => [nameOf(node), new Map([[unit, { epoch, state: epoch > 0 ? "serving" : "starting", mounted: epoch > 0, usedBytes: "0", writtenBytes: "0", snapshots: [], replicas: {}, error: "", appliedRevision: "0" } satisfies ObservedUnit]])])),
      leader: pic.leader < 0 ? undefined : { value: { version: 1, node: nameOf(pic.leader), generation: pic.leaderGen, term: 1 }, revision: String(pic.leaderRev) },
    };
    states.set(key, state);
  }
  return state;
}

export const snapshotOf = (state: Pick<State, "guids">, guid: number): SnapshotInfo => {
  const { epoch, node } = state.guids[guid - 1]!;
  return { name: makeSnapshotName(epoch, guid * 1000, nameOf(node)), guid: String(guid), createtxg: String(guid), atMs: guid * 1000 };
};

/** The plan of a node's agent for the unit is pure: the same key, the same plan. */
export const planKey = (state: State, me: number, pic: Pic, live: boolean, held: boolean): string => {
  const n = state.nodes[me]!;
  return `${state.nodes.length}/${me}/${recKey(pic.rec)}/${live}${held}${n.gen}/${n.mounted}${n.readonly}${n.diskEpoch}${n.active},${n.started},${n.checked}/${n.snaps.map((guid) => `${guid}.${state.guids[guid - 1]!.epoch}`).join(" ")}`;
};
export function inputsOf(state: State, me: number, pic: Pic, live: boolean, held: boolean): { input: NodeInput; unitInput: UnitInput } {
  const count = state.nodes.length;
  const n: Node = state.nodes[me]!;
  const picture = stateOf(pic, count);
  const record = picture.units.get(unit)!;
  const document = desiredOf(picture, "site", "a")!;
  const customer = picture.customers.get("acme")!.value;
  const run = (epoch: number): string => siteText(siteRun(nameOf(me), "/hc", { ...record.value, epoch }, document.value, customer));
  const home = pic.rec.home === me;
  const local: LocalDataset = {
    dataset: `${root}/${unit}`, mounted: n.mounted, readonly: n.readonly, usedBytes: "0",
    // what only describes the unit is in order: it is no part of the protocol
    quotaBytes: home ? parseSize(document.value.spec.quota, "quota").toString() : "0",
    user: { unit, epoch: String(n.diskEpoch), home: record.value.home, state: "live", revision: document.revision, definition: packText(JSON.stringify(document.value)) ?? "" },
    snapshots: n.snaps.map((guid) => snapshotOf(state, guid)),
  };
  const unitInput: UnitInput = { id: unit, record, document, customer, local, service: n.active ? "active" : "inactive", trash: [], homeHolds: true, configured: serviceText(siteRun(nameOf(me), "/hc", record.value, document.value, customer)), started: n.started === 0 ? "" : run(n.started), checked: n.checked === 0 ? "" : run(n.checked) };
  const input: NodeInput = { node: nameOf(me), dataset: root, data: "/hc", session: { live, generation: n.gen, held: held ? [unit] : [] }, units: [unitInput], trashed: new Map(), trash: new Map(), templates: new Map(), builds: [], customers: new Map(), users: [], configured: "" };
  return { input, unitInput };
}
