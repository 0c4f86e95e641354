import { Gates } from "../../daemon/proxy/gates.js";
import { SimClock } from "../support/sim-clock.js";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
function setup(expected = 1) {
  const clock = new SimClock();
  const gates = new Gates(clock);
  const told: string[][] = [];
  const [a, b] = [{}, {}];
  const never = new AbortController();
  return { clock, gates, told, a, b, never, attach: () => gates.attach(() => void told.push(gates.held()), expected) };
}

test("a hold is there when every worker has said that nothing of the unit runs", async () => {
  const { gates, told, a, b, never, attach } = setup();
  attach();
  gates.joined(a);
  gates.joined(b);
  let left: number | undefined;
  void gates.hold("site-a", 5_000, never.signal).then((running) => (left = running));
  expect(told).toEqual([["site-a"]]);
  gates.said(a, { "site-a": 0 });
  await turn();
  expect(left).toBeUndefined(); // b may still begin one
  gates.said(b, { "site-a": 2 });
  await turn();
  expect(left).toBeUndefined();
  gates.said(b, { "site-a": 0 });
  await turn();
  expect(left).toBe(0);
  gates.release("site-a");
  expect(told).toEqual([["site-a"], []]);
});

test("a worker that is not connected may serve all the same: it is waited for", async () => {
  const { gates, a, b, never, attach } = setup(2);
  attach();
  gates.joined(a);
  let left: number | undefined;
  void gates.hold("site-a", 5_000, never.signal).then((running) => (left = running));
  gates.said(a, { "site-a": 0 });
  await turn();
  expect(left).toBeUndefined();
  gates.joined(b);
  gates.said(b, { "site-a": 0 });
  await turn();
  expect(left).toBe(0);
});

test("what a worker said in an earlier hold counts for nothing in the next", async () => {
  const { gates, a, never, attach } = setup();
  attach();
  gates.joined(a);
  const first = gates.hold("site-a", 5_000, never.signal);
  gates.said(a, { "site-a": 0, "site-b": 0 });
  expect(await first).toBe(0);
  gates.release("site-a");
  let left: number | undefined;
  for (const unit of ["site-a", "site-b"]) void gates.hold(unit, 5_000, never.signal).then((running) => (left = running));
  await turn();
  expect(left).toBeUndefined();
});

test("without a worker's line nobody knows what runs; a worker that leaves others has nothing in flight", async () => {
  const { gates, a, b, clock, never, attach } = setup();
  let before: number | undefined;
  void gates.hold("site-a", 5_000, never.signal).then((running) => (before = running));
  await clock.advance(4_999);
  expect(before).toBeUndefined();
  await clock.advance(1);
  expect(before).toBe(1);
  gates.release("site-a");
  attach();
  const held = gates.hold("site-a", 5_000, never.signal);
  await turn();
  gates.joined(a);
  gates.joined(b);
  gates.said(a, { "site-a": 0 });
  gates.left(b);
  expect(await held).toBe(0);
  let left: number | undefined;
  void gates.hold("site-b", 5_000, never.signal).then((running) => (left = running));
  gates.left(a); // its line is cut: it may live, and serve
  await clock.advance(4_999);
  expect(left).toBeUndefined();
  await clock.advance(1);
  expect(left).toBe(1);
});

test("the deadline tells how many still run, and the gate stays closed; a cancelled hold is released; a unit is held once", async () => {
  const { gates, a, clock, told, attach } = setup();
  attach();
  gates.joined(a);
  const stop = new AbortController();
  const held = gates.hold("site-a", 5_000, stop.signal);
  gates.said(a, { "site-a": 3 });
  await expect(gates.hold("site-a", 5_000, stop.signal)).rejects.toMatchObject({ code: "CONFLICT" });
  await clock.advance(5_000);
  expect([await held, gates.held()]).toEqual([3, ["site-a"]]);
  gates.release("site-a");
  const cancelled = gates.hold("site-a", 5_000, stop.signal);
  stop.abort();
  await expect(cancelled).rejects.toBeDefined();
  expect([gates.held(), told.at(-1)]).toEqual([[], []]);
});

test("only who closed a gate opens it: the end of a move does not open what a person holds, nor the other way round", async () => {
  const { gates, a, never, attach } = setup();
  attach();
  gates.joined(a);
  void gates.hold("site-a", 5_000, never.signal, "person");
  gates.release("site-a");
  await expect(gates.hold("site-a", 5_000, never.signal)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(gates.held()).toEqual(["site-a"]);
  gates.release("site-a", "person");
  void gates.hold("site-a", 5_000, never.signal);
  gates.release("site-a", "person");
  expect(gates.held()).toEqual(["site-a"]);
  gates.release("site-a");
  expect(gates.held()).toEqual([]);
});

test("what a worker said before it heard of a hold says nothing of it", async () => {
  const { gates, a, never, attach } = setup();
  attach();
  gates.joined(a);
  const first = gates.hold("site-a", 5_000, never.signal);
  const { lastRound } = gates;
  gates.said(a, { "site-a": 0 }, lastRound);
  expect(await first).toBe(0);
  gates.release("site-a");
  let left: number | undefined;
  void gates.hold("site-a", 5_000, never.signal).then((running) => (left = running));
  gates.said(a, { "site-a": 0 }, lastRound); // it was on its way
  await turn();
  expect(left).toBeUndefined();
  gates.said(a, { "site-a": 0 }, gates.lastRound);
  await turn();
  expect(left).toBe(0);
});

// Requests of a site to itself: they pass while the hold has not settled.
test("an own call passes while its hold drains, which then waits for it too; nothing passes once the hold has its answer", async () => {
  const { gates, a, b, never, attach } = setup(2);
  attach();
  gates.joined(a);
  gates.joined(b);
  let left: number | undefined;
  expect([gates.draining(), gates.passes(a, "site-a", 1, 0)]).toEqual([[], false]); // not held
  void gates.hold("site-a", 5_000, never.signal).then((running) => (left = running));
  expect(gates.draining()).toEqual(["site-a"]);
  gates.said(a, { "site-a": 0 }, 1);
  gates.said(b, { "site-a": 1 }, 1); // the request that calls
  expect(gates.passes(a, "site-a", 1, 1)).toBe(true); // at the other worker
  gates.said(b, { "site-a": 0 }, 1);
  await turn();
  expect(left).toBeUndefined();
  gates.said(a, { "site-a": 0 }, 1);
  // in the same turn, before anybody could act on the answer
  expect([gates.passes(a, "site-a", 1, 1), gates.passes(b, "site-a", 1, 1), gates.draining(), gates.held()]).toEqual([false, false, [], ["site-a"]]);
  await turn();
  expect(left).toBe(0);
});

test("an own call that is asked about before its worker has said anything of the hold counts; the worker's first word of it too", async () => {
  const { gates, a, never, attach } = setup();
  attach();
  gates.joined(a);
  let left: number | undefined;
  void gates.hold("site-a", 5_000, never.signal).then((running) => (left = running));
  expect(gates.passes(a, "site-a", 1, 1)).toBe(true);
  gates.said(a, { "site-a": 1 }, 1);
  await turn();
  expect(left).toBeUndefined();
  gates.said(a, { "site-a": 0 }, 1);
  await turn();
  expect(left).toBe(0);
});

test("past the deadline nothing passes, and a refused call is not counted", async () => {
  const { gates, a, clock, never, attach } = setup();
  attach();
  gates.joined(a);
  const held = gates.hold("site-a", 5_000, never.signal);
  gates.said(a, { "site-a": 1 }, 1);
  expect(gates.passes(a, "site-a", 3, 1)).toBe(true); // the call, and one to come
  await clock.advance(5_000);
  expect(await held).toBe(3);
  expect([gates.passes(a, "site-a", 4, 1), gates.draining()]).toEqual([false, []]);
});

test("a question from before a hold, about another unit, without a count, or from a worker whose line is cut is refused", async () => {
  const { gates, a, b, clock, never, attach } = setup();
  attach();
  gates.joined(a);
  const first = gates.hold("site-a", 5_000, never.signal);
  gates.said(a, { "site-a": 0 }, 1);
  await first;
  gates.release("site-a");
  expect(gates.passes(a, "site-a", 1, 1)).toBe(false); // released
  const second = gates.hold("site-a", 5_000, never.signal);
  expect(gates.passes(a, "site-a", 1, 1)).toBe(false); // of the first hold: what is counted in the second is not known yet
  expect(gates.passes(a, "site-b", 1, 2)).toBe(false);
  for (const [count, round] of [[0, 2], [undefined, 2], [1, undefined]]) expect(gates.passes(a, "site-a", count as number, round as number)).toBe(false);
  expect(gates.passes(b, "site-a", 1, 2)).toBe(false);
  gates.left(a);
  expect(gates.passes(a, "site-a", 1, 2)).toBe(false);
  // none of them settles or holds up anything: the worker comes again, and has nothing
  gates.joined(a);
  gates.said(a, { "site-a": 0 }, 2);
  expect(await second).toBe(0);
  await clock.advance(5_000);
});

test("a worker that dies after a call has passed is waited for, and its successor's word counts", async () => {
  const { gates, a, b, never, attach } = setup();
  attach();
  gates.joined(a);
  let left: number | undefined;
  void gates.hold("site-a", 5_000, never.signal).then((running) => (left = running));
  expect(gates.passes(a, "site-a", 1, 1)).toBe(true);
  gates.left(a);
  await turn();
  expect(left).toBeUndefined();
  gates.joined(b);
  await turn();
  expect(left).toBeUndefined();
  gates.said(b, { "site-a": 0 }, 1);
  await turn();
  expect(left).toBe(0);
});

test("a release while a call runs that has passed, and a hold after it: the worker's word in the second counts, not the first's", async () => {
  const { gates, a, never, attach } = setup();
  attach();
  gates.joined(a);
  void gates.hold("site-a", 5_000, never.signal);
  expect(gates.passes(a, "site-a", 1, 1)).toBe(true);
  gates.release("site-a");
  let left: number | undefined;
  void gates.hold("site-a", 5_000, never.signal).then((running) => (left = running));
  gates.said(a, { "site-a": 0 }, 1); // the call had ended in the first; others may have begun since
  await turn();
  expect(left).toBeUndefined();
  gates.said(a, { "site-a": 1 }, 2);
  await turn();
  expect(left).toBeUndefined();
  gates.said(a, { "site-a": 0 }, 2);
  await turn();
  expect(left).toBe(0);
});

test("what serves is told when it changes; a stop settles when the line to the workers has taken it", async () => {
  const gates = new Gates(new SimClock());
  const told: [string, number][][] = [];
  let taken = (): void => undefined;
  gates.attach(() => undefined, 1, () => {
    told.push([...gates.serving]);
    return new Promise((resolve) => (taken = resolve));
  });
  void gates.serves("site-a", 3);
  expect(told).toEqual([[["site-a", 3]]]);
  let settled = false;
  void gates.stops("site-a").then(() => (settled = true));
  await turn();
  expect([told.at(-1), settled]).toEqual([[["site-a", 0]], false]);
  taken();
  await turn();
  expect(settled).toBe(true);
  const before = gates.serving;
  gates.retain(new Set(["site-a", "site-b"]));
  expect(gates.serving).toBe(before);
  gates.retain(new Set(["site-b"]));
  expect(gates.serving.size).toBe(0);
});

test("until what the process before held was adopted, the workers are told once when it was", () => {
  const { gates, told, attach } = setup();
  attach();
  expect(gates.isAdopted).toBe(false);
  gates.adopted();
  gates.adopted();
  expect([gates.isAdopted, told]).toEqual([true, [[]]]);
});
