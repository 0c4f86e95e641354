import { parseStat } from "../support/node-usage.js";
import { exposures, sampledLag } from "../support/write-lag.js";

const writes = [{ site: "a", ackMs: 1_000 }, { site: "a", ackMs: 3_000 }, { site: "b", ackMs: 2_000 }];
const confirmations = [
  { site: "a", takenMs: 900, confirmedMs: 1_100 }, // older than any write
  { site: "a", takenMs: 1_500, confirmedMs: 4_000 },
  { site: "a", takenMs: 3_500, confirmedMs: 5_000 },
];

test("a write is exposed until a snapshot that was taken after it is confirmed; without one for ever", () => {
  expect(exposures(writes, confirmations)).toEqual([3_000, 2_000, Number.POSITIVE_INFINITY]);
});

test("the lag of a site is the age of its oldest write that no copy has", () => {
  expect(sampledLag(writes.slice(0, 2), confirmations, { fromMs: 500, untilMs: 6_000, everyMs: 1_000 })).toEqual([0, 500, 1_500, 2_500, 1_500, 0]);
  expect(sampledLag(writes.slice(2), confirmations, { fromMs: 0, untilMs: 5_000, everyMs: 1_000 })).toEqual([0, 0, 0, 1_000, 2_000]);
});

test("a line of /proc/PID/stat whose name holds blanks and brackets", () => {
  expect(parseStat("42 (a (b) c) S 1 42 42 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 1 0 100 1000 10")).toEqual({ pid: 42, parent: 1, name: "a (b) c", cpuS: 2, commandsS: 0.5 });
  expect(parseStat("")).toBeUndefined();
});
