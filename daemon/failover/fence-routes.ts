import { changeKey } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { type FenceRecord, keys, recordVersion } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";

/** Pure: units at home on a node, and those of them that nobody else can serve: no living node has a copy. */
export function fencedUnits(state: ClusterState, node: string, isAlive: (node: string) => boolean): { units: string[]; down: string[] } {
  const units = [...state.units.values()].map(({ value }) => value).filter(({ home, state: stage }) => home === node && stage === "live");
  return { units: units.map(({ unit }) => unit).sort(), down: units.filter(({ replicas }) => !replicas.some((other) => other !== node && isAlive(other))).map(({ unit }) => unit).sort() };
}

/** `POST /v1/nodes/<node>/fence {reason, force}` and `DELETE`: an order that is written down and outlives every process. Both can be repeated. Throws NOT_FOUND, INVALID_INPUT, CONFLICT (sites without another copy). */
export function fenceRoutes({ apiRoutes, store, view, clock, event }: Pick<NodeContext, "apiRoutes" | "store" | "view" | "clock" | "event">, isAlive: (state: ClusterState, node: string) => boolean): void {
  const known = (node: string): string => {
    const state = view.current();
    if (!state.nodes.has(node)) throw new HcError("NOT_FOUND", `There is no node ${JSON.stringify(node.slice(0, 60))}; nodes are ${[...state.nodes.keys()].sort().join(", ")}.`);
    return node;
  };
  apiRoutes.route("POST", "/v1/nodes/:node/fence", async ({ params, json }) => {
    const node = known(params["node"] ?? "");
    const { reason = "", force = false } = ((await json()) ?? {}) as { reason?: unknown; force?: unknown };
    if (typeof reason !== "string" || reason.length > 200) throw new HcError("INVALID_INPUT", "reason: must be a text of at most 200 characters.");
    const state = view.current();
    const { units, down } = fencedUnits(state, node, (other) => isAlive(state, other));
    if (down.length > 0 && force !== true) throw new HcError("CONFLICT", `${node} is not fenced: no living node has a copy of ${down.slice(0, 5).join(", ")}${down.length > 5 ? ` and ${down.length - 5} more` : ""}, which would be down. Say --yes when that is meant.`, { retry: "never" });
    const record: FenceRecord = { version: recordVersion, node, reason, atMs: clock.wallMs() };
    const { succeeded } = await store.txn([{ key: keys.fence(node), modRevision: "0" }], [{ put: keys.fence(node), value: JSON.stringify(record) }]);
    if (succeeded) event("", "fence", `${node}: ${reason}`);
    return { node, units, down };
  });
  apiRoutes.route("DELETE", "/v1/nodes/:node/fence", async ({ params }) => {
    const node = known(params["node"] ?? "");
    await changeKey<FenceRecord>(store, keys.fence(node), () => undefined);
    event("", "unfence", node);
    return { node };
  });
}
