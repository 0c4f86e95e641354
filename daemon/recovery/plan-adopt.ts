import { keys, type UnitRecord } from "../lib/records.js";
import type { PlannedWrite } from "../placement/plan-cluster.js";
import type { ClusterState } from "../state/cluster-state.js";
import { type Copy, decide } from "./decide.js";
import type { DiskUnit } from "./disk-report.js";
import { neededDocuments, Numbers } from "./plan-documents.js";
import { recordFor } from "./plan-rebuild.js";

export interface AdoptEntry {
  unit: string;
  /** take: this node becomes its home; copy: another node's copy is ahead, this one becomes a copy; keep: the cluster has it, nothing to do; stash: a history that lost; blocked: a person must do something first. */
  action: "take" | "copy" | "keep" | "stash" | "blocked";
  why: string;
  /** What lies on the disk. */
  epoch: number;
  lastAtMs: number | null;
  usedBytes: string;
  /** take, copy: numbers from and to which the files' owner changes; null = it stays. */
  owner: { from: { uid: number; gid: number }; to: { uid: number; gid: number } } | null;
  /** stash: newest snapshot that the cluster's home holds too, "" = none. */
  common: string;
  write: PlannedWrite | null;
}
export interface AdoptInput {
  state: ClusterState;
  node: string;
  /** What lies on the node's disk, or on the pool that was plugged in. */
  units: readonly DiskUnit[];
  /** They lie on another pool than the node's own: what is taken is copied, the rest stays there. */
  foreign?: boolean;
  /** All copies of the cluster by unit, this node's own pool among them, with snapshot lists where both sides hold the unit. */
  copies: ReadonlyMap<string, readonly Copy[]>;
  isAlive(node: string): boolean;
}

/** Pure: what becomes of each unit on a disk that the cluster does not know, or not as this node's. The same again after it was done: nothing to do. */
export function planAdopt(input: AdoptInput): AdoptEntry[] {
  const numbers = new Numbers(input.state);
  return [...input.units].sort((a, b) => (a.unit < b.unit ? -1 : 1)).map((unit) => planUnit(input, unit, numbers));
}

function planUnit(input: AdoptInput, unit: DiskUnit, numbers: Numbers): AdoptEntry {
  const { state, node } = input;
  const record = state.units.get(unit.unit)?.value;
  const base = { unit: unit.unit, epoch: unit.epoch, lastAtMs: unit.last?.atMs ?? null, usedBytes: unit.usedBytes, owner: null, common: "", write: null };
  const say = (action: AdoptEntry["action"], why: string, common = ""): AdoptEntry => ({ ...base, action, why, common });
  const others = (input.copies.get(unit.unit) ?? []).filter((copy) => copy.node !== node);
  const mine: Copy = (input.copies.get(unit.unit) ?? []).find((copy) => copy.node === node && copy.unit.dataset === unit.dataset) ?? { node, unit };
  if (input.foreign === true) return planForeign(input, unit, [mine, ...others], record, numbers, say);
  const trashed = [...state.trash.values()].find(({ value }) => value.unit === unit.unit && value.nodes.includes(node) && value.epoch >= unit.epoch);
  if (trashed !== undefined) return say("keep", `it was deleted (${trashed.value.id}): it goes to the trash`);
  if (unit.state === "new" || unit.state === "populated") return say("keep", "it was never finished: there is nothing to serve");
  if (unit.last === null) return say("blocked", `it has no snapshot: make one first (zfs snapshot ${unit.dataset}@by-hand)`);
  if (record === undefined) return take(input, unit, [mine, ...others], undefined, numbers, say);
  if (record.state !== "live") return say("blocked", record.state === "creating" ? `a new site of that name is being made on ${record.home}: remove that one, or rename the dataset` : "the cluster is deleting that site; what lies here is kept");
  const holds = record.home === node || record.replicas.includes(node) || record.move?.target === node;
  if (holds && unit.epoch <= record.epoch) return say("keep", record.home === node ? `it is at home here, epoch ${record.epoch}` : `it is a copy of ${record.home}'s, epoch ${record.epoch}`);
  const dead = !state.sessions.has(record.home) || state.sessions.get(record.home)?.value.dead === true;
  if (dead && !input.isAlive(record.home)) return take(input, unit, [mine, ...others], record, numbers, say);
  // the cluster's history goes on: what it does not hold of this one is kept apart, and nothing of it is lost
  const home = others.find((copy) => copy.node === record.home);
  if (home?.list === undefined || mine.list === undefined) return say("blocked", `its home ${record.home} did not tell what it holds: run it again`);
  const held = new Set(home.list.map(({ guid }) => guid));
  const common = [...mine.list].reverse().find(({ guid }) => held.has(guid))?.guid ?? "";
  if (common === mine.list.at(-1)?.guid && unit.epoch <= record.epoch) return say("keep", `${record.home} serves it at epoch ${record.epoch} and holds all that lies here: this copy goes to the trash`);
  return say("stash", `${record.home} serves it at epoch ${record.epoch}; what lies here (epoch ${unit.epoch}) is another history`, common);
}

/** A pool that was plugged in: whatever the cluster serves stays as it is, and the pool keeps what it has. */
function planForeign(input: AdoptInput, unit: DiskUnit, copies: readonly Copy[], record: UnitRecord | undefined, numbers: Numbers, say: Say): AdoptEntry {
  const { state, node, isAlive } = input;
  if (unit.state === "new" || unit.state === "populated") return say("keep", "it was never finished: there is nothing to serve");
  if (unit.last === null) return say("blocked", `it has no snapshot: make one first (zfs snapshot ${unit.dataset}@by-hand)`);
  if (record === undefined) {
    const own = state.observedUnits.get(node)?.get(unit.unit);
    return own === undefined ? take(input, unit, copies, undefined, numbers, say) : say("blocked", `${node}'s own pool holds data of it that nobody has adopted yet: \`hc adopt-pool ${node}\` first`);
  }
  if (record.state !== "live") return say("blocked", record.state === "creating" ? `a new site of that name is being made on ${record.home}: remove that one, or rename the dataset` : "the cluster is deleting that site");
  const dead = !state.sessions.has(record.home) || state.sessions.get(record.home)?.value.dead === true;
  if (!dead || isAlive(record.home)) return say("keep", `${record.home} serves it at epoch ${record.epoch}; what lies on the pool (epoch ${unit.epoch}) stays there`);
  return take(input, unit, copies, record, numbers, say);
}

type Say = (action: AdoptEntry["action"], why: string) => AdoptEntry;

function take({ state, node, isAlive }: AdoptInput, unit: DiskUnit, copies: readonly Copy[], record: UnitRecord | undefined, numbers: Numbers, say: Say): AdoptEntry {
  const decision = decide(copies.filter((copy) => copy.node === node || isAlive(copy.node)));
  if (decision === undefined) return say("keep", "it was never finished: there is nothing to serve");
  const winner = copies.find((copy) => copy.node === decision.node)?.unit ?? unit;
  if (record !== undefined && decision.node !== node) return say("keep", `${decision.node}'s copy is not behind: it is promoted by itself, or by \`hc promote\``);
  const needed = neededDocuments(state, winner, numbers, false);
  if ("blocked" in needed) return say("blocked", needed.blocked);
  const key = keys.unit(unit.unit);
  // a copy that the record names stays named: its node may come back
  const next = recordFor(winner, { ...decision, others: [...new Set([...decision.others, ...(record === undefined ? [] : [record.home, ...record.replicas])])].filter((one) => one !== decision.node && (state.nodes.has(one) || one === node)) }, record, state);
  const from = winner.config?.customer;
  const moves = from !== undefined && (from.uid !== needed.customer.uid || from.gid !== needed.customer.gid);
  const detail = `home ${next.home}, epoch ${next.epoch}, from ${decision.last?.name ?? "what is there"}: ${decision.why}${needed.made.length === 0 ? "" : `; made again: ${needed.made.join(", ")}`}`;
  return {
    ...say(decision.node === node ? "take" : "copy", detail),
    owner: moves ? { from: { uid: from.uid, gid: from.gid }, to: { uid: needed.customer.uid, gid: needed.customer.gid } } : null,
    write: { key, compare: [{ key, modRevision: state.units.get(unit.unit)?.revision ?? "0" }, ...needed.compare], ops: [{ put: key, value: JSON.stringify(next) }, ...needed.ops], why: `${unit.unit}: adopted`, event: { unit: unit.unit, event: "adopted", detail } },
  };
}
