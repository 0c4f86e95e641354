import { HcError } from "../lib/errors.js";
import { parseAgo } from "../lib/point-in-time.js";
import { type GroupSnapshot, restoreOf, type UnitRecord } from "../lib/records.js";
import type { Versioned } from "../state/cluster-state.js";

/** Units in one group, and group snapshots of one unit. */
export const maxGroupUnits = 32;
export const maxGroupsPerUnit = 16;
const defaultForMs = 30 * 24 * 3_600_000;
const longestForMs = 10 * 365 * 24 * 3_600_000;

export interface GroupInfo { id: string; name: string; atMs: number; expiresAtMs: number; /** Units when it was made; fewer are listed when some were deleted since. */ of: number; units: { unit: string; home: string; snapshot: string }[] }
export interface GroupOrder { units: string[]; name: string; forMs: number; reason: string }

const isUnit = (text: unknown): text is string => typeof text === "string" && /^site-[a-z0-9-]{1,32}$/.test(text);
const textOf = (body: Record<string, unknown>, name: string, longest: number): string => {
  const given = body[name] ?? "";
  if (typeof given !== "string" || given.length > longest) throw new HcError("INVALID_INPUT", `${name}: must be a text of at most ${longest} characters.`);
  return given;
};
/** 1 to 32 different units. Throws INVALID_INPUT. */
function unitsOf(body: Record<string, unknown>): string[] {
  const units = body["units"];
  if (!Array.isArray(units) || units.length === 0 || units.length > maxGroupUnits) throw new HcError("INVALID_INPUT", `units: must be a list of 1 to ${maxGroupUnits} units.`);
  const wrong = units.find((unit) => !isUnit(unit));
  if (wrong !== undefined) throw new HcError("INVALID_INPUT", `units: ${JSON.stringify(wrong).slice(0, 60)} is no name of a unit.`);
  return [...new Set(units as string[])].sort();
}

/** Pure: body of `POST /v1/vault/groups`. `name` "" = made from the time. Names begin with a letter, so that none is a time. Throws INVALID_INPUT. */
export function readGroupOrder(value: unknown, nowMs: number): GroupOrder {
  const body = (value ?? {}) as Record<string, unknown>;
  const name = textOf(body, "name", 40) || `group-${new Date(nowMs).toISOString().replace(/[-:]/g, "").replace(/\.\d+Z$/, "z").toLowerCase()}`;
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(name)) throw new HcError("INVALID_INPUT", `name: ${JSON.stringify(name)} cannot be used; write small letters, digits and "-", beginning with a letter, such as "before-upgrade".`);
  const given = textOf(body, "for", 20);
  const forMs = given === "" ? defaultForMs : parseAgo(given);
  if (forMs === undefined || forMs < 60_000 || forMs > longestForMs) throw new HcError("INVALID_INPUT", `for: ${JSON.stringify(given)} cannot be used; write a time from "1m" to "3650d".`);
  return { units: unitsOf(body), name, forMs, reason: textOf(body, "reason", 200) };
}
/** Pure: body of `POST /v1/vault/restore`. Throws INVALID_INPUT. */
export function readGroupRestore(value: unknown): { units: string[]; at: string; reason: string } {
  const body = (value ?? {}) as Record<string, unknown>;
  const at = textOf(body, "at", 100);
  if (at === "") throw new HcError("INVALID_INPUT", 'at: is required and missing; write a time such as "2026-11-23T17:05:00Z" or "10m", or the name of a group snapshot.');
  return { units: unitsOf(body), at, reason: textOf(body, "reason", 200) };
}

/** Pure: the unit as it may be snapshotted by a person's word. Throws NOT_READY, CONFLICT, ALREADY_EXISTS, LIMIT_EXCEEDED. */
export function withGroup(record: UnitRecord, group: GroupSnapshot): UnitRecord {
  const { unit } = record;
  if (record.state !== "live") throw new HcError("NOT_READY", `${unit} is ${record.state}.`, { retry: "never" });
  if (restoreOf(record) !== undefined) throw new HcError("CONFLICT", `${unit} is being restored; its snapshot would be neither what it was nor what it will be.`, { retry: "never" });
  const others = record.groups ?? [];
  if (others.some(({ name }) => name === group.name)) throw new HcError("ALREADY_EXISTS", `${unit} has a group snapshot ${group.name} already: choose another name, or give it up first (\`hc vault forget ${group.name}\`).`);
  if (others.length >= maxGroupsPerUnit) throw new HcError("LIMIT_EXCEEDED", `${unit} has ${maxGroupsPerUnit} group snapshots already; give one up first (\`hc vault groups\`, \`hc vault forget NAME\`).`, { retry: "never" });
  return { ...record, groups: [...others, group] };
}
/** Pure: undefined when there is nothing to take away. */
export function withoutGroups(record: UnitRecord, gone: (group: GroupSnapshot) => boolean): UnitRecord | undefined {
  const { groups = [], ...rest } = record;
  const left = groups.filter((group) => !gone(group));
  return left.length === groups.length ? undefined : left.length === 0 ? rest : { ...rest, groups: left };
}
export const withoutExpired = (record: UnitRecord, nowMs: number): UnitRecord | undefined => withoutGroups(record, ({ expiresAtMs }) => expiresAtMs <= nowMs);
/** Pure: the snapshot that a group's name means for this unit; other texts stay what they are. */
export const groupedAs = (record: UnitRecord | undefined, at: string): string => record?.groups?.find(({ name, id }) => name === at || id === at)?.snapshot ?? at;

/** Pure: all groups, newest first. */
export function groupsOf(units: ReadonlyMap<string, Versioned<UnitRecord>>): GroupInfo[] {
  const found = new Map<string, GroupInfo>();
  for (const { value: record } of units.values())
    for (const { id, name, atMs, expiresAtMs, of, snapshot } of record.groups ?? []) {
      const group = found.get(id) ?? { id, name, atMs, expiresAtMs, of, units: [] };
      group.units.push({ unit: record.unit, home: record.home, snapshot });
      found.set(id, group);
    }
  for (const group of found.values()) group.units.sort((a, b) => (a.unit < b.unit ? -1 : 1));
  return [...found.values()].sort((a, b) => b.atMs - a.atMs || (a.id < b.id ? -1 : 1));
}
/** Pure: the one that is meant by an id or a name. Throws NOT_FOUND; CONFLICT when two bear the name. */
export function groupNamed(groups: readonly GroupInfo[], text: string): GroupInfo {
  const fitting = groups.filter(({ id, name }) => id === text || name === text);
  const [first] = fitting;
  if (first === undefined) throw new HcError("NOT_FOUND", `There is no group snapshot ${JSON.stringify(text.slice(0, 60))}; \`hc vault groups\` shows what there is.`);
  if (fitting.length > 1) throw new HcError("CONFLICT", `${fitting.length} groups are named ${text}: say which by its id (${fitting.map(({ id, units }) => `${id}: ${units.map(({ unit }) => unit).join(", ")}`).join("; ")}).`, { retry: "never" });
  return first;
}
