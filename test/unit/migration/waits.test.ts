import { heldText, planText } from "../../../cli/commands/move.js";
import { secondsOf } from "../../../cli/commands/hold.js";
import { maintenanceOf } from "../../../daemon/lib/records.js";
import { LastHolds } from "../../../daemon/migration/plan-route.js";
import { sumWaits, Waits } from "../../../daemon/proxy/waits.js";

describe("what waited, second by second", () => {
  test("is summed from a moment on, and forgotten after three minutes", () => {
    const waits = new Waits();
    waits.held(100, 5_000);
    waits.held(700.4, 10_100);
    waits.held(30, 10_900);
    waits.failed(11_000);
    expect(sumWaits(waits.report(12_000), 10_999)).toEqual({ held: 2, longestMs: 700, failed: 1 });
    expect(sumWaits(waits.report(12_000), 0)).toEqual({ held: 3, longestMs: 700, failed: 1 });
    expect(waits.report(191_500).map(({ second }) => second)).toEqual([11]);
    expect(waits.report(400_000)).toEqual([]);
  });
  test("is bounded whatever the clock does", () => {
    const waits = new Waits();
    for (let at = 0; at < 1_000; at += 1) waits.held(1, at * 1_000);
    waits.held(9, 3_000); // stepped back
    const seconds = waits.report(999_000);
    expect(seconds.length).toBeLessThanOrEqual(181);
    expect(seconds.at(-1)).toEqual({ second: 999, held: 2, longestMs: 9, failed: 0 });
  });
});

describe("the line after a move", () => {
  const numbers = { holdFromMs: 1_000, servedAtMs: 1_600, lastBytes: 191_488 };
  const nodes = [{ node: "n1", reportedAtMs: 4_000 }, { node: "n2", reportedAtMs: 4_100 }];
  test("counts", () => expect(heldText({ held: 412, longestMs: 640, failed: 0, nodes, missing: [] }, numbers)).toBe("412 requests held 0.6 s, 0 failed, last increment 187K"));
  test("says whom it does not count", () => expect(heldText({ held: 1, longestMs: 640, failed: 2, nodes: [{ node: "n1", reportedAtMs: 1_599 }, nodes[1] as (typeof nodes)[number]], missing: ["n3"] }, numbers)).toBe("1 request held 0.6 s, 2 failed, last increment 187K (not counted: n3, n1)"));
  test("without the proxies' word it tells the bound", () => expect(heldText(undefined, numbers)).toBe("its requests waited for at most 0.6 s, last increment 187K"));
});

test("a dry run tells what is sent, how long it would be waited, and what stands against it", () => {
  const holds = new LastHolds();
  expect(holds.told()).toBeUndefined();
  for (const ms of [900, 500, 700]) holds.add(ms);
  const plan = { unit: "site-wiki", from: "n1", to: "n2", refused: "", has: "copy" as const, sendBytes: "2048", held: holds.told() };
  expect(planText(plan)).toBe("site-wiki: n1 → n2\n  n2 has a copy: about 2.0K of increments follow\n  requests would wait for about 0.7 s (the last 3 moves from this home; the longest 0.9 s)\n  nothing stands against it; nothing was changed\n");
  expect(planText({ ...plan, has: "none", held: undefined, refused: "to: n2 is not alive." })).toMatch(/no copy: about 2\.0K are sent first.*is not known.*it would be refused: to: n2 is not alive\./s);
  expect(planText({ ...plan, has: "same place" })).toBe("site-wiki is at home on n2 already: nothing to do.\n");
});

test("a hold by hand is bounded in time", () => {
  expect(["90", "30s", "5m", "2h"].map(secondsOf)).toEqual([90, 30, 300, 7200]);
  for (const wrong of ["", "0", "-1", "5d", "1.5m"]) expect(() => secondsOf(wrong)).toThrow(/no duration/);
  const hold = { id: "1", untilMs: 5_000, reason: "" };
  expect([maintenanceOf({ hold }, 4_999), maintenanceOf({ hold }, 5_000), maintenanceOf({}, 0), maintenanceOf(undefined, 0)]).toEqual([hold, undefined, undefined, undefined]);
});
