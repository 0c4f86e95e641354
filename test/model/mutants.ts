import { planDeath } from "../../daemon/failover/plan-death.js";
import { promised } from "../../daemon/failsafe/plan-failsafe.js";
import { judge } from "../../daemon/migration/mover.js";
import type { Bounds } from "./model.js";
import { daemonRules, type Rules } from "./rules.js";
import type { FaultKind } from "./world.js";

/** A rule broken on purpose, the smallest bounds within which the search finds that, and what it says then. */
export interface Mutant { name: string; rules: Partial<Rules>; bounds: Pick<Bounds, "nodes" | "faults" | "moves"> & { kinds: readonly FaultKind[]; leaders: readonly number[] }; says: RegExp }

const { afterCommit, standingPromise, planUnit, buildRoutes, sealRefusal, isServable } = daemonRules;
const fourSecondsEarly: Rules["planDeath"] = (state, silentMs) => planDeath(state, (node) => silentMs(node) + 4_000);

export const mutants: readonly Mutant[] = [
  { name: "promotes-at-4-s", rules: { planDeath: fourSecondsEarly }, bounds: { nodes: 2, faults: 1, moves: 0, kinds: ["cut", "stop"], leaders: [1] }, says: /accept writes at the same moment|nobody ends it/ },
  { name: "deadline-from-the-answer", rules: { afterCommit: (before, generation, _sentAtMs, nowMs) => afterCommit(before, generation, nowMs, nowMs) }, bounds: { nodes: 2, faults: 3, moves: 0, kinds: ["lost-answer", "cut"], leaders: [1] }, says: /accept writes at the same moment|nobody ends it/ },
  { name: "undo-is-no-write", rules: { undoIsWrite: false }, bounds: { nodes: 2, faults: 2, moves: 1, kinds: ["late-txn", "lost-call"], leaders: [1] }, says: /both undone and handed over/ },
  { name: "lost-answer-means-not-committed", rules: { judge: (record, source, epoch, move) => (judge(record, source, epoch, move) === "lost" ? "lost" : "ours") }, bounds: { nodes: 2, faults: 1, moves: 1, kinds: ["lost-answer"], leaders: [1] }, says: /./ },
  { name: "failsafe-ignores-a-refusal", rules: { promised: (units) => ({ ...promised(units, new Map()), held: units.map(({ unit }) => unit) }) }, bounds: { nodes: 2, faults: 1, moves: 0, kinds: ["cut-etcd"], leaders: [1] }, says: /accept writes at the same moment|nobody ends it/ },
  { name: "promise-is-no-bar-to-a-seal", rules: { standingPromise: (_untilMs, startedMs, nowMs) => standingPromise(undefined, startedMs, nowMs) }, bounds: { nodes: 2, faults: 3, moves: 0, kinds: ["quorum", "cut-etcd"], leaders: [1] }, says: /accept writes at the same moment|nobody ends it/ },
  { name: "promotion-without-a-seal", rules: { notesSeal: false }, bounds: { nodes: 2, faults: 3, moves: 0, kinds: ["late-stream", "power", "late-txn"], leaders: [1] }, says: /acknowledge/ },
  { name: "seal-of-a-home-that-lives", rules: { sealRefusal: (record, _session, asked) => sealRefusal(record, undefined, asked), planDeath: fourSecondsEarly }, bounds: { nodes: 2, faults: 1, moves: 0, kinds: ["cut"], leaders: [1] }, says: /accept writes at the same moment|nobody ends it/ },
  { name: "fencer-does-not-act", rules: { fencerActs: false }, bounds: { nodes: 2, faults: 1, moves: 0, kinds: ["stop"], leaders: [1] }, says: /nobody ends it/ },
  { name: "gate-without-a-deadline", rules: { isServable: (table, _deadlines, unit, nowMs, epoch) => isServable(table, { all: Number.POSITIVE_INFINITY, held: new Map() }, unit, nowMs, epoch), fencerActs: false }, bounds: { nodes: 2, faults: 1, moves: 0, kinds: ["stop"], leaders: [1] }, says: /accept writes at the same moment/ },
  { name: "serves-while-stopping", rules: { planUnit: (input, unit) => planUnit(input, unit.record?.value.move === undefined ? unit : { ...unit, record: { ...unit.record, value: { ...unit.record.value, move: { ...unit.record.value.move, phase: "presync" } } } }), stopSeen: () => "stopped", buildRoutes: (state, ...rest) => buildRoutes({ ...state, units: new Map([...state.units].map(([id, { value: { move: _move, ...value }, revision }]) => [id, { value, revision }])) }, ...rest) }, bounds: { nodes: 2, faults: 1, moves: 1, kinds: ["deaf"], leaders: [1] }, says: /accept writes at the same moment|nobody ends it/ },
  { name: "stop-is-taken-for-seen", rules: { stopSeen: (seen, _announced, busy) => daemonRules.stopSeen(seen, "0", busy) }, bounds: { nodes: 2, faults: 1, moves: 1, kinds: ["deaf"], leaders: [1] }, says: /accept writes at the same moment|nobody ends it/ },
  { name: "start-grace-after-a-missed-deadline", rules: { knowsStanding: ({ live, wasLive, sinceStartMs }) => live || wasLive || sinceStartMs > 3_000 }, bounds: { nodes: 2, faults: 2, moves: 0, kinds: ["crash", "stop-fencer"], leaders: [1] }, says: /nobody ends it/ },
  { name: "snapshot-before-the-unit-is-taken", rules: { mayRecord: (record, session) => session.owns(record.unit) }, bounds: { nodes: 2, faults: 2, moves: 0, kinds: ["power"], leaders: [1] }, says: /not served/ },
  { name: "gate-is-not-told-of-a-check", rules: { buildRoutes: (state, node, generation, port, https, own) => buildRoutes(state, node, generation, port, https, { ...own, serving: new Map([...(own?.serving ?? [])].filter(([, epoch]) => epoch === 0)) }) }, bounds: { nodes: 2, faults: 1, moves: 0, kinds: ["power"], leaders: [1] }, says: /not served/ },
  { name: "nobody-is-promoted", rules: { victims: () => [] }, bounds: { nodes: 2, faults: 1, moves: 0, kinds: ["power"], leaders: [1] }, says: /not served/ },
];
