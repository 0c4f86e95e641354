import { randomBytes } from "node:crypto";
import type { NodeContext } from "../context.js";
import { parsePointInTime } from "../lib/point-in-time.js";
import type { Replication } from "../replication/replication.js";
import { changeAll, forgetGroup, type GroupMade, makeGroup, prepareGroup, recordsOf, takeGroup } from "./group-snapshot.js";
import { type GroupInfo, groupNamed, groupsOf, readGroupOrder, readGroupRestore } from "./groups.js";
import { withRestore } from "./restore-unit.js";
import type { UnitOrder, VaultHome } from "./start.js";

const chooseMs = 20_000;
export type { GroupInfo, GroupMade };
export interface GroupRestoreOrder { at: string; units: UnitOrder[] }

/** Several units at once. Any node coordinates. */
export function groupRoutes(context: NodeContext, replication: Replication, home: VaultHome): void {
  const { apiRoutes, peerRoutes, peers, view, clock } = context;
  const ordered = (body: unknown): { id: string; units: string[] } => body as { id: string; units: string[] };
  peerRoutes.route("POST", "/peer/v1/vault/groups/prepare", async (request) => ({ names: prepareGroup(context, replication, ordered(await request.json()).units) }));
  peerRoutes.route("POST", "/peer/v1/vault/groups/take", async (request) => {
    const { id, units } = ordered(await request.json());
    await takeGroup(context, replication, id, units);
    return { id };
  });
  peerRoutes.route("POST", "/peer/v1/vault/choose", async (request) => {
    const { units, at } = (await request.json()) as { units: string[]; at: string };
    return { chosen: await Promise.all(units.map(async (unit) => ({ unit, ...(await home.choose(unit, at)) }))) };
  });

  apiRoutes.route("GET", "/v1/vault/groups", async () => ({ groups: groupsOf(view.current().units) }));
  apiRoutes.route("POST", "/v1/vault/groups", async (request): Promise<GroupMade> => makeGroup(context, readGroupOrder(await request.json(), clock.wallMs())));
  apiRoutes.route("DELETE", "/v1/vault/groups/:id", async ({ params }) => {
    const group = groupNamed(groupsOf(view.current().units), params["id"] ?? "");
    await forgetGroup(context, group.id, group.units.map(({ unit }) => unit));
    for (const { unit } of group.units) context.event(unit, "group-forgotten", group.name);
    return group;
  });
  apiRoutes.route("POST", "/v1/vault/restore", async (request) => restoreGroup(context, await request.json()));

  /** What each unit will be is chosen by its home first; then one transaction orders all of them, or none. From there each is a restore of its own. */
  async function restoreGroup({ event }: NodeContext, body: unknown): Promise<GroupRestoreOrder> {
    const { units, at, reason } = readGroupRestore(body);
    const { records, homes } = recordsOf(context, units);
    const isName = units.every((unit) => records.get(unit)?.value.groups?.some(({ id, name }) => id === at || name === at));
    // one clock says what "10m" ago is, for all homes
    const time = isName ? at : new Date(parsePointInTime(at, clock.wallMs())).toISOString();
    const answers = await Promise.all([...homes].map(([node, own]) => peers.call<{ chosen: { unit: string; snapshot: string; madeMs: number }[] }>(node, "POST", "/peer/v1/vault/choose", { units: own, at: time }, { timeoutMs: chooseMs })));
    const chosen = answers.flatMap((answer) => answer.chosen);
    const orders = chosen.map(({ unit, snapshot, madeMs }): UnitOrder => ({ id: randomBytes(8).toString("hex"), unit, node: records.get(unit)?.value.home ?? "", snapshot, madeMs })).sort((a, b) => (a.unit < b.unit ? -1 : 1));
    const byUnit = new Map(orders.map((order) => [order.unit, order]));
    await changeAll(context, records, (record) => {
      const order = byUnit.get(record.unit) as UnitOrder;
      return withRestore(record, { id: order.id, snapshot: order.snapshot, reason });
    });
    for (const { unit, snapshot } of orders) event(unit, "restoring", `to ${snapshot}, with ${units.length - 1} others; ${reason}`);
    return { at: time, units: orders };
  }
}
