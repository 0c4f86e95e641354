import { readNote, readOrder, readSign, type FenceNote, type FenceOrder } from "../../../daemon/fencer/parse-fence.js";
import { afterTry, lookMs, planFence, unfitMs } from "../../../daemon/fencer/plan-fence.js";

const units = [{ unit: "site-a", dataset: "hpool/hc/site-a", mountpoint: "/hc/site-a" }];
const order = (more: Partial<FenceOrder> = {}): FenceOrder => ({ version: 1, bootId: "b1", deadlineMs: 5000, generation: 7, units, ...more });
const note = (more: Partial<FenceNote> = {}): FenceNote => ({ version: 1, bootId: "b1", generation: 7, state: "fencing", deadlineMs: 5000, startedMs: 5001, verifiedMs: null, wallMs: 1, units: ["site-a"], left: [], ...more });

describe("plan of a fence", () => {
  test("without an order there is nothing to do; a fence that was under way is forgotten", () => {
    expect(planFence(undefined, undefined, 10)).toEqual({ do: "wait", ms: lookMs });
    expect(planFence(undefined, note(), 10)).toEqual({ do: "forget" });
    for (const state of ["fenced", "unfit", "overtaken"] as const) expect(planFence(undefined, note({ state }), 10)).toEqual({ do: "wait", ms: lookMs });
  });
  test("before the deadline it waits for it, and looks meanwhile; at the deadline it fences", () => {
    expect(planFence(order(), undefined, 0)).toEqual({ do: "wait", ms: lookMs });
    expect(planFence(order(), undefined, 4900)).toEqual({ do: "wait", ms: 100 });
    expect(planFence(order(), undefined, 4999.9)).toEqual({ do: "wait", ms: 1 });
    expect(planFence(order(), undefined, 5000)).toEqual({ do: "fence", order: order(), begin: true });
  });
  test("a generation that missed its deadline stays lost, whatever a later order of it says", () => {
    const late = order({ deadlineMs: 99_000 });
    for (const state of ["fencing", "fenced", "unfit", "overtaken"] as const) expect(planFence(late, note({ state }), 6000)).toEqual({ do: "fence", order: late, begin: false });
    expect(planFence(order({ generation: 6, deadlineMs: 99_000 }), note({ state: "fenced" }), 6000)).toMatchObject({ do: "fence", begin: false });
  });
  test("only a later generation with its deadline ahead ends a fence", () => {
    const next = order({ generation: 8, deadlineMs: 12_000 });
    expect(planFence(next, note(), 7100)).toEqual({ do: "yield", note: note() });
    for (const state of ["fenced", "unfit", "overtaken"] as const) expect(planFence(next, note({ state }), 11_900)).toEqual({ do: "wait", ms: 100 });
    expect(planFence(next, note({ state: "fenced" }), 12_000)).toEqual({ do: "fence", order: next, begin: true });
  });
});

describe("the note after a try", () => {
  const left = [{ unit: "site-a", why: "busy" }];
  test("nothing left: fenced, with the time at which that was first seen", () => {
    expect(afterTry(note(), [], 5300)).toMatchObject({ state: "fenced", verifiedMs: 5300 });
    expect(afterTry(note({ state: "fenced", verifiedMs: 5300 }), [], 9000)).toMatchObject({ state: "fenced", verifiedMs: 5300 });
  });
  test("something left: tried again for a set time, then unfit for good", () => {
    expect(afterTry(note(), left, 5001 + unfitMs - 1)).toMatchObject({ state: "fencing", left });
    expect(afterTry(note(), left, 5001 + unfitMs)).toMatchObject({ state: "unfit", left });
    expect(afterTry(note({ state: "unfit", left }), [], 999_999)).toMatchObject({ state: "unfit", left: [] });
  });
  test("something that came up after all was ended has its own time", () => {
    expect(afterTry(note({ state: "fenced", verifiedMs: 5300 }), left, 5300 + unfitMs)).toMatchObject({ state: "fencing", startedMs: 5300 + unfitMs, verifiedMs: null });
  });
});

describe("reading", () => {
  const text = JSON.stringify(order());
  test("what was written is read; no file is no order; another boot's says nothing", () => {
    expect(readOrder(text, "b1", 0)).toEqual({ kind: "read", value: order() });
    expect(readOrder(undefined, "b1", 0)).toEqual({ kind: "none" });
    expect(readOrder(text, "b2", 0)).toEqual({ kind: "foreign" });
  });
  test("torn at any place, of another version or shape: unreadable, never an order", () => {
    for (let length = 0; length < text.length; length += 1) expect(readOrder(text.slice(0, length), "b1", 0).kind).toBe("unreadable");
    const strange = [{ version: 0 }, { version: 2 }, { deadlineMs: "5000" }, { deadlineMs: null }, { generation: undefined }, { units: "site-a" }, { units: [{ unit: "site-a" }] }, { units: [null] }, { bootId: 1 }];
    for (const more of strange) expect(readOrder(JSON.stringify({ ...order(), ...more }), "b1", 0).kind).toBe("unreadable");
    for (const other of ["null", "[]", "7", '"x"']) expect(readOrder(other, "b1", 0).kind).toBe("unreadable");
  });
  test("a deadline by another clock is not believed", () => {
    expect(readOrder(JSON.stringify(order({ deadlineMs: 1_000_000 })), "b1", 0).kind).toBe("unreadable");
    expect(readOrder(JSON.stringify(order({ deadlineMs: 1_000_000 })), "b1", 996_000).kind).toBe("read");
  });
  test("notes and signs", () => {
    expect(readNote(JSON.stringify(note({ left: [{ unit: "site-a", why: "busy" }] })), "b1")).toMatchObject({ kind: "read", value: { state: "fencing" } });
    for (const more of [{ state: "well" }, { left: [{ unit: "a" }] }, { units: [1] }, { verifiedMs: "x" }, { version: 2 }]) expect(readNote(JSON.stringify({ ...note(), ...more }), "b1").kind).toBe("unreadable");
    expect(readSign('{"version":1,"bootId":"b1","pid":3,"atMs":4}', "b1")).toEqual({ kind: "read", value: { version: 1, bootId: "b1", pid: 3, atMs: 4 } });
    expect(readSign('{"version":1,"bootId":"b1"}', "b1").kind).toBe("unreadable");
  });
});
