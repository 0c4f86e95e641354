import type { GroupSnapshot, UnitRecord } from "../../../daemon/lib/records.js";
import type { Versioned } from "../../../daemon/state/cluster-state.js";
import { groupedAs, groupNamed, groupsOf, maxGroupsPerUnit, readGroupOrder, readGroupRestore, withGroup, withoutExpired, withoutGroups } from "../../../daemon/vault/groups.js";
import { keptNames } from "../../../daemon/vault/kept.js";

const record: UnitRecord = { version: 1, unit: "site-a", kind: "site", name: "a", home: "n1", homeGeneration: 3, epoch: 4, epochStartGuid: "g", replicas: ["n2"], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "php", version: "1", guid: "t" } };
const day = 24 * 3_600_000;
const group = (name: string, more: Partial<GroupSnapshot> = {}): GroupSnapshot => ({ id: `id-${name}`, name, snapshot: `4-${name}`, atMs: 1, expiresAtMs: 10 * day, of: 2, ...more });
const units = (...records: UnitRecord[]): Map<string, Versioned<UnitRecord>> => new Map(records.map((value) => [value.unit, { value, revision: "1" }]));

test("a group snapshot stands in the record, is kept whatever the grid says, and goes when it expires or is given up", () => {
  const now = withGroup(withGroup(record, group("one")), group("two", { expiresAtMs: day }));
  expect(keptNames(now, 5 * day)).toEqual(["4-one", "4-two"]);
  expect(withoutExpired(now, day - 1)).toBeUndefined();
  expect(withoutExpired(now, day)?.groups?.map(({ name }) => name)).toEqual(["one"]);
  expect(withoutGroups(now, () => true)).toEqual(record);
  expect([groupedAs(now, "one"), groupedAs(now, "id-two"), groupedAs(now, "10m"), groupedAs(undefined, "one")]).toEqual(["4-one", "4-two", "10m", "one"]);
});
test("bounded, and never two of one name", () => {
  let full = record;
  for (let i = 0; i < maxGroupsPerUnit; i += 1) full = withGroup(full, group(`g${i}`));
  expect(() => withGroup(full, group("more"))).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED", retry: "never" }));
  expect(() => withGroup(withGroup(record, group("one")), group("one", { id: "other" }))).toThrow(expect.objectContaining({ code: "ALREADY_EXISTS" }));
});
test.each<[string, Partial<UnitRecord>]>([["made", { state: "creating" }], ["deleted", { state: "deleting" }], ["restored", { restore: { id: "r", epoch: 4, snapshot: "s", before: "", reason: "" } }]])("one that is being %s is not snapshotted", (_what, more) => {
  expect(() => withGroup({ ...record, ...more }, group("one"))).toThrow(expect.objectContaining({ retry: "never" }));
});
test("groups of all units, newest first; a name that two groups bear is no name", () => {
  const b = { ...record, unit: "site-b", home: "n2" };
  const listed = groupsOf(units(withGroup(b, group("one", { snapshot: "4-b" })), withGroup(withGroup(record, group("one")), group("late", { atMs: 9, of: 1 }))));
  expect(listed.map(({ name, of, units: of_ }) => [name, of, of_.map(({ unit, home, snapshot }) => `${unit} ${home} ${snapshot}`)])).toEqual([["late", 1, ["site-a n1 4-late"]], ["one", 2, ["site-a n1 4-one", "site-b n2 4-b"]]]);
  expect(groupNamed(listed, "id-one").name).toBe("one");
  expect(() => groupNamed(listed, "none")).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  const two = groupsOf(units(withGroup(record, group("one")), withGroup(b, group("one", { id: "other" }))));
  expect(() => groupNamed(two, "one")).toThrow(/^2 groups are named one: say which by its id \((id-one: site-a; other: site-b|other: site-b; id-one: site-a)\)/);
});
test("bodies of the API", () => {
  expect(readGroupOrder({ units: ["site-b", "site-a", "site-b"] }, Date.UTC(2026, 10, 23, 17, 5))).toEqual({ units: ["site-a", "site-b"], name: "group-20261123t170500z", forMs: 30 * day, reason: "" });
  expect(readGroupOrder({ units: ["site-a"], name: "before-upgrade", for: "2h", reason: "x" }, 0)).toEqual({ units: ["site-a"], name: "before-upgrade", forMs: 7_200_000, reason: "x" });
  const many = Array.from({ length: 33 }, (_, i) => `site-${i}`);
  for (const [body, why] of [[undefined, /^units: /], [{ units: [] }, /^units: /], [{ units: many }, /^units: /], [{ units: ["site-a", "../x"] }, /^units: "..\/x"/], [{ units: [5] }, /^units: 5/], [{ units: ["site-a"], name: "3d" }, /^name: /], [{ units: ["site-a"], name: "A b" }, /^name: /], [{ units: ["site-a"], for: "1s" }, /^for: /], [{ units: ["site-a"], for: "4000d" }, /^for: /]] as const) expect(() => readGroupOrder(body, 0)).toThrow(why);
  expect(readGroupRestore({ units: ["site-a"], at: "10m" })).toEqual({ units: ["site-a"], at: "10m", reason: "" });
  expect(() => readGroupRestore({ units: ["site-a"] })).toThrow(/^at: is required/);
});
