import { mkdtempSync, openSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { trimLogs } from "../../../daemon/services/trim-logs.js";

const folder = mkdtempSync(join(tmpdir(), "hc-logs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

test("a log that has grown too large is emptied while its writer appends; small ones, other files and what a link leads to stay", async () => {
  const writer = openSync(at("site-a.log"), "a");
  writeSync(writer, "x".repeat(2_000));
  for (const [name, bytes] of [["site-b.log", 900], ["other.txt", 5_000], ["target.txt", 5_000]] as const) writeFileSync(at(name), "x".repeat(bytes));
  symlinkSync(at("target.txt"), at("link.log"));
  await trimLogs(folder, 1_000);
  writeSync(writer, "more");
  expect(readFileSync(at("site-a.log"), "utf8")).toBe("more");
  expect(["site-b.log", "other.txt", "target.txt"].map((name) => statSync(at(name)).size)).toEqual([900, 5_000, 5_000]);
});
test("a folder that is not there yet is nothing to tell", async () => {
  await expect(trimLogs(at("none"), 1)).resolves.toBeUndefined();
});
