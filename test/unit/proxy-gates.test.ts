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
