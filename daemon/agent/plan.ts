import type { NodeInput } from "./model.js";
import { planTemplate } from "./plan-template.js";
import { planTrash } from "./plan-trash.js";
import { planUnit, roleOf } from "./plan-unit.js";
import { servicesText, siteRun } from "./site-run.js";
import type { SiteRun } from "../services/site-services.js";
import type { KeyedSteps, NodePlan, Note, Step } from "./steps.js";

/** Sites that this node holds or shall hold a copy of: their services are configured beforehand, so that a change of home needs no reload. */
function sitesOf(input: NodeInput): SiteRun[] {
  return input.units
    .flatMap((unit) => {
      const record = unit.record?.value;
      if (record === undefined || record.state === "deleting" || roleOf(input.node, unit) === "none" || unit.document === undefined || unit.customer === undefined || unit.customer.deleted === true) return [];
      if (unit.local !== undefined && unit.local.user["unit"] !== unit.id) return [];
      return [siteRun(input.node, input.data, record, unit.document.value, unit.customer)];
    })
    .sort((a, b) => (a.unit < b.unit ? -1 : 1));
}

/** Users for the sites of this node; those of deleted customers go when no site here needs them. */
function planUsers(input: NodeInput, sites: readonly SiteRun[]): Step[] {
  const needed = new Map(sites.map((site) => [site.user, site]));
  const present = new Map(input.users.map((user) => [user.user, user]));
  const missing: Step[] = [...needed.values()].filter((site) => !present.has(site.user)).map((site) => ({ action: "ensure-user", user: site.user, uid: site.uid, gid: site.gid }));
  const alive = new Set([...input.customers.values()].filter((customer) => customer.deleted !== true).map((customer) => customer.user));
  const gone: Step[] = input.users.filter(({ user }) => !needed.has(user) && !alive.has(user)).map(({ user }) => ({ action: "remove-user", user }));
  return [...missing, ...gone];
}

/**
 * Pure: what is to be done on this node now, one sequence a key. Rounds repeat until nothing is left; no plan survives a round.
 * A node without a live session only stops (invariant 4 of plan-unit.ts).
 */
export function planNode(input: NodeInput): NodePlan {
  const notes = new Map<string, Note>();
  const work: KeyedSteps[] = [];
  for (const unit of [...input.units].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    const plan = planUnit(input, unit);
    if (plan.steps.length > 0) work.push({ key: unit.id, steps: plan.steps, ...(plan.later === true ? { later: true } : {}) });
    if (plan.note !== undefined) notes.set(unit.id, plan.note);
  }
  if (!input.session.live || input.recovering === true) return { work, notes, sites: [] };
  const sites = sitesOf(input);
  const text = servicesText(sites);
  const users = planUsers(input, sites);
  const removals = users.filter((step) => step.action === "remove-user");
  const node: Step[] = users.filter((step) => step.action === "ensure-user");
  // a service that was still running when the configuration without it was made keeps its definition until it has ended
  const wanted = new Set(sites.map((site) => site.unit));
  const stray = input.units.some(({ id, service }) => (service === "inactive" || service === "failed") && !wanted.has(id));
  if (input.configured !== text || stray) node.push({ action: "configure", sites, text });
  // a user is removed after the configuration that ran as it
  node.push(...removals);
  if (node.length > 0) work.push({ key: "node:services", steps: node });
  for (const template of input.builds) {
    const plan = planTemplate(input, template);
    if (plan.steps.length > 0) work.push({ key: `template:${template.record.value.name}`, steps: plan.steps });
  }
  work.push(...planTrash(input));
  return { work, notes, sites };
}
