import { DiskProbe } from "../../../daemon/membership/disk-probe.js";
import { SimClock } from "../../support/sim-clock.js";

/** Writes that end when the test says so. */
function probing() {
  const clock = new SimClock();
  const writes: { atMs: number; end(error?: Error): void }[] = [];
  const probe = new DiskProbe("/hc/.hcd-probe", clock, () => new Promise((resolve, reject) => writes.push({ atMs: clock.monotonicMs(), end: (error) => (error === undefined ? resolve() : reject(error)) })));
  const stop = new AbortController();
  const running = probe.run(stop.signal);
  return { clock, probe, writes, end: async () => { stop.abort(); await running; } };
}
const last = <T>(list: readonly T[]): T => list.at(-1) as T;

test("one write every two seconds, the next only when the last has ended; its age counts from before it began", async () => {
  const { clock, probe, writes, end } = probing();
  await clock.advance(1_500);
  last(writes).end();
  await clock.advance(4_500);
  expect(writes.map(({ atMs }) => atMs)).toEqual([0, 4_000]);
  last(writes).end();
  await clock.advance(7_900);
  expect(probe.problem()).toBe("");
  await clock.advance(200);
  expect(probe.problem()).toContain("have not taken a write for 10 s");
  await end();
});

test("a write whose answer was lost does not keep the node dead: another one is tried beside it, and no third", async () => {
  const { clock, probe, writes, end } = probing();
  await clock.advance(14_000);
  expect(writes.length).toBe(1);
  await clock.advance(4_000);
  expect(writes.length).toBe(2);
  expect(probe.problem()).not.toBe("");
  await clock.advance(120_000);
  expect(writes.length).toBe(2);
  last(writes).end();
  await clock.advance(100);
  expect(probe.problem()).not.toBe(""); // it answers of a moment that is long past
  await clock.advance(4_000);
  expect(writes.length).toBe(3);
  last(writes).end();
  await clock.advance(100);
  expect(probe.problem()).toBe("");
  // with the first one still lost it goes on, one at a time
  await clock.advance(4_000);
  expect(writes.length).toBe(4);
  await clock.advance(60_000);
  expect(writes.length).toBe(4);
  await end();
});

test("a write that fails is told; a loop whose writes hang ends with the node", async () => {
  const { clock, probe, writes, end } = probing();
  last(writes).end(new Error("EIO: i/o error"));
  await clock.advance(100);
  expect(probe.problem()).toContain("EIO");
  await clock.advance(40_000);
  expect(writes.length).toBe(3);
  await end();
});
