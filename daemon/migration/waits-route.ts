import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { sumWaits, type WaitSecond, type WaitSum } from "../proxy/waits.js";

/** `GET /v1/units/<id>/waits?since=<UTC ms>`: what the proxies of all nodes say. */
export interface UnitWaits extends WaitSum {
  /** Nodes that have told, each with when the oldest of its workers' reports came, UTC ms. */
  nodes: { node: string; reportedAtMs: number }[];
  /** Nodes that could not be asked: what waited there is not counted. */
  missing: string[];
}

export function waitsRoute(context: Pick<NodeContext, "apiRoutes" | "view" | "peers">): void {
  context.apiRoutes.route("GET", "/v1/units/:id/waits", async ({ params, query }): Promise<UnitWaits> => {
    const unit = params["id"] ?? "";
    const sinceMs = Number(query.get("since") ?? "0");
    if (!Number.isFinite(sinceMs)) throw new HcError("INVALID_INPUT", "since: must be a number (UTC ms).");
    const nodes = [...context.view.current().nodes.values()].filter(({ value }) => value.role === "node").map(({ value }) => value.node);
    const told: UnitWaits["nodes"] = [];
    const seconds: WaitSecond[] = [];
    const missing: string[] = [];
    await Promise.all(nodes.map(async (node) => {
      try {
        const view = await context.peers.call<{ waits?: WaitSecond[]; reportedAtMs?: number }>(node, "GET", `/peer/v1/proxy/${encodeURIComponent(unit)}`, undefined, { timeoutMs: 3_000 });
        if (view.waits === undefined || view.reportedAtMs === undefined) return void missing.push(node); // of the version before
        told.push({ node, reportedAtMs: view.reportedAtMs });
        seconds.push(...view.waits);
      } catch {
        missing.push(node);
      }
    }));
    return { ...sumWaits(seconds, sinceMs), nodes: told.sort((a, b) => (a.node < b.node ? -1 : 1)), missing: missing.sort() };
  });
}
