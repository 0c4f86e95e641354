import { chmodSync, linkSync, lutimesSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DiffOptions, type Differences, diffTrees, nameText } from "../../../daemon/vault/compare-trees.js";

let folder: string;
const sides = ["other", "base", "present"] as const;
const at = (side: string, path = ""): string => join(folder, side, path);
/** What all three have, untouched: hard links stand for the same inode and ctime of clones. */
function shared(path: string, text: string): void {
  for (const side of sides) mkdirSync(join(at(side, path), ".."), { recursive: true });
  writeFileSync(at("base", path), text);
  for (const side of ["other", "present"]) linkSync(at("base", path), at(side, path));
}
function put(side: (typeof sides)[number], path: string, text: string): void {
  rmSync(at(side, path), { force: true });
  mkdirSync(join(at(side, path), ".."), { recursive: true });
  writeFileSync(at(side, path), text);
}
const compare = (more: Partial<DiffOptions> = {}): Promise<Differences> => diffTrees({ other: at("other"), base: at("base"), present: at("present"), limit: 100, signal: new AbortController().signal, ...more });
const told = ({ differences }: Differences): [string, string, boolean][] => differences.map(({ path, change, both }) => [path, change, both]);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hc-compare-"));
  for (const side of sides) mkdirSync(at(side, "www"), { recursive: true });
  for (const name of ["a", "b", "c", "d", "e"]) shared(`www/${name}`, name);
});
afterEach(() => rmSync(folder, { recursive: true }));

test("nothing was written: nothing differs", async () => {
  expect(await compare()).toEqual({ differences: [], total: 0, same: 0, entries: 6, unread: 0, complete: true });
});
test("what the other history did, whether the present did something there too, and what both did alike", async () => {
  put("other", "www/a", "A, longer");
  put("other", "www/b", "B");
  put("present", "www/b", "b2");
  put("other", "www/c", "same");
  put("present", "www/c", "same");
  rmSync(at("other", "www/d"));
  put("other", "www/new/deep", "1");
  put("present", "www/mine", "the present's own is no matter of the stash");
  rmSync(at("present", "www/e"));
  expect(told(await compare())).toEqual([["www/a", "changed", false], ["www/b", "changed", true], ["www/d", "removed", false], ["www/new", "added", false], ["www/new/deep", "added", false]]);
  expect(await compare()).toMatchObject({ total: 5, same: 1, differences: [{ other: { kind: "file", bytes: 9 }, present: { kind: "file", bytes: 1 } }, {}, { other: null, present: { kind: "file" } }, { other: { kind: "folder" }, present: null }, {}] });
});
test("sizes and times prove nothing: content is read", async () => {
  put("other", "www/a", "x");
  for (const side of sides) utimesSync(at(side, "www/a"), 1_000, 1_000);
  expect(told(await compare())).toEqual([["www/a", "changed", false]]);
});
test("rights alone, a file that became a folder, and a folder that went with all in it", async () => {
  put("other", "www/a", "a");
  chmodSync(at("other", "www/a"), 0o600);
  rmSync(at("other", "www/b"));
  mkdirSync(at("other", "www/b"));
  shared("www/gone/x", "1");
  shared("www/gone/y", "2");
  rmSync(at("other", "www/gone"), { recursive: true });
  expect(told(await compare())).toEqual([["www/a", "rights", false], ["www/b", "changed", false], ["www/gone", "removed", false]]);
});
test("no link is followed, whatever it leads to", async () => {
  const outside = mkdtempSync(join(tmpdir(), "hc-outside-"));
  writeFileSync(join(outside, "secret"), "1");
  for (const side of sides) {
    symlinkSync(outside, at(side, "www/link"));
    lutimesSync(at(side, "www/link"), 5, 5);
  }
  symlinkSync("/etc", at("other", "www/etc"));
  expect(await compare()).toMatchObject({ entries: 8, differences: [{ path: "www/etc", change: "added", other: { kind: "link" } }], total: 1 });
  rmSync(outside, { recursive: true });
});
test("without a common snapshot it is compared with the present alone", async () => {
  put("other", "www/a", "A");
  put("present", "www/mine", "1");
  put("other", "www/theirs", "1");
  expect(told(await compare({ base: undefined }))).toEqual([["www/a", "changed", false], ["www/mine", "removed", false], ["www/theirs", "added", false]]);
});
test("without a present everything that was changed is told", async () => {
  put("other", "www/a", "A");
  expect(await compare({ present: undefined })).toMatchObject({ differences: [{ path: "www/a", change: "changed", present: null, both: true }] });
});
test("bounded: all are counted, some are told; what takes too long says so; our own folders are nobody's", async () => {
  for (let i = 0; i < 20; i += 1) put("other", `www/n${i}`, "1");
  put("other", ".hc-restore-1/x", "1");
  const some = await compare({ limit: 3 });
  expect([some.total, some.differences.length]).toEqual([20, 3]);
  expect(await compare({ signal: AbortSignal.abort() })).toMatchObject({ complete: false, total: 0 });
});
test("names are bytes", () => {
  expect([nameText(Buffer.from("köln")), nameText(Buffer.from([0x61, 0xff]))]).toEqual(["köln", "a\\xff"]);
});
