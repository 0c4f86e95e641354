import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import type { Alerts, AlertsReport, TestResult } from "./alerts.js";

/** `GET /v1/alerts`, `POST /v1/alerts/test`: any node takes them, the leader answers. Without a leader the list is this node's, without the receivers' state. */
export function alertRoutes({ apiRoutes, peerRoutes, view, host, peers }: Pick<NodeContext, "apiRoutes" | "peerRoutes" | "view" | "host" | "peers">, alerts: Alerts): void {
  const leader = (): string | undefined => view.current().leader?.value.node;
  const test = async (): Promise<{ results: TestResult[] }> => ({ results: await alerts.test() });
  peerRoutes.route("GET", "/peer/v1/alerts", async () => alerts.report());
  peerRoutes.route("POST", "/peer/v1/alerts/test", test);
  apiRoutes.route("GET", "/v1/alerts", async () => {
    const at = leader();
    if (at === undefined || at === host.node) return alerts.report();
    return peers.call<AlertsReport>(at, "GET", "/peer/v1/alerts", undefined, { timeoutMs: 3_000 }).catch(() => alerts.report());
  });
  apiRoutes.route("POST", "/v1/alerts/test", async () => {
    const at = leader();
    if (at === undefined) throw new HcError("NOT_LEADER", "There is no leader now, and only the leader sends.");
    return at === host.node ? test() : peers.call<{ results: TestResult[] }>(at, "POST", "/peer/v1/alerts/test", {}, { timeoutMs: 30_000 });
  });
}
