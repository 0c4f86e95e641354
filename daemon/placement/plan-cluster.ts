import type { Compare, Op } from "../state/store.js";
import type { ClusterState } from "../state/cluster-state.js";
import { planCustomers } from "./plan-customers.js";
import { planRelief } from "./plan-relief.js";
import { planRemoved } from "./plan-removed.js";
import { planTemplates } from "./plan-templates.js";
import { planTrash } from "./plan-trash-expiry.js";
import { planUnits } from "./plan-units.js";

export interface PlanInput {
  state: ClusterState;
  /** Nodes with a live session. */
  alive: ReadonlySet<string>;
  /** Nodes that have been silent so long (a minute) that work is given to others. */
  gone: ReadonlySet<string>;
  /** Nodes that have been silent so long (five minutes: a reboot is over) that copies on them are made again elsewhere; default none. */
  lost?: ReadonlySet<string>;
  /** Nodes that most others cannot reach for long enough, and those that most can (reach.ts); default none. */
  unreachable?: ReadonlySet<string>;
  steady?: ReadonlySet<string>;
  /** `unit/node` of copies that get nothing for long enough, although both nodes live; default none. */
  broken?: ReadonlySet<string>;
  /** UTC ms; only for what expires by the calendar. */
  atMs: number;
}
/** One guarded transaction for the leader. `why` is for the log; `event` for the history of a unit. */
export interface PlannedWrite {
  key: string;
  compare: Compare[];
  ops: Op[];
  why: string;
  event?: { unit: string; event: string; detail: string };
}
/** A wish that binds (`pin`, `require`) and is not met: the unit's home is asked to move it. */
export interface OrderedMove { unit: string; to: string; reason: string }
export interface ClusterPlan { writes: PlannedWrite[]; moves: OrderedMove[]; /** What cannot be placed, and why: unit or template → reason. */ problems: Record<string, string> }

/** Pure: the same picture gives the same writes on every node (DESIGN invariant 9). */
export function planCluster(input: PlanInput): ClusterPlan {
  const problems: Record<string, string> = {};
  const moves: OrderedMove[] = [];
  const writes = [...planCustomers(input), ...planTemplates(input, problems), ...planRelief(input, problems, moves), ...planUnits(input, problems, moves), ...planTrash(input), ...planRemoved(input)];
  return { writes, moves, problems };
}
