import { keys, type SessionRecord } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";
import type { PlannedWrite } from "../placement/plan-cluster.js";

/** OWNERSHIP 9: after the last commit was seen. The node's own fence stands 3 s earlier. */
export const deathMs = 8000;

/** Pure: ms until the next session would have been silent for so long, when it stays silent. At least 1. */
export function nextDeathMs(state: ClusterState, silentMs: (node: string) => number): number {
  const left = [...state.sessions].filter(([node, { value }]) => value.dead !== true && Number.isFinite(silentMs(node))).map(([node]) => deathMs - silentMs(node));
  return Math.max(1, Math.min(Number.POSITIVE_INFINITY, ...left));
}

/**
 * Pure: sessions to mark dead. `silentMs` counts only while the own heartbeats commit, from the moment the session was seen to change (liveness.ts); a session
 * that was never seen to change (`Infinity`) is none. `wallMs`: UTC now: the record tells when the node was last seen alive, for whoever leads later and never saw it. The write is compared with the revision that was seen last: a node that lives has another one by then.
 */
export function planDeath(state: ClusterState, silentMs: (node: string) => number, wallMs?: number): PlannedWrite[] {
  const writes: PlannedWrite[] = [];
  for (const [node, { value, revision }] of [...state.sessions].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const silent = silentMs(node);
    if (value.dead === true || !Number.isFinite(silent) || silent < deathMs) continue;
    const key = keys.session(node);
    const dead: SessionRecord = { ...value, dead: true, ...(wallMs === undefined ? {} : { lastAliveAtMs: Math.round(wallMs - silent) }) };
    writes.push({ key, compare: [{ key, modRevision: revision }], ops: [{ put: key, value: JSON.stringify(dead) }], why: `${node} gave no sign of life for ${(silent / 1000).toFixed(1)} s`, event: { unit: "", event: "node-dead", detail: `${node}, generation ${value.generation}: no sign of life for ${(silent / 1000).toFixed(1)} s` } });
  }
  return writes;
}

/**
 * Pure: when a dead node was last seen alive, UTC ms: as its death was written down. Of a death that an older version wrote: by the own silence; where this process never saw the node live (`Infinity`) nobody knows, and it is now:
 * then more is told than may be missing, and never less.
 */
export const lastAliveMs = (session: SessionRecord | undefined, silentMs: number, wallMs: number): number => session?.lastAliveAtMs ?? (Number.isFinite(silentMs) ? wallMs - silentMs : wallMs);
/** Pure: ms for which a node has been silent, also where this process came after its death; Infinity: it never lived, as far as is known. */
export const silenceOf = (session: SessionRecord | undefined, silentMs: number, wallMs: number): number => (Number.isFinite(silentMs) || session?.dead !== true || session.lastAliveAtMs === undefined ? silentMs : Math.max(0, wallMs - session.lastAliveAtMs));
