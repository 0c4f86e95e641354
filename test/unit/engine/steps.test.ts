import fc from "fast-check";
import type { Deletion } from "../../../stacks/engine/steps/deletes.js";
import { dependentsOf } from "../../../stacks/engine/steps/deletes.js";
import { decide, type Known } from "../../../stacks/engine/steps/decide.js";
import { parsePath, propertyDiff, updateDiff, withIgnored } from "../../../stacks/engine/steps/property-diff.js";
import { needs, ordered, withoutDangling } from "../../../stacks/engine/state/order.js";
import type { PropertyDiff, ResourceRecord } from "../../../stacks/engine/types.js";
import { makeUrn, parseUrn, stackUrn } from "../../../stacks/engine/urn.js";
import { hasUnknown, remarkProperties, same, secretOf, unknownValue, unwrap } from "../../../stacks/engine/values.js";
import { checkDeletes } from "../../../stacks/engine/delete-guard.js";
import { plannedStep } from "../../../stacks/engine/steps/context.js";

test("URNs", () => {
  const stack = stackUrn("dev", "p");
  const group = makeUrn("dev", "p", "a:b:Group", "g", stack);
  expect(group).toBe("urn:pulumi:dev::p::a:b:Group::g");
  const child = makeUrn("dev", "p", "x:y:Thing", "n::odd", group);
  expect(child).toBe("urn:pulumi:dev::p::a:b:Group$x:y:Thing::n::odd");
  expect(parseUrn(child)).toEqual({ stack: "dev", project: "p", qualifiedType: "a:b:Group$x:y:Thing", type: "x:y:Thing", name: "n::odd" });
});

test("values: marks come back to the same places, unwrapping takes all off", () => {
  const marked = { a: secretOf("x"), b: { c: secretOf(1), d: 2 }, e: [secretOf(1), 2], f: [secretOf(1)] };
  const plain = unwrap(marked);
  expect(plain).toEqual({ a: "x", b: { c: 1, d: 2 }, e: [1, 2], f: [1] });
  expect(remarkProperties({ ...plain, g: "extra" }, marked, ["g", "missing"])).toEqual({ ...marked, g: secretOf("extra") });
  // a list of another length cannot be matched: all of it is secret
  expect(remarkProperties({ f: [1, 2] }, marked)).toEqual({ f: secretOf([1, 2]) });
  expect(same({ a: 1, b: secretOf("x") }, { b: "x", a: 1 })).toBe(true);
  expect(same({ a: 1 }, { a: 1, b: null })).toBe(false);
  expect(hasUnknown({ a: [{ b: unknownValue }] })).toBe(true);
});

test("property diffs hide secrets on both sides", () => {
  const diff = propertyDiff({ a: 1, s: secretOf("old"), t: "clear", gone: true, __provider: "x" }, { a: 2, s: secretOf("new"), t: secretOf("hidden"), fresh: unknownValue, __provider: "y" }, ["a"]);
  expect(diff).toEqual([
    { key: "a", kind: "update", old: 1, new: 2, forcesReplacement: true }, { key: "fresh", kind: "add", new: "[unknown]", forcesReplacement: false }, { key: "gone", kind: "delete", old: true, forcesReplacement: false },
    { key: "s", kind: "update", old: "[secret]", new: "[secret]", forcesReplacement: false }, { key: "t", kind: "update", old: "[secret]", new: "[secret]", forcesReplacement: false },
  ]);
  expect(updateDiff({ inputs: { a: 1 }, outputs: { a: 5, b: 1 } }, { a: 1 }, [])).toEqual([{ key: "a", kind: "update", old: 5, new: 1, forcesReplacement: false }]);
});

test("ignoreChanges: paths, wildcards, places that are gone", () => {
  expect(parsePath('a.b[0]["c.d"].e')).toEqual(["a", "b", 0, "c.d", "e"]);
  expect(withIgnored({ a: { b: 1 }, c: 1 }, { a: { b: 2, x: 1 }, c: 2 }, ["a.b", "q.r"])).toEqual({ a: { b: 1, x: 1 }, c: 2 });
  expect(withIgnored({ a: 1 }, { a: 2, b: 2 }, ["*"])).toEqual({ a: 1 });
});

describe("decide", () => {
  const known: Known = { pendingReplacement: false, needsRepair: false, forcedReplace: false, replaceOnChanges: [], deleteBeforeReplace: undefined };
  const diff = (key: string): PropertyDiff => ({ key, kind: "update", old: 1, new: 2, forcesReplacement: false });
  const answer = (changes: boolean | undefined, replaces: string[] = [], deleteBeforeReplace = false) => ({ changes, replaces, deleteBeforeReplace });
  const op = (...args: Parameters<typeof decide>): string => {
    const made = decide(...args);
    return `${made.op}${made.deleteFirst ? " deleteFirst" : ""}${made.alreadyDeleted ? " deleted" : ""}`;
  };
  test.each<[string, ReturnType<typeof answer>, Partial<Known>, PropertyDiff[], string]>([
    ["the provider says no change", answer(false), {}, [diff("a")], "same"],
    ["the provider says change", answer(true), {}, [], "update"],
    ["replaces without changes count for nothing", answer(false, ["a"]), {}, [], "same"],
    ["replaces", answer(true, ["a"]), {}, [diff("a")], "replace"],
    ["replaces, the old one first", answer(true, ["a"], true), {}, [diff("a")], "replace deleteFirst"],
    ["the option wins over the provider", answer(true, ["a"], true), { deleteBeforeReplace: false }, [diff("a")], "replace"],
    ["the engine compares: equal", answer(undefined), {}, [], "same"],
    ["the engine compares: different", answer(undefined), {}, [diff("a")], "update"],
    ["replaceOnChanges where the engine compares", answer(undefined), { replaceOnChanges: ["a.b"] }, [diff("a")], "replace"],
    ["replaceOnChanges of another property", answer(undefined), { replaceOnChanges: ["b"] }, [diff("a")], "update"],
    ["replaceOnChanges does nothing where the provider compared", answer(true), { replaceOnChanges: ["a"] }, [diff("a")], "update"],
    ["half-made", answer(false), { needsRepair: true }, [], "update"],
    ["deleted before its replacement", answer(false), { pendingReplacement: true }, [], "replace deleteFirst deleted"],
    ["bound to a replaced one", answer(false), { forcedReplace: true }, [], "replace"],
  ])("%s", (_name, given, more, differing, expected) => {
    expect(op(given, { ...known, ...more }, () => differing)).toBe(expected);
  });
});

const record = (name: string, on: string[] = []): ResourceRecord => ({ urn: `urn:pulumi:s::p::t:t:T::${name}`, custom: true, type: "t:t:T", dependencies: on.map((other) => `urn:pulumi:s::p::t:t:T::${other}`) });
const graph = fc.array(fc.array(fc.nat(20), { maxLength: 4 }), { maxLength: 20 }).map((lists) => lists.map((list, index) => record(`r${index}`, list.filter((other) => other < index).map((other) => `r${other}`))));

test("the state's order: each after what it stands on, whatever the order before, and stable", () => {
  fc.assert(fc.property(graph.chain((records) => fc.shuffledSubarray(records, { minLength: records.length })), (shuffled) => {
    const sorted = ordered(shuffled);
    expect(new Set(sorted)).toEqual(new Set(shuffled));
    const at = new Map(sorted.map((item, index) => [item.urn, index]));
    for (const item of sorted) for (const urn of needs(item)) expect(at.get(urn)).toBeLessThan(at.get(item.urn) as number);
    expect(ordered(sorted)).toEqual(sorted);
  }));
});

test("deletion: nobody goes before those who stand on him; two of one name do not wait for each other", () => {
  fc.assert(fc.property(graph, (records) => {
    const deletions: Deletion[] = records.map((item, index) => ({ key: `b${index}`, record: item }));
    const before = dependentsOf(deletions);
    for (const deletion of deletions) for (const other of deletions) expect(before.get(deletion)?.has(other)).toBe(needs(other.record).includes(deletion.record.urn) && other !== deletion);
  }));
  const twice = [{ key: "a", record: record("x") }, { key: "b", record: { ...record("x"), delete: true } }];
  expect([...dependentsOf(twice).values()].every((set) => set.size === 0)).toBe(true);
});

test("references to what is gone are dropped", () => {
  const [clean] = withoutDangling([{ ...record("a", ["gone"]), deletedWith: "gone", parent: "gone", propertyDependencies: { x: ["gone"] } }]);
  expect(clean).toEqual({ ...record("a"), propertyDependencies: { x: [] } });
});

test("the delete guard counts what holds data, names it and says the word", () => {
  const site = (name: string, op: "delete" | "replace" | "update") => plannedStep(`urn:pulumi:s::p::pulumi-nodejs:dynamic/hybridcluster:Site::${name}`, op);
  const other = plannedStep("urn:pulumi:s::p::pulumi-nodejs:dynamic/hybridcluster:Customer::c", "delete");
  const pool = plannedStep("urn:pulumi:s::p::pulumi-nodejs:dynamic/hybridcluster:ZfsPool::p", "delete");
  expect(() => checkDeletes([site("a", "delete"), site("b", "update"), other], 1)).not.toThrow();
  expect(() => checkDeletes([site("a", "delete"), site("b", "replace"), pool, other], 2)).toThrow(expect.objectContaining({ code: "DELETE_GUARD", message: expect.stringMatching(/^3 resources .*\(Site a, Site b, ZfsPool p\).*--allow-delete=3\.$/) }));
  expect(() => checkDeletes(Array.from({ length: 300 }, (_, index) => site(`s${index}`, "delete")), 3)).toThrow(/Site s9 and 290 more/);
});
