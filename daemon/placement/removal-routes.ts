import { changeKey } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { type FenceRecord, keys, recordVersion, type RemovalRecord } from "../lib/records.js";
import type { RawMember } from "../membership/etcd-commands.js";
import { memberNode } from "../membership/plan-voters.js";
import { votes } from "../membership/voters.js";
import type { Op } from "../state/store.js";
import { type RemovalFacts, removalRefusal, removalState } from "./plan-removal.js";

export const removedReason = "taken out of the cluster";

export interface RemovalCalls { members(): Promise<readonly RawMember[]>; alive(): ReadonlySet<string>; problems(): Readonly<Record<string, string>> }

/**
 * `POST /v1/nodes/<node>/remove {reason, dead}`, `GET` (how far it is), `DELETE` (stay after all): an order that is written down; planner, agents and the leader's voters.ts carry it out, through any restart.
 * All can be repeated. Throws NOT_FOUND, INVALID_INPUT, CONFLICT and NOT_READY with the reason.
 */
export function removalRoutes({ apiRoutes, store, view, clock, event, cluster }: Pick<NodeContext, "apiRoutes" | "store" | "view" | "clock" | "event" | "cluster">, calls: RemovalCalls): void {
  const factsOf = (node: string): RemovalFacts => {
    const state = view.current();
    const alive = calls.alive();
    return { state, node, members: cluster.members, configured: cluster.voters, alive, voting: new Set([...alive].filter((one) => votes(state, one))) };
  };
  const look = async (node: string): Promise<object> => removalState(factsOf(node), (await calls.members()).map(memberNode(cluster.members)), calls.problems());
  apiRoutes.route("POST", "/v1/nodes/:node/remove", async ({ params, json }) => {
    const node = params["node"] ?? "";
    const { reason = "", dead = false } = ((await json()) ?? {}) as { reason?: unknown; dead?: unknown };
    if (typeof reason !== "string" || reason.length > 200) throw new HcError("INVALID_INPUT", "reason: must be a text of at most 200 characters.");
    if (typeof dead !== "boolean") throw new HcError("INVALID_INPUT", "dead: must be true or false.");
    const facts = factsOf(node);
    const before = facts.state.removals?.get(node);
    if (before === undefined || (dead && !before.value.dead)) {
      const refusal = removalRefusal(facts, dead);
      if (refusal !== undefined) throw new HcError(refusal.code, refusal.code === "NOT_FOUND" ? refusal.why : `${node} is not taken out: ${refusal.why}`, { retry: "never" });
      const atMs = clock.wallMs();
      const record: RemovalRecord = { version: recordVersion, node, dead, reason, atMs };
      const fence: FenceRecord = { version: recordVersion, node, reason: removedReason, atMs };
      const session = facts.state.sessions.get(node)?.revision ?? "0";
      const ops: Op[] = [{ put: keys.removed(node), value: JSON.stringify(record) }, ...(dead ? [{ put: keys.fence(node), value: JSON.stringify(fence) }] : [])];
      // dead: by the very session that was judged; a node that came back in this moment keeps what it has
      const { succeeded } = await store.txn([{ key: keys.removed(node), modRevision: before?.revision ?? "0" }, ...(dead ? [{ key: keys.session(node), modRevision: session }] : [])], ops);
      if (!succeeded) throw new HcError("CONFLICT", `${node} changed meanwhile; look again.`);
      event("", "node-remove", `${node}${dead ? " (it never comes back)" : ""}: ${reason}`);
    }
    return look(node);
  });
  apiRoutes.route("GET", "/v1/nodes/:node/remove", async ({ params }) => look(params["node"] ?? ""));
  apiRoutes.route("DELETE", "/v1/nodes/:node/remove", async ({ params }) => {
    const node = params["node"] ?? "";
    if ((await store.get(keys.removed(node))) === undefined) return { node }; // also a name that is none: nothing is to be taken back
    await changeKey<RemovalRecord>(store, keys.removed(node), () => undefined);
    await changeKey<FenceRecord>(store, keys.fence(node), (fence) => (fence.reason === removedReason ? undefined : "keep"));
    event("", "node-stays", node);
    return { node };
  });
}
