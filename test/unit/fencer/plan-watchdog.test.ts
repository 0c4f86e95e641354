import fc from "fast-check";
import type { FenceNote, FenceOrder } from "../../../daemon/fencer/parse-fence.js";
import { askedS, graceMs, mayFeed, planWatchdog, type Stake, stakeOf, takenS, watchMs } from "../../../daemon/fencer/plan-watchdog.js";
import { fenceMs, heartbeatMs, tryMs } from "../../../daemon/membership/session.js";

const unit = (name: string, deadlineMs?: number): FenceOrder["units"][number] => ({ unit: `site-${name}`, dataset: `hpool/hc/site-${name}`, mountpoint: `/hc/site-${name}`, ...(deadlineMs === undefined ? {} : { deadlineMs }) });
const order = (more: Partial<FenceOrder> = {}): FenceOrder => ({ version: 1, bootId: "b1", deadlineMs: 5000, generation: 7, units: [unit("a"), unit("b")], ...more });
const note = (more: Partial<FenceNote> = {}): FenceNote => ({ version: 1, bootId: "b1", generation: 7, state: "fencing", deadlineMs: 5000, startedMs: 5001, verifiedMs: null, wallMs: 1, units: ["site-a", "site-b"], left: [], ...more });
const none = new Map<string, number>();
const left = [{ unit: "site-a", why: "mounted" }];
const until = (deadlineMs: number): Stake => ({ kind: "until", deadlineMs });

test("the numbers are those of OWNERSHIP 6: 6.4 s after sending, with room for a slow commit and a fence", () => {
  expect(fenceMs + graceMs).toBe(6_400);
  for (let seconds: number = takenS.least; seconds <= takenS.most; seconds += 1) {
    // a sign of life that commits in its last moment, and is seen at the next look, is still fed for
    expect(fenceMs + graceMs - seconds * 1000).toBeGreaterThanOrEqual(tryMs + 2 * watchMs + 500);
    // a session that lives by one sign of life each 5 s is not reset before its fence had its second
    expect(fenceMs + 1_000).toBeLessThan(fenceMs + graceMs);
  }
  expect(askedS).toBe(takenS.most);
});

describe("what is at stake", () => {
  test("without an order: what is mounted all the same, and nothing is taken for granted before the look", () => {
    expect(stakeOf({ order: undefined, note: undefined, ended: none }, undefined)).toEqual({ kind: "unknown" });
    expect(stakeOf({ order: undefined, note: undefined, ended: none }, true)).toEqual({ kind: "unknown" });
    expect(stakeOf({ order: undefined, note: undefined, ended: none }, false)).toEqual({ kind: "none" });
  });
  test("a living generation: its units, each until its own deadline; none without units", () => {
    expect(stakeOf({ order: order(), note: undefined, ended: none }, undefined)).toEqual(until(5000));
    expect(stakeOf({ order: order({ units: [unit("a", 4000), unit("b", 5000)] }), note: undefined, ended: none }, undefined)).toEqual(until(4000));
    expect(stakeOf({ order: order({ units: [] }), note: undefined, ended: none }, undefined)).toEqual({ kind: "none" });
    expect(stakeOf({ order: order(), note: note({ generation: 6, state: "fenced" }), ended: none }, undefined)).toEqual(until(5000));
  });
  test("a unit that was ended alone after its deadline is no stake; one that was ended before and lives again is", () => {
    const units = [unit("a", 4000), unit("b", 9000)];
    expect(stakeOf({ order: order({ units, deadlineMs: 9000 }), note: undefined, ended: new Map([["site-a", 4100]]) }, undefined)).toEqual(until(9000));
    expect(stakeOf({ order: order({ units: [unit("a", 8000), unit("b", 9000)], deadlineMs: 9000 }), note: undefined, ended: new Map([["site-a", 4100]]) }, undefined)).toEqual(until(8000));
  });
  test("a missed deadline counts, whatever its generation orders later, until the fence has left nothing", () => {
    for (const state of ["fencing", "overtaken"] as const) expect(stakeOf({ order: order({ deadlineMs: 99_000 }), note: note({ state }), ended: none }, undefined)).toEqual(until(5000));
    for (const state of ["fenced", "unfit"] as const) {
      expect(stakeOf({ order: order(), note: note({ state }), ended: none }, undefined)).toEqual({ kind: "none" });
      expect(stakeOf({ order: order(), note: note({ state, left }), ended: none }, undefined)).toEqual(until(5000));
    }
    expect(stakeOf({ order: order({ units: [] }), note: note(), ended: none }, undefined)).toEqual({ kind: "none" });
  });
});

describe("what is done", () => {
  const base = { open: true, timeoutMs: 5000, nowMs: 0, leaving: undefined };
  test("fed while the reset stays in time; armed only when it may be fed", () => {
    expect(planWatchdog({ ...base, stake: until(5000), nowMs: 1400 })).toBe("feed");
    expect(planWatchdog({ ...base, stake: until(5000), nowMs: 1401 })).toBe("wait");
    expect(planWatchdog({ ...base, open: false, stake: until(5000), nowMs: 1400 })).toBe("open");
    expect(planWatchdog({ ...base, open: false, stake: until(5000), nowMs: 1401 })).toBe("wait");
    expect(planWatchdog({ ...base, stake: { kind: "none" }, nowMs: 1e9 })).toBe("feed");
    expect(planWatchdog({ ...base, stake: { kind: "unknown" } })).toBe("wait");
  });
  test("a fencer that is restarted hands a running watchdog on; one that is followed by another artefact, or by none, disarms it", () => {
    const stake = until(9000);
    expect(planWatchdog({ ...base, stake, leaving: { heir: true, down: false } })).toBe("hand-on");
    expect(planWatchdog({ ...base, stake: { kind: "unknown" }, leaving: { heir: true, down: false } })).toBe("hand-on");
    expect(planWatchdog({ ...base, stake, leaving: { heir: false, down: false } })).toBe("release");
    expect(planWatchdog({ ...base, stake: { kind: "none" }, leaving: { heir: true, down: false } })).toBe("release");
    expect(planWatchdog({ ...base, open: false, stake, leaving: { heir: true, down: false } })).toBe("done");
  });
  test("while the machine goes down it guards on until all is ended", () => {
    const leaving = { heir: true, down: true };
    expect(planWatchdog({ ...base, stake: until(5000), nowMs: 1000, leaving })).toBe("feed");
    expect(planWatchdog({ ...base, stake: until(5000), nowMs: 2000, leaving })).toBe("wait");
    expect(planWatchdog({ ...base, stake: { kind: "none" }, nowMs: 5300, leaving })).toBe("release");
  });
});

describe("over time", () => {
  const timeouts = fc.integer({ min: takenS.least, max: takenS.most }).map((seconds) => seconds * 1000);
  /** A device as the kernel has it: the reset comes `timeoutMs` after the last feeding, opening or armed closing. */
  interface Run { timeoutMs: number; beats: { afterMs: number; slowMs: number }[]; looks: { afterMs: number; restart: boolean }[] }
  const runs: fc.Arbitrary<Run> = fc.record({
    timeoutMs: timeouts,
    beats: fc.array(fc.record({ afterMs: fc.integer({ min: 1, max: 9_000 }), slowMs: fc.integer({ min: 0, max: 800 }) }), { minLength: 1, maxLength: 40 }),
    looks: fc.array(fc.record({ afterMs: fc.integer({ min: 1, max: 7_000 }), restart: fc.boolean() }), { minLength: 1, maxLength: 60 }),
  });

  test("however signs of life and looks come, no feeding puts the reset off beyond 6.4 s after a sign of life was sent", () => {
    fc.assert(fc.property(runs, ({ timeoutMs, beats, looks }) => {
      let sentMs = 0;
      const orders = beats.map(({ afterMs, slowMs }) => {
        sentMs += afterMs;
        return { sentMs, seenMs: sentMs + slowMs };
      });
      let nowMs = 0;
      for (const { afterMs } of looks) {
        nowMs += afterMs;
        const seen = orders.filter(({ seenMs }) => seenMs <= nowMs).reduce((last, one) => Math.max(last, one.sentMs), Number.NEGATIVE_INFINITY);
        const step = planWatchdog({ stake: until(seen + fenceMs), open: true, timeoutMs, nowMs, leaving: undefined });
        if (step === "feed" && nowMs + timeoutMs > seen + 6_400) return false;
      }
      return true;
    }));
  });

  /** `restartAtMs`: the fencer goes (closing armed: the kernel feeds once more), and the next one is there two seconds later. */
  function isReset(timeoutMs: number, beats: readonly { afterMs: number; slowMs: number }[], restartAtMs: number): boolean {
    let sentMs = 0;
    const orders = [{ sentMs: 0, seenMs: 0 }, ...beats.map(({ afterMs, slowMs }) => {
      sentMs += afterMs;
      return { sentMs, seenMs: sentMs + slowMs };
    })];
    let resetMs = timeoutMs;
    for (let nowMs = 0; nowMs <= sentMs; nowMs += watchMs) {
      if (nowMs > resetMs) return true;
      if (nowMs <= restartAtMs && restartAtMs < nowMs + watchMs) resetMs = restartAtMs + timeoutMs;
      if (nowMs >= restartAtMs && nowMs < restartAtMs + 2_000) continue;
      const seen = orders.filter(({ seenMs }) => seenMs <= nowMs).reduce((last, one) => Math.max(last, one.sentMs), 0);
      if (planWatchdog({ stake: until(seen + fenceMs), open: true, timeoutMs, nowMs, leaving: undefined }) === "feed") resetMs = Math.max(resetMs, nowMs + timeoutMs);
    }
    return false;
  }
  const beatsWithin = (maxMs: number) => fc.array(fc.record({ afterMs: fc.integer({ min: heartbeatMs, max: maxMs }), slowMs: fc.integer({ min: 0, max: tryMs }) }), { minLength: 1, maxLength: 30 });
  test("a session that lives by its last moments again and again is not reset", () => {
    fc.assert(fc.property(timeouts, beatsWithin(fenceMs - tryMs), (timeoutMs, beats) => !isReset(timeoutMs, beats, Number.POSITIVE_INFINITY)));
  });
  test("a restart of the fencer resets nothing while signs of life commit; when they come just then four seconds apart, it may", () => {
    fc.assert(fc.property(timeouts, beatsWithin(2 * heartbeatMs), fc.integer({ min: 0, max: 30_000 }), (timeoutMs, beats, restartAtMs) => !isReset(timeoutMs, beats, restartAtMs)));
    expect(isReset(4000, [...Array.from({ length: 5 }, () => ({ afterMs: 1000, slowMs: 0 })), { afterMs: 4271, slowMs: 130 }, { afterMs: 1000, slowMs: 0 }], 5401)).toBe(true);
  });

  test("a fence that is done within a second of its deadline is not followed by a reset; one that is not done is, 6.4 s after the last sign of life", () => {
    fc.assert(fc.property(timeouts, fc.integer({ min: 0, max: watchMs - 1 }), fc.option(fc.integer({ min: 0, max: 1_000 }), { nil: undefined }), (timeoutMs, phaseMs, fenceTookMs) => {
      let resetMs = timeoutMs + phaseMs;
      for (let nowMs = phaseMs; nowMs < 20_000; nowMs += watchMs) {
        if (nowMs > resetMs) return fenceTookMs === undefined && resetMs > 6_400 - watchMs && resetMs <= 6_400;
        const over = fenceTookMs !== undefined && nowMs >= fenceMs + fenceTookMs;
        if (mayFeed(over ? { kind: "none" } : until(fenceMs), timeoutMs, nowMs)) resetMs = nowMs + timeoutMs;
      }
      return fenceTookMs !== undefined;
    }));
  });
});
