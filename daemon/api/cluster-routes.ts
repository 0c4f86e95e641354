import type { NodeContext, RouteHandler } from "../context.js";
import { HcError } from "../lib/errors.js";
import { mergeLines } from "../proxy/access-log-tail.js";
import type { Status } from "../lib/status.js";
import { eventLimit, readEvents } from "./events.js";
import { metricsText, type Sample } from "./metrics.js";
import { explainSite } from "./why.js";

export interface ClusterCalls {
  status(): Status;
  /** Reasons why this node is not ready; none: ready. */
  notReady(): string[];
  samples(): Sample[];
  debris(): Promise<object>;
}

const number = (text: string | null, fallback: number, most: number): number => {
  if (text === null) return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new HcError("INVALID_INPUT", `${JSON.stringify(text)} is not a number from 1 to ${most}.`);
  return Math.min(value, most);
};

/** Status, readiness and explanations. What only a unit's home knows is asked there over the control port. */
export function clusterRoutes(context: NodeContext, calls: ClusterCalls): void {
  const { apiRoutes, peerRoutes, store, view, host, services, peers } = context;
  apiRoutes.route("GET", "/v1/ready", async () => {
    const reasons = calls.notReady();
    return { ready: reasons.length === 0, reasons };
  });
  apiRoutes.route("GET", "/v1/status", async () => calls.status());
  apiRoutes.route("GET", "/v1/events", async ({ query }) => ({ events: await readEvents(store, { unit: query.get("unit"), limit: number(query.get("limit"), 100, eventLimit), sinceMs: query.get("since") === null ? 0 : number(query.get("since"), 0, Number.MAX_SAFE_INTEGER) }) }));

  const localLogs: RouteHandler = async ({ params, query }) => ({ node: host.node, lines: await services.logs(params["unit"] as string, number(query.get("lines"), 100, 2000)) });
  peerRoutes.route("GET", "/peer/v1/logs/:unit", localLogs);
  apiRoutes.route("GET", "/v1/logs/:unit", async (request, response) => {
    const unit = request.params["unit"] as string;
    const record = view.current().units.get(unit)?.value;
    if (record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
    if (record.home === host.node) return localLogs(request, response);
    return peers.call(record.home, "GET", `/peer/v1/logs/${encodeURIComponent(unit)}?lines=${number(request.query.get("lines"), 100, 2000)}`, undefined, { timeoutMs: 10_000 });
  });
  apiRoutes.route("GET", "/v1/access-log/:unit", async ({ params, query }) => {
    const unit = params["unit"] as string;
    if (!view.current().units.has(unit)) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
    const lines = number(query.get("lines"), 100, 2000);
    const nodes = calls.status().nodes.filter((node) => node.role === "node").map((node) => node.name);
    const asked = await Promise.all(nodes.map((node) => peers.call<{ lines: string[] }>(node, "GET", `/peer/v1/access-log/${encodeURIComponent(unit)}?lines=${lines}`, undefined, { timeoutMs: 10_000 }).catch(() => undefined)));
    return { lines: mergeLines(asked.map((answer) => answer?.lines ?? []), lines), silent: nodes.filter((_, at) => asked[at] === undefined) };
  });
  apiRoutes.route("GET", "/v1/why/:site", async ({ params }) => explainSite(context, params["site"] as string, calls.status()));
  apiRoutes.route("GET", "/v1/debris", async () => calls.debris());
  apiRoutes.route("GET", "/metrics", async (_request, response) => {
    const text = metricsText(calls.samples());
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4", "content-length": Buffer.byteLength(text) });
    response.end(text);
    return undefined;
  });
}
