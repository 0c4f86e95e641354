import { randomBytes } from "node:crypto";
import { assertHome, untilSeen } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { retry } from "../lib/backoff.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { keys, restoreOf, type UnitRecord } from "../lib/records.js";
import type { Replication } from "../replication/replication.js";
import type { Versioned } from "../state/cluster-state.js";
import { type GroupInfo, type GroupOrder, withGroup, withoutGroups } from "./groups.js";

const prepareMs = 10_000;
const takeMs = 30_000;
export interface GroupMade extends GroupInfo { /** From the first order until the last home had answered, ms, on one clock: the moments of the units lie at most so far apart. 0: one home, one command. */ withinMs: number }

/** The units' records, grouped by home. Throws NOT_FOUND. */
export function recordsOf(context: Pick<NodeContext, "view">, units: readonly string[]): { records: Map<string, Versioned<UnitRecord>>; homes: Map<string, string[]> } {
  const state = context.view.current();
  const records = new Map<string, Versioned<UnitRecord>>();
  const homes = new Map<string, string[]>();
  for (const unit of units) {
    const found = state.units.get(unit);
    if (found === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
    records.set(unit, found);
    homes.set(found.value.home, [...(homes.get(found.value.home) ?? []), unit]);
  }
  return { records, homes };
}
/** All of these records or none. Throws CONFLICT: somebody was first, nothing was changed. */
export async function changeAll(context: Pick<NodeContext, "store" | "view">, records: ReadonlyMap<string, Versioned<UnitRecord>>, change: (record: UnitRecord) => UnitRecord): Promise<void> {
  const changed = [...records].map(([unit, { value, revision }]) => ({ key: keys.unit(unit), modRevision: revision, value: JSON.stringify(change(value)) }));
  const { succeeded } = await context.store.txn(changed.map(({ key, modRevision }) => ({ key, modRevision })), changed.map(({ key, value }) => ({ put: key, value })));
  if (!succeeded) throw new HcError("CONFLICT", `The records of ${[...records.keys()].join(", ")} changed meanwhile; nothing was done, try again.`);
}

/** At a home, first: are they ours, and by which names? */
export function prepareGroup(context: NodeContext, replication: Replication, units: readonly string[]): Record<string, string> {
  for (const unit of units) if (restoreOf(assertHome(context, unit)) !== undefined) throw new HcError("CONFLICT", `${unit} is being restored.`, { retry: "never" });
  return Object.fromEntries(units.map((unit) => [unit, replication.snapshotName(unit)]));
}
/** At a home, then: one command for all its units, once their records name the snapshots. */
export async function takeGroup(context: NodeContext, replication: Replication, id: string, units: readonly string[]): Promise<void> {
  const named = (unit: string): string | undefined => context.view.current().units.get(unit)?.value.groups?.find((group) => group.id === id)?.snapshot;
  await untilSeen(context, () => units.every((unit) => named(unit) !== undefined), `group ${id}`);
  for (const unit of units) if (restoreOf(assertHome(context, unit)) !== undefined) throw new HcError("CONFLICT", `${unit} is being restored.`, { retry: "never" });
  await replication.snapshotTogether(units.map((unit) => ({ unit, name: named(unit) as string })));
}

/**
 * Snapshots of several units: every home says yes and gives names → one transaction writes them into all records (so every copy will get them, and no pruner takes them) → every home makes those of its units by one command. Units
 * of one home are of one moment; homes get the order at the same time, and how far apart they were is measured and told. All or none: what fails takes the names off the records again; a snapshot that was made is then one
 * like any other, which the grid thins out.
 */
export async function makeGroup(context: NodeContext, order: GroupOrder): Promise<GroupMade> {
  const { clock, peers } = context;
  const { records, homes } = recordsOf(context, order.units);
  const id = randomBytes(6).toString("hex");
  const atMs = Math.floor(clock.wallMs());
  const entry = { id, name: order.name, atMs, expiresAtMs: atMs + order.forMs, of: order.units.length };
  for (const { value } of records.values()) withGroup(value, { ...entry, snapshot: "" });
  const asked = await Promise.all([...homes].map(([node, units]) => peers.call<{ names: Record<string, string> }>(node, "POST", "/peer/v1/vault/groups/prepare", { units }, { timeoutMs: prepareMs })));
  const names: Record<string, string> = Object.assign({}, ...asked.map((answer) => answer.names));
  await changeAll(context, records, (record) => withGroup(record, { ...entry, snapshot: names[record.unit] as string }));
  const began = clock.monotonicMs();
  const outcomes = await Promise.allSettled([...homes].map(([node, units]) => peers.call(node, "POST", "/peer/v1/vault/groups/take", { id, units }, { timeoutMs: takeMs })));
  const withinMs = homes.size === 1 ? 0 : Math.ceil(clock.monotonicMs() - began);
  const failed = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
  if (failed.length > 0) {
    await forgetGroup(context, id, order.units).catch((error: unknown) => context.log.warn({ group: id, reason: messageOf(error) }, "a group that failed stays on records until it expires"));
    throw new HcError(errorCode(failed[0]) ?? "INTERNAL", `The group snapshot was not made: ${failed.map(messageOf).join("; ")}`, { cause: failed[0] });
  }
  for (const unit of order.units) context.event(unit, "group-snapshot", `${order.name} (${order.units.length} units, ${withinMs === 0 ? "at one moment" : `within ${withinMs} ms`}) is ${names[unit]}; ${order.reason}`);
  return { ...entry, withinMs, units: order.units.map((unit) => ({ unit, home: (records.get(unit) as Versioned<UnitRecord>).value.home, snapshot: names[unit] as string })) };
}

/** From now on its snapshots are ones like any others. Repeatable. */
export async function forgetGroup(context: Pick<NodeContext, "store" | "signal">, id: string, units: readonly string[]): Promise<void> {
  for (const unit of units)
    await retry(`change of the record of ${unit}`, { firstMs: 50, capMs: 500, withinMs: 10_000, signal: context.signal }, async () => {
      const found = await context.store.get(keys.unit(unit));
      const next = found === undefined ? undefined : withoutGroups(JSON.parse(found.value) as UnitRecord, (group) => group.id === id);
      if (found === undefined || next === undefined) return;
      const { succeeded } = await context.store.txn([{ key: found.key, modRevision: found.modRevision }], [{ put: found.key, value: JSON.stringify(next) }]);
      if (!succeeded) throw new HcError("CONFLICT", `The record of ${unit} changed meanwhile.`);
    });
}
