import type { NodeContext } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import type { ReplicaReport, Replication } from "../replication/replication.js";
import type { ClusterState } from "../state/cluster-state.js";
import { atHome } from "./at-home.js";
import { checkMove } from "./plan-move.js";

/** `GET /v1/units/<id>/move-plan?to=<node>`. */
export interface MovePlan {
  unit: string;
  from: string;
  to: string;
  /** Why it would be refused now; "" = it would begin. */
  refused: string;
  /** What the target has: "same place", "copy" (increments follow), "none" (a first copy is sent before requests wait). */
  has: "same place" | "copy" | "none";
  /** About so many bytes go over before requests wait: a first copy (what it holds now, its template's blocks among them) or what was written since the last snapshot. */
  sendBytes: string;
  /** About so long requests would wait, ms; median and longest of the last moves that this home has driven since its hcd started, undefined without one. */
  held: { medianMs: number; longestMs: number; moves: number } | undefined;
}

/** How long requests waited in the last moves that this process has driven, ms; at most 20. */
export class LastHolds {
  private readonly values: number[] = [];
  public add(ms: number): void {
    this.values.push(ms);
    if (this.values.length > 20) this.values.shift();
  }
  public told(): MovePlan["held"] {
    const sorted = [...this.values].sort((a, b) => a - b);
    return sorted.length === 0 ? undefined : { medianMs: sorted[(sorted.length - 1) >> 1] as number, longestMs: sorted.at(-1) as number, moves: sorted.length };
  }
}

/** Pure: what a move would do, and would cost, now. Throws NOT_FOUND only. */
export function planMove(state: ClusterState, unit: string, to: string, parts: { alive(node: string): boolean; replicas: Readonly<Record<string, ReplicaReport>>; writtenBytes: string; held: MovePlan["held"] }): MovePlan {
  const record = state.units.get(unit)?.value;
  if (record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
  let refused = "";
  try {
    checkMove(state, unit, to, parts.alive);
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    refused = messageOf(error);
  }
  const has = record.home === to ? "same place" : parts.replicas[to] !== undefined && parts.replicas[to].guid !== "" ? "copy" : "none";
  const usedBytes = state.observedUnits.get(record.home)?.get(unit)?.usedBytes ?? "0";
  return { unit, from: record.home, to, refused, has, sendBytes: has === "same place" ? "0" : has === "copy" ? parts.writtenBytes : usedBytes, held: has === "same place" ? undefined : parts.held };
}

/** The dry run: looks, and changes nothing. */
export function movePlanRoute(context: NodeContext, replication: Replication, holds: LastHolds, isAlive: (state: ClusterState, node: string) => boolean): void {
  atHome(context, "GET", "move-plan", async (unit, { query }) => {
    const to = query.get("to") ?? "";
    if (to === "") throw new HcError("INVALID_INPUT", "to: is required and missing; write the name of a node.");
    const state = context.view.current();
    return planMove(state, unit, to, { alive: (node) => isAlive(state, node), replicas: replication.report().get(unit) ?? {}, writtenBytes: replication.writtenBytes(unit), held: holds.told() });
  });
}
