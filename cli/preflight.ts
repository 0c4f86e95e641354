import { errorCode, HcError, messageOf } from "../daemon/lib/errors.js";
import { holdsUnknown } from "../daemon/lib/schema.js";
import type { Status } from "../daemon/lib/status.js";
import { preflightHosts } from "../providers/handlers/preflight-hosts.js";
import { type PlannedSite, type PreflightFailure, preflightSites } from "../providers/handlers/preflight-sites.js";
import type { HostInputs } from "../providers/schemas/host.js";
import type { SiteInputs } from "../providers/schemas/site.js";
import { apiCall } from "../providers/ssh/api-client.js";
import type { PlannedStep } from "../stacks/engine/index.js";

const typeOf = (step: PlannedStep): string => step.type.split(":").at(-1) ?? "";
const changes = (step: PlannedStep): boolean => step.op === "create" || step.op === "update" || step.op === "replace";

/** What cannot be known without a look at the machines: hosts (one bounded SSH call each) and the cluster's units. Nothing is changed. */
export async function preflight(plan: readonly PlannedStep[]): Promise<void> {
  // lab nodes that this very run starts cannot be looked at yet
  const starting = new Set(plan.filter((step) => typeOf(step) === "LocalHost" && changes(step)).map((step) => step.newInputs?.["address"]).filter((address) => address !== undefined));
  const hosts = plan.filter((step) => typeOf(step) === "Host" && changes(step) && step.newInputs !== undefined && !holdsUnknown(step.newInputs) && !starting.has(step.newInputs["address"] ?? ""));
  const failures: PreflightFailure[] = await preflightHosts(hosts.map((step) => ({ resource: step.name, inputs: step.newInputs as unknown as HostInputs })));
  const sites = plan.filter((step) => typeOf(step) === "Site" && changes(step) && step.newInputs !== undefined && !holdsUnknown(step.newInputs["connection"]));
  failures.push(...(await lookAtSites(sites, starting.size > 0)));
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `Nothing was changed. ${failures.map((item) => `${item.resource}: ${item.property}: ${item.reason}`).join("; ")}`, { context: { failures } });
}

async function lookAtSites(steps: readonly PlannedStep[], starting: boolean): Promise<PreflightFailure[]> {
  const [first] = steps;
  if (first === undefined) return [];
  const planned = steps.map((step): PlannedSite => ({ resource: step.name, op: step.op as "create", inputs: step.newInputs as unknown as SiteInputs }));
  const failures: PreflightFailure[] = [];
  for (const cluster of new Set(planned.map((site) => site.inputs.connection.cluster))) {
    const mine = planned.filter((site) => site.inputs.connection.cluster === cluster);
    try {
      const status = await apiCall<Status>(mine[0]?.inputs.connection.hosts ?? [], "GET", "/v1/status", undefined, { timeoutMs: 10_000 });
      failures.push(...preflightSites(mine, status));
    } catch (error) {
      // A cluster that is only now being made has nothing to look at. One that was there and does not answer is told at the first step.
      if (!starting && mine.some((site) => site.op !== "create") && errorCode(error) !== undefined) failures.push({ resource: cluster, property: "connection", reason: messageOf(error) });
    }
  }
  return failures;
}
