import type { Session } from "../context.js";
import type { Failover } from "../failover/failover.js";
import type { Failsafe } from "../failsafe/failsafe.js";
import type { FenceKeeper } from "../fencer/fence-keeper.js";
import { machineMs } from "../lib/clock.js";
import type { ObservedNode } from "../lib/records.js";
import type { Planner } from "../placement/planner.js";
import type { EventWriter } from "./events.js";
import { livingCopies } from "../alerts/find-conditions.js";
import { stateOf } from "./status.js";
import type { ClusterState } from "../state/cluster-state.js";
import type { Sample } from "./metrics.js";

/** Pure: what the picture says of this node: its pool, who it sees, the units at home here. Nothing before the first picture. */
export function pictureSamples(node: string, state: ClusterState, alive: ReadonlySet<string>): Sample[] {
  const samples: Sample[] = [...state.nodes.keys()].map((name) => ({ name: "hc_node_up", labels: { node: name }, value: alive.has(name) ? 1 : 0 }));
  const pool = state.observedNodes.get(node)?.pool;
  if (pool != null) {
    samples.push({ name: "hc_pool_size_bytes", labels: { pool: pool.name }, value: Number(pool.sizeBytes) }, { name: "hc_pool_free_bytes", labels: { pool: pool.name }, value: Number(pool.freeBytes) });
    samples.push({ name: "hc_pool_online", labels: { pool: pool.name }, value: pool.health === "ONLINE" ? 1 : 0 });
  }
  const states = new Map<string, number>();
  for (const [unit, { value: record }] of state.units) {
    if (record.home !== node) continue;
    const home = state.observedUnits.get(node)?.get(unit);
    const seen = stateOf({ state, alive }, record, home);
    states.set(seen, (states.get(seen) ?? 0) + 1);
    samples.push({ name: "hc_unit_copies", labels: { unit }, value: livingCopies({ alive }, record, home).length });
  }
  for (const [seen, value] of states) samples.push({ name: "hc_units", labels: { state: seen }, value });
  return samples;
}

export interface OwnParts {
  version: string;
  sha256: string;
  session: Pick<Session, "isLive" | "generation" | "silentMs">;
  leads: boolean;
  elections: number;
  etcd: ObservedNode["etcd"];
  fence: Pick<FenceKeeper, "fencerLives" | "fences" | "watchdog">;
  events: Pick<EventWriter, "waiting" | "dropped">;
  planner: Pick<Planner, "writes" | "unplaced">;
  failsafe: Pick<Failsafe, "counts" | "rounds">;
  failover: Pick<Failover, "deaths" | "promotions" | "runningCount" | "waits">;
}

/** What the parts of the control process have counted. */
export function ownSamples({ version, sha256, session, leads, elections, etcd, fence, events, planner, failsafe, failover }: OwnParts): Sample[] {
  const one = (name: string, value: number | boolean, labels: Sample["labels"] = {}): Sample => ({ name, labels, value: Number(value) });
  const silentMs = session.silentMs();
  const { held, missing } = failsafe.counts();
  return [
    one("hc_build_info", 1, { version, sha256 }),
    one("hc_session_live", session.isLive()),
    one("hc_session_generation", session.generation),
    ...(Number.isFinite(silentMs) ? [one("hc_session_silence_seconds", silentMs / 1000)] : []),
    one("hc_leader", leads),
    one("hc_leader_elections_total", elections),
    one("hc_etcd_healthy", etcd.healthy),
    ...(etcd.fsyncMs === null ? [] : [one("hc_etcd_fsync_seconds", etcd.fsyncMs / 1000)]),
    one("hc_fencer_up", fence.fencerLives()),
    one("hc_fences_total", fence.fences),
    ...watchdogSamples(fence.watchdog()),
    one("hc_failsafe_units", held, { state: "held" }),
    one("hc_failsafe_units", missing, { state: "stopped" }),
    one("hc_failsafe_rounds_total", failsafe.rounds),
    one("hc_failover_deaths_total", failover.deaths),
    one("hc_failover_promotions_total", failover.promotions),
    one("hc_failover_running", failover.runningCount),
    one("hc_failover_waiting", failover.waits().size),
    one("hc_planner_writes_total", planner.writes),
    one("hc_planner_unplaced", Object.keys(planner.unplaced()).length),
    one("hc_events_waiting", events.waiting),
    one("hc_events_dropped_total", events.dropped),
  ];
}

/** None on a node without a watchdog. */
function watchdogSamples(watchdog: ReturnType<FenceKeeper["watchdog"]>): Sample[] {
  if (watchdog === undefined) return [];
  const { state, fed, fedMs, timeoutMs } = watchdog;
  const one = (name: string, value: number): Sample => ({ name, labels: {}, value });
  return [one("hc_watchdog_armed", Number(state === "on")), one("hc_watchdog_fed_total", fed), ...(state === "on" && fedMs !== null ? [one("hc_watchdog_reset_seconds", Math.max(0, fedMs + timeoutMs - machineMs()) / 1000)] : [])];
}
