import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assertMountpoint, putAside } from "../../../daemon/agent/mountpoint.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hc-mountpoint-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("a mount is told from a folder, and from nothing", async () => {
  await expect(assertMountpoint("/proc")).resolves.toBeUndefined();
  await expect(assertMountpoint(folder)).rejects.toMatchObject({ code: "NOT_READY" });
  await expect(assertMountpoint(join(folder, "none"))).rejects.toMatchObject({ code: "NOT_READY" });
});

test("what lies below a mount point is put aside and kept, each time under a name of its own", async () => {
  const point = join(folder, "site-a");
  expect(await putAside(point, 1)).toBe("");
  for (const atMs of [1_000, 2_000]) {
    mkdirSync(join(point, "etc"), { recursive: true });
    writeFileSync(join(point, "etc", "passwd"), String(atMs));
    const aside = await putAside(point, atMs);
    expect(aside).toBe(join(folder, ".aside", `site-a-${atMs}`));
    expect(readFileSync(join(aside, "etc", "passwd"), "utf8")).toBe(String(atMs));
    expect(existsSync(point)).toBe(false);
  }
  mkdirSync(point);
  expect(await putAside(point, 3_000)).toBe("");
});

test("a mount is never put aside", async () => {
  expect(await putAside("/proc", 1)).toBe("");
  expect(existsSync("/proc/self")).toBe(true);
});
