import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { type DrainRecord, keys, recordVersion } from "../lib/records.js";
import { changeKey } from "../agent/records.js";

/** `POST /v1/nodes/<node>/drain {reason}` and `DELETE`: a wish that is written down; the leader's planner carries it out, through any restart. Both can be repeated. */
export function drainRoutes({ apiRoutes, store, view, clock, event }: Pick<NodeContext, "apiRoutes" | "store" | "view" | "clock" | "event">): void {
  const known = (node: string): string => {
    const state = view.current();
    const record = state.nodes.get(node)?.value;
    if (record === undefined) throw new HcError("NOT_FOUND", `There is no node ${JSON.stringify(node.slice(0, 60))}; nodes are ${[...state.nodes.keys()].sort().join(", ")}.`);
    if (record.role === "witness") throw new HcError("IMPOSSIBLE_CHANGE", `${node} is a witness and holds no sites.`);
    return node;
  };
  apiRoutes.route("POST", "/v1/nodes/:node/drain", async ({ params, json }) => {
    const node = known(params["node"] ?? "");
    const { reason = "" } = ((await json()) ?? {}) as { reason?: unknown };
    if (typeof reason !== "string" || reason.length > 200) throw new HcError("INVALID_INPUT", "reason: must be a text of at most 200 characters.");
    const record: DrainRecord = { version: recordVersion, node, reason, atMs: clock.wallMs() };
    const { succeeded } = await store.txn([{ key: keys.drain(node), modRevision: "0" }], [{ put: keys.drain(node), value: JSON.stringify(record) }]);
    if (succeeded) event("", "drain", `${node}: ${reason}`);
    return { node };
  });
  apiRoutes.route("DELETE", "/v1/nodes/:node/drain", async ({ params }) => {
    const node = known(params["node"] ?? "");
    await changeKey<DrainRecord>(store, keys.drain(node), () => undefined);
    event("", "undrain", node);
    return { node };
  });
}
