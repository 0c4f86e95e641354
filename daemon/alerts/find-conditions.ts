import { clusterSpec, stateOf } from "../api/status.js";
import { certificatesOf, needsPerson } from "../certificates/certificate-status.js";
import type { AlertThresholds } from "../lib/alerts-spec.js";
import type { AlertKind, ObservedUnit, UnitRecord } from "../lib/records.js";
import { rpoOf } from "../replication/rpo.js";
import { type ClusterState, desiredOf, fencedByPerson } from "../state/cluster-state.js";

/** A pool that is fuller than this is told. */
const full = 0.95;
/** A node's death whose sites all serve elsewhere is told so many seconds after it was declared: by then it is known what became of it. */
const settledS = 3;
/** A lag above its limit that is gone after a minute was a restart. */
const behindHoldS = 60;
/** A certificate that is replaced within this time is told nobody. */
const certificateHoldS = 300;
/** Failovers that are younger are told even when the dead node is back before anybody could be. */
const recentMs = 600_000;

export interface AlertFacts {
  state: ClusterState;
  alive: ReadonlySet<string>;
  voters: readonly string[];
  thresholds: AlertThresholds;
  /** Why units of dead homes wait, where the leader knows. */
  waits: ReadonlyMap<string, string>;
  /** UTC ms. */
  atMs: number;
}
/** One thing that is not as it should be. */
export interface Condition {
  /** "unit-down/site-shop" */
  key: string;
  kind: AlertKind;
  group: string;
  /** So long it may last before people are told. */
  holdS: number;
  /** Unit or node. */
  subject: string;
  /** For people, one line. */
  text: string;
}
export interface Conditions {
  found: ReadonlyMap<string, Condition>;
  /** Of these nobody can say now whether they hold: who would tell is away. Nothing begins and nothing ends by them. */
  unknown: ReadonlySet<string>;
}
/** What became of the units of a dead node. */
export interface Casualties { moved: UnitRecord[]; /** Moved, but not serving there yet. */ starting: UnitRecord[]; /** Still without a home. */ waiting: UnitRecord[] }

export const nodeDown = (node: string): string => `node-down/${node}`;
export const unitDown = (unit: string): string => `unit-down/${unit}`;

/** Dead by the leader's write, and not because a person fenced it. */
export function deadNodes(state: ClusterState): string[] {
  return [...state.sessions].filter(([node, { value }]) => value.dead === true && state.nodes.has(node) && !fencedByPerson(state, node)).map(([node]) => node).sort();
}

/** Its home died, and no alert has told of it. */
function untold({ state, atMs }: Pick<AlertFacts, "state" | "atMs">, record: UnitRecord): boolean {
  const { failover } = record;
  if (failover === undefined || failover.fenced === true || atMs - failover.atMs > recentMs) return false;
  return ![...(state.alerts?.values() ?? [])].some(({ value }) => value.group === nodeDown(failover.from) && (value.resolvedAtMs === 0 || value.resolvedAtMs >= failover.atMs));
}

export function casualties(facts: Pick<AlertFacts, "state" | "alive" | "atMs">, node: string): Casualties {
  const { state } = facts;
  const session = state.sessions.get(node)?.value;
  const ofThis = (record: UnitRecord): boolean => (session?.dead === true ? record.failover?.generation === session.generation : untold(facts, record));
  const found: Casualties = { moved: [], starting: [], waiting: [] };
  for (const [unit, { value: record }] of state.units) {
    if (record.state === "creating" || record.state === "deleting") continue;
    if (record.home === node && session?.dead === true) found.waiting.push(record);
    else if (record.failover?.from === node && ofThis(record)) {
      found.moved.push(record);
      if (stateOf(facts, record, state.observedUnits.get(record.home)?.get(unit)) !== "serving") found.starting.push(record);
    }
  }
  return found;
}

export const copiesWanted = (state: ClusterState, record: UnitRecord): number => desiredOf(state, "site", record.name)?.value.spec.replicas || clusterSpec(state)?.redundancy || 1;
/** Living nodes with a copy that was confirmed, the home among them. */
export function livingCopies(facts: Pick<AlertFacts, "alive">, record: UnitRecord, home: ObservedUnit | undefined): string[] {
  return [record.home, ...record.replicas.filter((node) => (home?.replicas[node]?.guid ?? "") !== "")].filter((node) => facts.alive.has(node));
}

/** Pure: the picture → everything that people may have to be told. What another alert's cause explains is left out here (a dead node's voter, its copies when there is no other place for them). */
export function findConditions(facts: AlertFacts): Conditions {
  const { state, alive, thresholds } = facts;
  const found = new Map<string, Condition>();
  const unknown = new Set<string>();
  const add = (key: string, kind: AlertKind, group: string, holdS: number, subject: string, text: string): void => void found.set(key, { key, kind, group, holdS, subject, text });
  const dead = new Set(deadNodes(state));
  const back = [...state.units.values()].filter(({ value }) => untold(facts, value)).map(({ value }) => value.failover?.from as string).filter((node) => !fencedByPerson(state, node));
  for (const node of new Set([...dead, ...back])) {
    const { starting, waiting } = casualties(facts, node);
    add(nodeDown(node), "node-down", nodeDown(node), starting.length + waiting.length === 0 ? settledS : thresholds.downS, node, dead.has(node) ? "gives no sign of life" : "was dead, and is back");
  }
  pools(facts, add, unknown);
  quorum(facts, dead, add);
  for (const certificate of certificatesOf(state, facts.atMs)) {
    const { severity, text } = needsPerson(certificate, facts.atMs);
    if (severity !== "") add(`certificate/${certificate.name}`, "certificate", "certificate", certificateHoldS, certificate.name, text);
  }
  const free = [...state.nodes.values()].filter(({ value }) => value.role === "node" && alive.has(value.node) && state.drains?.has(value.node) !== true).map(({ value }) => value.node);
  const rpoS = rpoOf(state);
  for (const [unit, { value: record }] of state.units) {
    if (record.state !== "live") continue;
    const home = state.observedUnits.get(record.home)?.get(unit);
    if (!alive.has(record.home)) {
      // silent for seconds, or dead and told as its node's death; who is fenced by a person has taken its units with it
      unknown.add(`one-copy/${unit}`);
      for (const node of record.replicas) unknown.add(`behind/${unit}/${node}`);
      if (fencedByPerson(state, record.home)) add(unitDown(unit), "unit-down", `unit-down/${record.home}`, thresholds.downS, unit, `its home ${record.home} is fenced${facts.waits.has(unit) ? `: ${facts.waits.get(unit)}` : ""}`);
      else unknown.add(unitDown(unit));
      continue;
    }
    const seen = stateOf(facts, record, home);
    const stopped = seen === "down" || seen === "failed" || seen === "starting" || record.move?.phase === "stopping";
    if (stopped) add(unitDown(unit), "unit-down", `unit-down/${record.home}`, thresholds.downS, unit, home?.error ? `${seen}: ${home.error}` : seen === "moving" ? "stopped by a move that does not end" : seen);
    const copies = livingCopies(facts, record, home);
    const missing = record.replicas.filter((node) => !copies.includes(node));
    const elsewhere = free.some((node) => !copies.includes(node) && !record.replicas.includes(node));
    const explained = missing.length > 0 && missing.every((node) => dead.has(node)) && !elsewhere;
    if (copiesWanted(state, record) > 1 && copies.length === 1 && !explained) add(`one-copy/${unit}`, "one-copy", "one-copy", thresholds.oneCopyS, unit, `only on ${record.home}${missing.length === 0 ? ", no other node was chosen" : `; ${missing.map((node) => `${node} ${alive.has(node) ? home?.replicas[node]?.error || "has confirmed nothing" : "is away"}`).join(", ")}`}`);
    for (const node of record.replicas) {
      const told = home?.replicas[node];
      if (told === undefined || told.guid === "") continue;
      if (!alive.has(node)) unknown.add(`behind/${unit}/${node}`);
      // one that may be further behind than people want to hear of is well until then; one that fails is not
      else if (told.lagS > (told.error === "" ? Math.max(thresholds.behindS, rpoS(unit)) : thresholds.behindS)) add(`behind/${unit}/${node}`, "behind", `behind/${node}`, behindHoldS, unit, `${Math.round(told.lagS)} s behind on ${node}${told.error === "" ? "" : `: ${told.error}`}`);
    }
  }
  return { found, unknown };
}

type Add = (key: string, kind: AlertKind, group: string, holdS: number, subject: string, text: string) => void;

function pools({ state, alive, thresholds }: AlertFacts, add: Add, unknown: Set<string>): void {
  for (const [node, { value: record }] of state.nodes) {
    if (record.role !== "node") continue;
    const key = `pool/${node}`;
    const seen = state.observedNodes.get(node);
    if (!alive.has(node) || seen === undefined) unknown.add(key);
    else if (seen.pool === null) add(key, "pool", key, thresholds.poolS, node, "has no pool");
    else {
      const used = seen.pool.sizeBytes === "0" ? 0 : 1 - Number(seen.pool.freeBytes) / Number(seen.pool.sizeBytes);
      if (seen.pool.health !== "ONLINE") add(key, "pool", key, thresholds.poolS, node, `pool ${seen.pool.name} is ${seen.pool.health}`);
      else if (used > full) add(key, "pool", key, thresholds.poolS, node, `pool ${seen.pool.name} is ${Math.round(used * 100)} % full`);
    }
  }
}

export function votersUp({ state, alive, voters }: Pick<AlertFacts, "state" | "alive" | "voters">): string[] {
  return voters.filter((node) => alive.has(node) && state.observedNodes.get(node)?.etcd.role === "voter" && state.observedNodes.get(node)?.etcd.healthy === true);
}

/** Voters that are missing because their nodes are dead, or fenced by a person, are no news of their own. */
function quorum(facts: AlertFacts, dead: ReadonlySet<string>, add: Add): void {
  const { voters, thresholds, state } = facts;
  const up = votersUp(facts);
  const away = voters.filter((node) => !up.includes(node));
  if (away.length === 0 || up.length > Math.floor(voters.length / 2) + 1 || away.every((node) => dead.has(node) || fencedByPerson(state, node))) return;
  add("quorum", "quorum", "quorum", thresholds.quorumS, away.join(", "), `etcd has ${up.length} of ${voters.length} voters (${away.join(", ")} missing)`);
}
