import type { NodeContext, PeerRequest } from "../context.js";
import { HcError } from "../lib/errors.js";

const callMs = 15_000;

/** A route of a unit that any node takes and its home answers: `/v1/units/<id>/<what>`. Throws NOT_FOUND, and what `here` throws. */
export function atHome(context: Pick<NodeContext, "apiRoutes" | "peerRoutes" | "view" | "peers" | "cluster">, method: "GET" | "POST" | "DELETE", what: string, here: (unit: string, request: Pick<PeerRequest, "query" | "json">) => Promise<unknown>): void {
  context.peerRoutes.route(method, `/peer/v1/units/:id/${what}`, (request) => here(request.params["id"] ?? "", request));
  context.apiRoutes.route(method, `/v1/units/:id/${what}`, async (request) => {
    const unit = request.params["id"] ?? "";
    const home = context.view.current().units.get(unit)?.value.home;
    if (home === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
    if (home === context.cluster.node) return await here(unit, request);
    const query = request.query.toString();
    return await context.peers.call(home, method, `/peer/v1/units/${encodeURIComponent(unit)}/${what}${query === "" ? "" : `?${query}`}`, method === "POST" ? await request.json() : undefined, { timeoutMs: callMs });
  });
}
