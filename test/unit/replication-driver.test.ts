import { Driver, type DriverOptions } from "../../daemon/replication/driver.js";
import { LagBook, noRoom } from "../../daemon/replication/lag.js";
import { SimClock } from "../support/sim-clock.js";

interface Attempt { key: string; finish(error?: Error): void }
function rig(options: Partial<DriverOptions> = {}): { clock: SimClock; driver: Driver; running: Attempt[]; begun: string[]; failures: string[]; stop: AbortController } {
  const clock = new SimClock();
  const stop = new AbortController();
  const running: Attempt[] = [];
  const begun: string[] = [];
  const failures: string[] = [];
  const driver = new Driver({
    attempt: (unit, node) =>
      new Promise((resolve, reject) => {
        const key = `${unit}>${node}`;
        begun.push(key);
        const attempt = { key, finish: (error?: Error) => { running.splice(running.indexOf(attempt), 1); if (error === undefined) resolve(); else reject(error); } };
        running.push(attempt);
      }),
    onFailure: (unit, node, _error, count) => void failures.push(`${unit}>${node} ${count}`),
    clock,
    random: () => 1,
    backoff: { firstMs: 1_000, capMs: 8_000 },
    signal: stop.signal,
    ...options,
  });
  return { clock, driver, running, begun, failures, stop };
}
const keys = (running: readonly Attempt[]): string[] => running.map((attempt) => attempt.key);

test("at most so many at once, in the order of asking; one a pair; a wish during an attempt leads to another", async () => {
  const { clock, driver, running, begun } = rig({ maxConcurrent: 2 });
  for (const unit of ["a", "b", "c", "d"]) driver.want(unit, "n2");
  driver.want("a", "n2");
  expect(keys(running)).toEqual(["a>n2", "b>n2"]);
  running[1]?.finish();
  await clock.settle();
  expect(keys(running)).toEqual(["a>n2", "c>n2"]);
  running[0]?.finish();
  await clock.settle();
  expect(keys(running)).toEqual(["c>n2", "d>n2"]); // a's second wish came after b, c and d
  running[0]?.finish();
  await clock.settle();
  expect(keys(running)).toEqual(["d>n2", "a>n2"]);
  expect(begun.filter((key) => key === "a>n2")).toHaveLength(2);
});

test("a failed pair waits longer each time, up to the cap; others go on; success forgets", async () => {
  const { clock, driver, running, begun, failures } = rig();
  driver.want("a", "n2");
  for (const waitMs of [1_000, 2_000, 4_000, 8_000, 8_000]) {
    running[0]?.finish(new Error("away"));
    await clock.settle();
    driver.want("a", "n2");
    driver.want("b", "n2");
    expect(keys(running)).toEqual(["b>n2"]);
    running[0]?.finish();
    await clock.advance(waitMs - 1);
    expect(keys(running)).toEqual([]);
    await clock.advance(1);
    expect(keys(running)).toEqual(["a>n2"]);
  }
  running[0]?.finish();
  await clock.settle();
  expect(failures).toEqual([1, 2, 3, 4, 5].map((count) => `a>n2 ${count}`));
  driver.want("a", "n2");
  running[0]?.finish(new Error("away"));
  await clock.advance(1_000);
  expect(begun.filter((key) => key === "a>n2")).toHaveLength(8);
});

test("pause waits for what runs and keeps the rest back; exclusive goes alone, also while paused", async () => {
  const { clock, driver, running } = rig();
  driver.want("a", "n2");
  let paused = false;
  const pausing = driver.pause("a").then(() => { paused = true; });
  driver.want("a", "n3");
  await clock.settle();
  expect([paused, keys(running)]).toEqual([false, ["a>n2"]]);
  running[0]?.finish();
  await pausing;
  expect(keys(running)).toEqual([]);
  const order: string[] = [];
  const first = driver.exclusive("a", "n2", async () => { order.push("first"); await clock.sleep(100); order.push("first ended"); });
  const second = driver.exclusive("a", "n2", async () => void order.push("second"));
  await clock.advance(200);
  await Promise.all([first, second]);
  expect(order).toEqual(["first", "first ended", "second"]);
  driver.resume("a");
  expect(keys(running)).toEqual(["a>n3"]);
});

test("a pair that is no longer wanted is not tried again; stopping ends everything", async () => {
  const { clock, driver, running, begun, stop } = rig();
  driver.want("a", "n2");
  driver.retain(() => false);
  running[0]?.finish(new Error("away"));
  await clock.advance(60_000);
  expect(begun).toEqual(["a>n2"]);
  expect(driver.has("a", "n2")).toBe(false);
  driver.want("b", "n2");
  running[0]?.finish(new Error("away"));
  stop.abort();
  await clock.advance(60_000);
  await driver.idle();
  expect(begun).toEqual(["a>n2", "b>n2"]);
});

test("lag: without room on either side replication is paused, and says on which until it goes on", () => {
  const lag = new LagBook(() => 0);
  const seen = (): object | undefined => lag.report().get("u")?.["n2"];
  lag.snapshot("u", "s1");
  lag.confirmed("u", "n2", { guid: "1", snapshot: "s1" }, 9);
  lag.stalled("u", noRoom("u", "n1", "for a snapshot"), true);
  expect(seen()).toMatchObject({ error: "u: replication is paused: the pool of n1 has no room for a snapshot; it goes on by itself when there is", paused: true });
  lag.failed("u", "n2", "n2 is full", true);
  expect(seen()).toMatchObject({ error: "n2 is full", paused: true });
  lag.snapshot("u", "s2");
  lag.failed("u", "n2", "away");
  expect(seen()).toEqual(expect.not.objectContaining({ paused: true }));
  lag.confirmed("u", "n2", { guid: "2", snapshot: "s2" }, 10);
  expect(seen()).toMatchObject({ error: "" });
});

test("lag: a write that is older than this process counts from when it may have been, also where an attempt failed before it was seen", () => {
  let now = 0;
  const lag = new LagBook(() => now);
  const seen = (): number | undefined => lag.report().get("u")?.["n2"]?.lagS;
  lag.failed("u", "n2", "away");
  now = 1_000;
  lag.written("u", 60_000);
  expect(seen()).toBe(60);
  lag.snapshot("u", "s1");
  now = 2_000;
  lag.written("u");
  lag.snapshot("u", "s2");
  expect(seen()).toBe(61);
  now = 3_000;
  // a snapshot that is not ours, after the first of ours
  lag.confirmed("u", "n2", { guid: "3", snapshot: "manual" }, 9, ["older", "s1", "manual"]);
  expect(seen()).toBe(1);
  lag.confirmed("u", "n2", { guid: "4", snapshot: "manual-2" }, 9, ["s1", "manual", "s2", "manual-2"]);
  expect(seen()).toBe(0);
  // said again, when our own ones before it have been pruned
  lag.confirmed("u", "n2", { guid: "4", snapshot: "manual-2" }, 9, ["s1", "manual-2"]);
  expect(seen()).toBe(0);
  now = 4_000;
  lag.written("u");
  lag.snapshot("u", "s3");
  now = 5_000;
  lag.confirmed("u", "n2", { guid: "4", snapshot: "manual-2" }, 9, ["s1", "manual-2"]);
  expect(seen()).toBe(1);
});

test("lag: age of the oldest write that a replica lacks", () => {
  let now = 0;
  const lag = new LagBook(() => now);
  const seen = (node: string): number | undefined => lag.report().get("u")?.[node]?.lagS;
  lag.written("u");
  now = 400;
  lag.snapshot("u", "s1");
  lag.confirmed("u", "n2", { guid: "1", snapshot: "s1" }, 9);
  lag.failed("u", "n3", "away");
  expect([seen("n2"), seen("n3")]).toEqual([0, 0.4]);
  now = 1_000;
  lag.written("u");
  now = 3_000;
  lag.written("u");
  expect([seen("n2"), seen("n3")]).toEqual([2, 3]);
  lag.snapshot("u", "s2");
  now = 5_000;
  expect([seen("n2"), seen("n3")]).toEqual([4, 5]);
  lag.confirmed("u", "n2", { guid: "2", snapshot: "s2" }, 10);
  lag.confirmed("u", "n3", { guid: "1", snapshot: "s1" }, 11);
  expect([seen("n2"), seen("n3")]).toEqual([0, 4]);
  expect(lag.report().get("u")?.["n3"]).toEqual({ guid: "1", snapshot: "s1", confirmedAtMs: 11, error: "", lagS: 4 });
  lag.retain(new Map([["u", ["n2"]]]));
  expect(Object.keys(lag.report().get("u") ?? {})).toEqual(["n2"]);
  for (let i = 3; i < 2_000; i += 1) lag.snapshot("u", `s${i}`);
  now = 6_000;
  expect([seen("n2"), seen("n9")]).toEqual([1, undefined]); // however many snapshots behind, the oldest unreplicated one tells
});
