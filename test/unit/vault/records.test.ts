import { restoreOf, type UnitRecord } from "../../../daemon/lib/records.js";
import { parseCloneKind } from "../../../daemon/vault/clones.js";
import { keptNames, withKept } from "../../../daemon/vault/kept.js";
import { restoredRecord, withoutStaleRestore, withRestore } from "../../../daemon/vault/restore-unit.js";
import { readVaultBody } from "../../../daemon/vault/routes.js";

const record: UnitRecord = { version: 1, unit: "site-a", kind: "site", name: "a", home: "n1", homeGeneration: 3, epoch: 4, epochStartGuid: "g", replicas: ["n2"], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "php", version: "1", guid: "t" } };
const wish = { id: "r1", snapshot: "4-s", reason: "test" };
const running = withRestore(record, wish);
const hour = 3_600_000;

test("a restore stands in the record, ends in it, and leaves nothing but its result", () => {
  expect(running.restore).toEqual({ ...wish, epoch: 4, before: "" });
  expect(restoreOf(running)?.id).toBe("r1");
  expect(restoredRecord(running, "r1", 7, "", "done")).toEqual({ ...record, restored: { id: "r1", snapshot: "4-s", before: "", atMs: 7, error: "", detail: "done" } });
  expect(restoredRecord(running, "other", 7, "", "")).toBeUndefined();
  expect(restoredRecord(record, "r1", 7, "", "")).toBeUndefined();
});
test.each<[string, UnitRecord]>([
  ["one that is being restored", running],
  ["one that moves", { ...record, move: { id: "m", target: "n2", phase: "presync", reason: "" } }],
  ["one that is being made", { ...record, state: "creating" }],
  ["one that is being deleted", { ...record, state: "deleting" }],
])("%s is not restored", (_what, one) => expect(() => withRestore(one, wish)).toThrow(expect.objectContaining({ retry: "never" })));
test("a change of home ends a restore: the copy that goes on is as it was before", () => {
  const promoted = { ...running, home: "n2", epoch: 5, homeGeneration: 0 };
  expect(restoreOf(promoted)).toBeUndefined();
  expect(withRestore(promoted, wish).restore?.epoch).toBe(5);
  const tidied = withoutStaleRestore(promoted);
  expect(tidied?.restore).toBeUndefined();
  expect(tidied?.restored).toMatchObject({ id: "r1", error: expect.stringContaining("n2 went on") });
  expect(withoutStaleRestore(running)).toBeUndefined();
  expect(withoutStaleRestore(record)).toBeUndefined();
});
test("the present before restores is kept for a week, and of not more than 8", () => {
  let now = record;
  for (let i = 0; i < 12; i += 1) now = withKept(now, `s${i}`, i * hour);
  expect(now.kept?.map(({ snapshot }) => snapshot)).toEqual(["s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"]);
  expect(withKept(now, "s11", 99 * hour).kept).toHaveLength(8);
  expect(keptNames(now, 10 * hour)).toHaveLength(8);
  expect(keptNames(now, 7 * 24 * hour + 5.5 * hour)).toEqual(["s6", "s7", "s8", "s9", "s10", "s11"]);
  expect(keptNames({ ...running, kept: [] }, 0)).toEqual(["4-s"]);
  expect(keptNames(undefined, 0)).toEqual([]);
});
test("what a clone is for is read strictly: what we did not write is never destroyed", () => {
  expect(parseCloneKind("work")).toEqual({ kind: "work" });
  expect(parseCloneKind("browse:1767322800000")).toEqual({ kind: "browse", expiresAtMs: 1767322800000 });
  for (const text of [undefined, "", "browse:", "browse:x", "browse:1x", "working", "-"]) expect(parseCloneKind(text)).toBeUndefined();
});
test("bodies of the API", () => {
  expect(readVaultBody({ at: "10m" })).toEqual({ at: "10m", source: "", stash: "", file: "", forMs: hour, reason: "" });
  expect(readVaultBody({ at: "10m", file: "www", for: "2h", reason: "x" })).toEqual({ at: "10m", source: "", stash: "", file: "www", forMs: 2 * hour, reason: "x" });
  expect(readVaultBody({ stash: "site-a-1-n2-20261123T120000Z" })).toMatchObject({ at: "", stash: "site-a-1-n2-20261123T120000Z" });
  for (const [body, why] of [[undefined, /^at: is required/], [{ at: 5 }, /^at: must be a text/], [{ at: "1m", for: "3d" }, /^for: /], [{ at: "1m", for: "5s" }, /^for: /], [{ at: "1m", from: "../x" }, /^from: /], [{ at: "1m", stash: "x" }, /^stash: stands for a time/], [{ at: "1m", from: "site-a", file: "www" }, /^from: whole units/], [{ at: "1m", reason: "x".repeat(201) }, /^reason: /]] as const) expect(() => readVaultBody(body)).toThrow(why);
});
