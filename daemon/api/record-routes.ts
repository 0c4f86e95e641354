import type { ServerResponse } from "node:http";
import type { RouteRegistry } from "../context.js";
import { HcError } from "../lib/errors.js";
import { type CustomerRecord, keys, type ObservedUnit, type TemplateRecord, type UnitRecord } from "../lib/records.js";
import { holders, lyingText } from "../placement/plan-units.js";
import { eachLookS, rpoOf } from "../replication/rpo.js";
import { type ClusterState, desiredOf, type View } from "../state/cluster-state.js";
import type { Store } from "../state/store.js";
import { sendJson } from "./router.js";

/** `ready`: the home serves at the record's epoch with the newest revision of the document. */
export function unitReady(record: UnitRecord, observed: Readonly<Record<string, ObservedUnit>>, documentRevision: string | undefined): boolean {
  const home = observed[record.home];
  return record.state === "live" && home !== undefined && home.state === "serving" && home.epoch === record.epoch && documentRevision !== undefined && home.appliedRevision === documentRevision;
}

/** One unit as the API shows it. */
export function unitAnswer(state: ClusterState, id: string): object | undefined {
  const unit = state.units.get(id);
  const document = desiredOf(state, "site", id.replace(/^site-/, ""));
  if (unit === undefined) return undefined;
  const observed: Record<string, ObservedUnit> = {};
  for (const [node, units] of state.observedUnits) {
    const seen = units.get(id);
    if (seen !== undefined) observed[node] = seen;
  }
  return {
    record: unit.value, revision: unit.revision, observed, document: document?.value ?? null, documentRevision: document?.revision ?? "0",
    appliedRevision: observed[unit.value.home]?.appliedRevision ?? "0", ready: unitReady(unit.value, observed, document?.revision), rpoS: Math.max(eachLookS, rpoOf(state)(id)),
  };
}

function pending(response: ServerResponse, message: string): undefined {
  sendJson(response, 202, { error: { code: "NOT_READY", message, context: {} } });
  return undefined;
}

/** What the cluster made of the documents: customers' numbers, templates' builds, units' records. */
export function recordRoutes(routes: RouteRegistry, store: Store, view: View): void {
  routes.route("GET", "/v1/customers/:name", async ({ params }, response) => {
    const name = params["name"] as string;
    const found = await store.get(keys.customer(name));
    const record = found === undefined ? undefined : (JSON.parse(found.value) as CustomerRecord);
    if (record !== undefined && record.deleted !== true) return record;
    if ((await store.get(keys.desired("customer", name))) === undefined) throw new HcError("NOT_FOUND", `There is no customer ${name}.`);
    return pending(response, `customer ${name} has no numbers yet; the leader gives them.`);
  });
  routes.route("GET", "/v1/templates/:name/:version", async ({ params }, response) => {
    const { name = "", version = "" } = params;
    const found = await store.get(keys.template(name, version));
    if (found !== undefined) return JSON.parse(found.value) as TemplateRecord;
    const document = await store.get(keys.desired("template", name));
    if (document === undefined) throw new HcError("NOT_FOUND", `There is no template ${name}.`);
    return pending(response, `template ${name} ${version} has no builder yet; the leader chooses one.`);
  });
  routes.route("GET", "/v1/units", async () => ({ units: [...view.current().units.keys()].sort().map((id) => unitAnswer(view.current(), id)) }));
  routes.route("GET", "/v1/units/:id", async ({ params }, response) => {
    const id = params["id"] as string;
    const answer = unitAnswer(view.current(), id);
    if (answer !== undefined) return answer;
    const name = id.replace(/^site-/, "");
    if ((await store.get(keys.desired("site", name))) === undefined) throw new HcError("NOT_FOUND", `There is no unit ${id}.`);
    const lying = holders(view.current(), id);
    if (lying.length > 0) throw new HcError("ALREADY_EXISTS", lyingText(id, lying));
    return pending(response, `${id} is not placed yet: its customer and template must be ready first.`);
  });
}
