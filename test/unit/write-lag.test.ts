import { parseStat } from "../support/node-usage.js";
import { type Confirmation, exposures, sampledLag, uncertain } from "../support/write-lag.js";

const writes = [{ site: "a", ackMs: 1_000, record: "a-0" }, { site: "a", ackMs: 3_000, record: "a-1" }, { site: "b", ackMs: 2_000, record: "b-0" }];
const confirmation = (takenMs: number, confirmedMs: number): Confirmation => ({ site: "a", takenMs, confirmedMs, snapshot: String(takenMs), node: "n2" });
const confirmations = [confirmation(900, 1_100), confirmation(1_500, 4_000), confirmation(3_500, 5_000)]; // the first is older than any write

test("a write is exposed until a snapshot that was taken after it is confirmed; without one for ever", () => {
  expect(exposures(writes, confirmations)).toEqual([3_000, 2_000, Number.POSITIVE_INFINITY]);
});

test("a snapshot that was begun just before a write was acknowledged counts where the copy says that it holds it", () => {
  const asked = uncertain(writes, confirmations).map(({ write, confirmation: { snapshot } }) => `${write.record} in ${snapshot}`);
  expect(asked).toEqual(["a-0 in 900", "a-1 in 1500"]); // 900 is more than 2 s older than the second write
  expect(exposures(writes, confirmations, ({ record }, { snapshot }) => record === "a-0" && snapshot === "900")).toEqual([100, 2_000, Number.POSITIVE_INFINITY]);
});

test("the lag of a site is the age of its oldest write that no copy has", () => {
  const exposed = exposures(writes, confirmations);
  expect(sampledLag(writes.slice(0, 2), exposed.slice(0, 2), { fromMs: 500, untilMs: 6_000, everyMs: 1_000 })).toEqual([0, 500, 1_500, 2_500, 1_500, 0]);
  expect(sampledLag(writes.slice(2), exposed.slice(2), { fromMs: 0, untilMs: 5_000, everyMs: 1_000 })).toEqual([0, 0, 0, 1_000, 2_000]);
});

test("a line of /proc/PID/stat whose name holds blanks and brackets", () => {
  expect(parseStat("42 (a (b) c) S 1 42 42 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 1 0 100 1000 10")).toEqual({ pid: 42, parent: 1, name: "a (b) c", cpuS: 2, commandsS: 0.5 });
  expect(parseStat("")).toBeUndefined();
});
