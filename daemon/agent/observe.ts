import type { NodeContext } from "../context.js";
import type { ClusterState } from "../state/cluster-state.js";
import { configText } from "../lib/unit-config.js";
import { desiredOf, isRecovering } from "../state/cluster-state.js";
import type { Dataset } from "../zfs/zfs.js";
import type { DiskFacts, DiskView } from "./disk-facts.js";
import type { AgentMemory } from "./memory.js";
import type { LocalDataset, NodeInput, ServiceOutcome, TemplateInput, UnitInput } from "./model.js";
import { isUnitName } from "./names.js";

/** Users of customers; the number part of the contract with CustomerRecord.user. */
const userPrefix = "hc-";
/** Age at which the list of users is asked for again, ms. */
const usersMs = 120_000;
/** While the loop rests the services are asked for this often, ms: one that ends is started again by the supervisor; this sees the one that stays down. */
const restingServicesMs = 15_000;

/** What is on this node's disk, and what runs. */
export interface LocalFacts extends DiskFacts {
  services: ReadonlyMap<string, ServiceOutcome>;
  users: readonly { user: string; uid: number; gid: number }[];
}

/** Users change by this agent's own steps, and else by nobody: asked for after those, and now and then. */
export class UserList {
  private known: LocalFacts["users"] | undefined;
  private atMs = 0;
  public forget(): void {
    this.known = undefined;
  }
  public async list({ platform, clock }: Pick<NodeContext, "platform" | "clock">): Promise<LocalFacts["users"]> {
    const nowMs = clock.monotonicMs();
    if (this.known === undefined || nowMs - this.atMs > usersMs) {
      this.known = await platform.listUsers(userPrefix);
      this.atMs = nowMs;
    }
    return this.known;
  }
}

/** Services end by themselves too: asked for at each look, more seldom while the loop rests. */
export class ServiceList {
  private known: LocalFacts["services"] | undefined;
  private atMs = 0;
  public forget(): void {
    this.known = undefined;
  }
  public async list({ services, clock }: Pick<NodeContext, "services" | "clock">, resting: boolean): Promise<LocalFacts["services"]> {
    const nowMs = clock.monotonicMs();
    if (this.known === undefined || !resting || nowMs - this.atMs >= restingServicesMs) {
      this.known = await services.states();
      this.atMs = nowMs;
    }
    return this.known;
  }
}

/** `resting`: nobody has asked for this look, and the last one found nothing new. */
export async function lookAround(context: Pick<NodeContext, "services" | "platform" | "clock">, lists: { disk: DiskView; services: ServiceList; users: UserList }, live: boolean, busy: ReadonlySet<string>, resting: boolean): Promise<LocalFacts> {
  const [facts, services, users] = await Promise.all([lists.disk.look(live, busy), lists.services.list(context, resting), lists.users.list(context)]);
  return { ...facts, services, users };
}

const none: LocalDataset["snapshots"] = [];

function local(dataset: Dataset, facts: LocalFacts): LocalDataset {
  // the list as it was read: it stays the same one while nothing changes, so that what is found out about it need not be found out again (epochs.ts)
  const snapshots = facts.snapshots.get(dataset.name) ?? none;
  const quotaBytes = /^[0-9]+$/.test(dataset.quotaBytes) ? dataset.quotaBytes : "0";
  return { dataset: dataset.name, mounted: dataset.mounted, readonly: dataset.readonly, quotaBytes, usedBytes: dataset.usedBytes, user: dataset.user, snapshots };
}

/** Pure: facts, the cluster's picture and this process's memory make one input of the plan. */
export function nodeInput(context: Pick<NodeContext, "cluster" | "host" | "session">, facts: LocalFacts, state: ClusterState, memory: AgentMemory, live: boolean): NodeInput {
  const { node, dataset: root } = context.cluster;
  const below = facts.datasets.filter((item) => item.name.startsWith(`${root}/`));
  const byLast = new Map(below.filter((item) => !item.name.slice(root.length + 1).includes("/")).map((item) => [item.name.slice(root.length + 1), item]));
  const customers = new Map([...state.customers].map(([name, { value }]) => [name, value]));

  const mine = [...state.units.values()].filter(({ value }) => value.home === node || value.replicas.includes(node) || value.move?.target === node).map(({ value }) => value.unit);
  const ids = new Set([...mine, ...[...byLast.keys()].filter(isUnitName), ...[...facts.services.keys()].filter(isUnitName)]);
  const units = [...ids].sort().map((id): UnitInput => {
    const record = state.units.get(id);
    const document = record === undefined ? undefined : desiredOf(state, "site", record.value.name);
    const found = byLast.get(id);
    const observed = record === undefined ? undefined : state.observedUnits.get(record.value.home)?.get(id);
    const owner = record === undefined ? undefined : state.sessions.get(record.value.home)?.value;
    return {
      id,
      record,
      document,
      config: record === undefined || document === undefined ? undefined : configText(record.value, customers.get(document.value.spec.customer), desiredOf(state, "customer", document.value.spec.customer)?.value, desiredOf(state, "template", document.value.spec.template)?.value),
      customer: document === undefined ? undefined : customers.get(document.value.spec.customer),
      local: found === undefined ? undefined : local(found, facts),
      service: facts.services.get(id) ?? "none",
      trash: [...state.trash.values()].map(({ value }) => value).filter((value) => value.unit === id),
      homeHolds: observed !== undefined && observed.epoch === record?.value.epoch && observed.snapshots.length > 0 && owner?.dead !== true && owner?.generation === record.value.homeGeneration,
      configured: memory.sites.get(id) ?? "",
      started: memory.started.get(id) ?? "",
      checked: memory.checked.get(id) ?? "",
    };
  });
  const trashPrefix = `${root}/trash/`;
  const trashed = new Map(below.filter((item) => item.name.startsWith(trashPrefix) && !item.name.slice(trashPrefix.length).includes("/")).map((item) => [item.name.slice(trashPrefix.length), local(item, facts)]));
  const templates = new Map([...facts.snapshots].filter(([name]) => name.startsWith(`${root}/tmpl-`)).flatMap(([name, list]) => list.map((snapshot) => [`${name.slice(root.length + 6)}@${snapshot.name}`, snapshot.guid] as const)));
  const builds = [...state.templates.values()]
    .filter(({ value }) => value.builder === node)
    .map((record): TemplateInput => {
      const found = byLast.get(`tmpl-${record.value.name}`);
      return { record, document: desiredOf(state, "template", record.value.name), local: found === undefined ? undefined : local(found, facts) };
    });
  return {
    node,
    dataset: root,
    data: context.host.paths.data,
    session: { live, generation: context.session.generation, ...(live ? {} : { held: [...context.session.held().keys()] }) },
    recovering: isRecovering(state),
    units,
    trashed,
    trash: state.trash,
    templates,
    builds,
    customers,
    users: facts.users,
    configured: memory.configured,
  };
}
