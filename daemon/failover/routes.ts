import type { NodeContext, PeerRequest } from "../context.js";
import { HcError } from "../lib/errors.js";
import type { Failover } from "./failover.js";

/** `POST /v1/units/<id>/promote {to, reason}`: any node takes it, the leader does it. */
export function failoverRoutes(context: NodeContext, failover: Failover): void {
  const order = async ({ params, json }: PeerRequest): Promise<{ unit: string; to: string; reason: string }> => {
    const body = ((await json()) ?? {}) as { to?: unknown; reason?: unknown };
    const text = (name: "to" | "reason"): string => {
      const value = body[name] ?? "";
      if (typeof value !== "string" || value.length > 200) throw new HcError("INVALID_INPUT", `${name}: must be a text of at most 200 characters.`);
      return value;
    };
    return { unit: params["id"] ?? "", to: text("to"), reason: text("reason") };
  };
  context.apiRoutes.route("POST", "/v1/units/:id/promote", async (request) => {
    const { unit, ...rest } = await order(request);
    const leader = context.view.current().leader?.value.node;
    if (leader === undefined) throw new HcError("NOT_LEADER", "There is no leader now.");
    if (leader === context.host.node) return failover.promote(unit, rest);
    return context.peers.call(leader, "POST", `/peer/v1/units/${encodeURIComponent(unit)}/promote`, rest, { timeoutMs: 30_000 });
  });
  context.peerRoutes.route("POST", "/peer/v1/units/:id/promote", async (request) => {
    const { unit, ...rest } = await order(request);
    return failover.promote(unit, rest);
  });
}
