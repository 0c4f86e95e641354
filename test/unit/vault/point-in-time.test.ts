import fc from "fast-check";
import { atText } from "../../../cli/commands/vault.js";
import { parsePointInTime } from "../../../daemon/lib/point-in-time.js";
import { makeSnapshotName } from "../../../daemon/zfs/snapshot-name.js";
import { chooseSnapshot } from "../../../daemon/vault/choose-snapshot.js";
import { pathParts } from "../../../daemon/vault/plan-path.js";

const now = Date.UTC(2026, 10, 23, 17, 0, 0);
const minute = 60_000;
/** A zone one hour east of UTC, whatever the machine's. */
const east = (parts: readonly number[]): number => Date.UTC(parts[0] as number, (parts[1] as number) - 1, ...(parts.slice(2) as [number, number, number, number, number])) - 60 * minute;
const parse = (text: string): number => parsePointInTime(text, now, "at", east);

describe("times", () => {
  test.each<[string, number]>([
    ["2026-11-23T16:05:00Z", Date.UTC(2026, 10, 23, 16, 5)],
    ["2026-11-23T16:05Z", Date.UTC(2026, 10, 23, 16, 5)],
    ["2026-11-23 16:05:07.25Z", Date.UTC(2026, 10, 23, 16, 5, 7, 250)],
    ["2026-11-23T16:05:00+02:00", Date.UTC(2026, 10, 23, 14, 5)],
    ["2026-11-23T16:05:00-0530", Date.UTC(2026, 10, 23, 21, 35)],
    ["2026-11-23 16:05", Date.UTC(2026, 10, 23, 15, 5)],
    ["2026-11-23T16:05:30", Date.UTC(2026, 10, 23, 15, 5, 30)],
    ["2028-02-29 00:00Z", Date.UTC(2028, 1, 29)],
    ["90s", now - 90_000],
    ["10m", now - 10 * minute],
    ["2h ago", now - 120 * minute],
    ["3d", now - 3 * 24 * 60 * minute],
    ["2w", now - 14 * 24 * 60 * minute],
  ])("%s", (text, expected) => expect(parse(text)).toBe(expected));
  test.each(["", "yesterday", "2026-11-23", "16:05", "2026-02-30 12:00", "2027-02-29 00:00Z", "2026-13-01 00:00", "2026-11-23 24:00", "2026-11-23 12:60", "10", "-10m", "1y", "2026-11-23T16:05:00 Z", "10m\n", " 10m"])("%j is refused, with the forms that can be used", (text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: "INVALID_INPUT", message: expect.stringContaining("write it as") }));
  });
  test("property: what toISOString writes is read back", () => {
    fc.assert(fc.property(fc.integer({ min: Date.UTC(1990, 0, 1), max: Date.UTC(2200, 0, 1) }), (ms) => expect(parse(new Date(ms).toISOString())).toBe(ms)));
  });
  test("the command line tells local times as UTC, and leaves the rest to the home's clock", () => {
    expect(atText("10m", now)).toBe("10m");
    expect(atText("1-20261123T160500.000Z-n1", now)).toBe("1-20261123T160500.000Z-n1");
    expect(atText("2026-11-23 16:05", now)).toBe(new Date(2026, 10, 23, 16, 5).toISOString());
    expect(atText("before-upgrade", now)).toBe("before-upgrade");
    expect(() => atText("12 o'clock", now)).toThrow("--at");
  });
});

describe("the snapshot of a time", () => {
  const at = (agoMs: number, epoch = 1): { name: string; guid: string; createtxg: string; atMs: number } => ({ name: makeSnapshotName(epoch, now - agoMs, "n1"), guid: String(agoMs), createtxg: "1", atMs: Math.floor((now - agoMs) / 1000) * 1000 });
  const history = [at(30 * minute), at(20 * minute), at(10 * minute + 500), at(minute)];
  test.each<[string, number]>([["10m", 2], ["11m", 1], ["20m", 1], ["30m", 0], ["0s", 3], ["2026-11-23T16:50:00Z", 2], ["2026-11-23T16:49:59.499Z", 1]])("%s", (text, index) => expect(chooseSnapshot("site-a", history, text, now).name).toBe(history[index]?.name));
  test("by its name; one that was pruned says so", () => {
    expect(chooseSnapshot("site-a", history, (history[1] as { name: string }).name, now)).toMatchObject({ guid: String(20 * minute), madeMs: now - 20 * minute });
    expect(() => chooseSnapshot("site-a", history, makeSnapshotName(1, now, "n1"), now)).toThrow("no snapshot 1-20261123T170000.000Z-n1");
  });
  test("nothing before it: the oldest one is named", () => {
    expect(() => chooseSnapshot("site-a", history, "3h", now)).toThrow(`the oldest one is of 2026-11-23T16:30:00.000Z (${(history[0] as { name: string }).name})`);
    expect(() => chooseSnapshot("site-a", [], "3h", now)).toThrow("no snapshot yet");
  });
  test("a time that lies ahead is a mistake; a clock that is a little off is none", () => {
    expect(() => chooseSnapshot("site-a", history, "2026-11-23T17:30:00Z", now)).toThrow("lies ahead");
    expect(chooseSnapshot("site-a", history, "2026-11-23T17:01:00Z", now).name).toBe(history[3]?.name);
  });
  test("after a change of home with another clock the order of the history counts", () => {
    const other = [...history, at(15 * minute, 2)]; // the new home's clock was 15 minutes behind
    expect(chooseSnapshot("site-a", other, "12m", now).name).toBe(other[4]?.name);
  });
  test("a snapshot that a person made counts by zfs's own time", () => {
    const own = { name: "before-upgrade", guid: "7", createtxg: "9", atMs: now - 5 * minute };
    expect(chooseSnapshot("site-a", [...history.slice(0, 3), own], "5m", now)).toMatchObject({ guid: "7", madeMs: own.atMs });
  });
});

describe("paths in a unit", () => {
  test.each<[string, string[]]>([["www/index.php", ["www", "index.php"]], ["/www//a/", ["www", "a"]], ["./www", ["www"]], ["www/..a/b..", ["www", "..a", "b.."]], ["www/a b\nc", ["www", "a b\nc"]]])("%j", (path, parts) => expect(pathParts(path)).toEqual(parts));
  test.each<[unknown, RegExp]>([["../etc/passwd", /leads upwards/], ["www/../../x", /leads upwards/], ["/", /names all/], ["", /names all/], ["www/a\0b", /zero byte/], [".hc-restore-1/new", /folder of ours/], ["x".repeat(5000), /at most/], [{ length: 3 }, /no path/], [undefined, /no path/]])("%j is refused", (path, why) => expect(() => pathParts(path)).toThrow(why));
});
