import pino from "pino";
import { Runner } from "../../../daemon/agent/runner.js";
import type { KeyedSteps, Step } from "../../../daemon/agent/steps.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { SimClock } from "../../support/sim-clock.js";

const unmount = (unit: string): Step => ({ action: "unmount", unit, dataset: unit });
const take = (unit: string): Step => ({ action: "take-home", unit });
const work = (key: string, ...steps: Step[]): KeyedSteps => ({ key, steps });

function setUp(limit = 8) {
  const clock = new SimClock();
  const begun: string[] = [];
  const open = new Map<string, { resolve(): void; reject(error: Error): void; signal: AbortSignal }>();
  const ended: string[] = [];
  const stop = new AbortController();
  const runner = new Runner({
    clock, limit, random: () => 0, signal: stop.signal, log: pino({ level: "silent" }), onEnd: ({ key }) => void ended.push(key),
    execute: (step, signal) => {
      const name = `${step.action} ${"unit" in step ? step.unit : ""}`;
      begun.push(name);
      return new Promise((resolve, reject) => {
        open.set(name, { resolve, reject, signal });
        signal.addEventListener("abort", () => reject(new HcError("ABORTED", "")), { once: true });
      });
    },
  });
  return { clock, begun, open, ended, stop, runner };
}

describe("runner", () => {
  it("runs one sequence a key, in order, keys side by side", async () => {
    const { runner, begun, open, ended, clock } = setUp();
    runner.dispatch([work("a", take("a"), unmount("a")), work("b", take("b"))]);
    runner.dispatch([work("a", take("a"))]);
    expect(begun).toEqual(["take-home a", "take-home b"]);
    open.get("take-home a")?.resolve();
    await clock.settle();
    expect(begun.at(-1)).toBe("unmount a");
    open.get("unmount a")?.resolve();
    await clock.settle();
    expect(ended).toEqual(["a"]);
    expect(runner.isBusy("b")).toBe(true);
  });
  it("begins no more than the limit, but always lets things stop", () => {
    const { runner, begun } = setUp(2);
    runner.dispatch([work("a", take("a")), work("b", take("b")), work("c", take("c")), work("d", unmount("d"))]);
    expect(begun).toEqual(["take-home a", "take-home b", "unmount d"]);
  });
  it("leaves what is for later until no site waits to be served, 30 s at most, and one that failed keeps nobody", async () => {
    const { runner, begun, open, clock } = setUp(1);
    const check = (unit: string): Step => ({ action: "check", unit, site: {} as never });
    const later: KeyedSteps = { ...work("z", { action: "set-properties", unit: "z", dataset: "z", properties: {} }), later: true };
    runner.dispatch([later, work("a", check("a")), work("b", check("b"))]);
    expect(begun).toEqual(["check a"]);
    open.get("check a")?.resolve();
    await clock.settle();
    runner.dispatch([later, work("b", check("b"))]);
    expect(begun).toEqual(["check a", "check b"]);
    open.get("check b")?.reject(new HcError("NOT_READY", "no answer"));
    await clock.settle();
    // b waits for its next try
    runner.dispatch([later, work("b", check("b"))]);
    expect(begun.at(-1)).toBe("set-properties z");

    const busy = setUp(2);
    const wish = [work("a", check("a")), later];
    expect(busy.runner.dispatch(wish)).toBe(30_000);
    await busy.clock.advance(29_999);
    expect(busy.runner.dispatch(wish)).toBe(1);
    await busy.clock.advance(1);
    busy.runner.dispatch(wish);
    expect(busy.begun).toEqual(["check a", "set-properties z"]);
  });
  it("does not begin a step after one that failed, waits longer each time, and goes on at once for another wish", async () => {
    const { runner, begun, open, clock } = setUp();
    const wish = [work("a", take("a"), unmount("a"))];
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 4; attempt += 1) {
      runner.dispatch(wish);
      open.get("take-home a")?.reject(new HcError("CONFLICT", "not now"));
      await clock.settle();
      expect([...runner.failures()]).toEqual([["a", "not now"]]);
      const pause = runner.dispatch(wish) ?? 0;
      pauses.push(pause);
      await clock.advance(pause);
    }
    expect(begun).toEqual(["take-home a", "take-home a", "take-home a", "take-home a"]);
    expect(pauses).toEqual([...pauses].sort((x, y) => x - y));
    expect(pauses[3]).toBeGreaterThan(pauses[0] as number);
    runner.dispatch([work("a", unmount("a"))]);
    expect(begun.at(-1)).toBe("unmount a");
  });
  it("slows down a wish that is granted and comes again", async () => {
    const { runner, begun, open, clock } = setUp();
    for (let round = 0; round < 20; round += 1) {
      runner.dispatch([work("a", take("a"))]);
      open.get("take-home a")?.resolve();
      await clock.settle();
    }
    expect(begun.length).toBeLessThan(4);
    await clock.advance(30_000);
    runner.dispatch([work("a", take("a"))]);
    expect(runner.isBusy("a")).toBe(true);
  });
  it("leaves keys alone whose facts are stale", () => {
    const { runner, begun } = setUp();
    runner.dispatch([work("a", take("a")), work("b", take("b"))], new Set(["a"]));
    expect(begun).toEqual(["take-home b"]);
  });
  it("ends what runs, and begins nothing when it is stopped", async () => {
    const { runner, begun, open, stop } = setUp();
    runner.dispatch([work("a", take("a"), unmount("a"))]);
    await runner.abort();
    expect(open.get("take-home a")?.signal.aborted).toBe(true);
    expect(begun).toEqual(["take-home a"]);
    expect(runner.failures().size).toBe(0);
    stop.abort();
    runner.dispatch([work("b", take("b"))]);
    expect(begun).toEqual(["take-home a"]);
  });
});
