import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HcError } from "../../../daemon/lib/errors.js";
import { measureTree } from "../../../daemon/vault/measure.js";
import { type CopyCount, copyTree } from "../../../daemon/vault/tree-copy.js";

let folder: string;
let source: string;
let target: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hc-tree-"));
  [source, target] = [join(folder, "source"), join(folder, "target")];
  for (const name of [source, target, join(folder, "attic"), join(folder, "outside")]) mkdirSync(name);
  writeFileSync(join(folder, "outside", "secret"), "untouched");
});
afterEach(() => {
  expect(readFileSync(join(folder, "outside", "secret"), "utf8")).toBe("untouched");
  rmSync(folder, { recursive: true });
});
const write = (path: string, text: string, mode = 0o644): void => {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text, { mode });
  chmodSync(path, mode);
};
let atticRuns = 0;
function copy(guard: () => void = () => undefined): Promise<CopyCount> {
  atticRuns += 1;
  const attic = join(folder, "attic", String(atticRuns));
  mkdirSync(attic);
  return copyTree({ source, target, attic, guard });
}
/** Every entry with type, mode, owner, mtime, content or target, by the bytes of its name; found by tools of the system, not by the code under test. */
function picture(root: string): string {
  const entries = execFileSync("find", [".", "-printf", "%p %y %m %U:%G %l\n"], { cwd: root, encoding: "latin1" }).split("\n").sort().join("\n");
  const files = execFileSync("sh", ["-c", "find . -type f -exec md5sum {} + | sort -k2; find . -type f -printf '%p %n %T@\\n' | sed 's/\\(\\.[0-9]\\{3\\}\\)[0-9]*$/\\1/' | sort"], { cwd: root, encoding: "latin1" });
  return `${entries}\n${files}`;
}

test("a tree becomes what the other one is: content, modes, owners, times, links, empty folders, odd names", async () => {
  write(join(source, "www/index.php"), "<?php old", 0o640);
  write(join(source, "www/set-id"), "x", 0o4755);
  write(join(source, "a name\nwith \"signs\" and ünïcode"), "1");
  execFileSync("sh", ["-c", "printf bytes > \"$(printf 'not-utf8-\\377\\376')\""], { cwd: source });
  symlinkSync("../../outside/secret", join(source, "www/link"));
  symlinkSync("nowhere", join(source, "www/dangling"));
  mkdirSync(join(source, "empty"), { mode: 0o750 });
  write(join(source, "hard-1"), "same");
  linkSync(join(source, "hard-1"), join(source, "www/hard-2"));
  utimesSync(join(source, "www/index.php"), 1_000_000_000, 1_100_000_000.5);
  utimesSync(join(source, "www"), 1_000_000_000, 1_200_000_000);
  if (process.getuid?.() === 0) for (const name of ["www/index.php", "www/set-id"]) execFileSync("chown", ["-h", "12345:23456", join(source, name)]);
  chmodSync(join(source, "www/set-id"), 0o4755);
  write(join(target, "www/new.php"), "goes");
  write(join(target, "gone/deep/x"), "goes");
  const count = await copy();
  expect(picture(target)).toBe(picture(source));
  expect(statSync(join(target, "hard-1")).ino).toBe(statSync(join(target, "www/hard-2")).ino);
  expect(count).toMatchObject({ removed: 2, skipped: 0 });
  // a second run removes nothing, and the tree stays
  expect(await copy()).toMatchObject({ removed: 0 });
  expect(picture(target)).toBe(picture(source));
});

test("what was not touched since the snapshot is not written again; what was, is, whatever its times say", async () => {
  // one inode on both sides, as in a clone
  write(join(source, "same"), "1");
  linkSync(join(source, "same"), join(target, "same"));
  const before = statSync(join(target, "same"));
  expect(await copy()).toMatchObject({ copied: 0 });
  expect(statSync(join(target, "same")).ctimeMs).toBe(before.ctimeMs);
  // an intruder gives a changed file the length and time that it had
  write(join(source, "forged"), "good");
  write(join(target, "forged"), "evil");
  utimesSync(join(source, "forged"), 1e9, 1e9);
  utimesSync(join(target, "forged"), 1e9, 1e9);
  expect(await copy()).toMatchObject({ copied: 1 });
  expect(readFileSync(join(target, "forged"), "utf8")).toBe("good");
});

test.each<[string, () => void, () => void]>([
  ["a link where a folder was", () => write(join(source, "www/a/b"), "x"), () => { mkdirSync(join(target, "www")); symlinkSync(join(folder, "outside"), join(target, "www/a")); }],
  ["a link where a file was", () => write(join(source, "www/secret"), "x"), () => { mkdirSync(join(target, "www")); symlinkSync(join(folder, "outside/secret"), join(target, "www/secret")); }],
  ["the root's own folder as a link", () => write(join(source, "www/secret"), "x"), () => symlinkSync(join(folder, "outside"), join(target, "www"))],
  ["a folder where a file was", () => write(join(source, "x"), "1"), () => write(join(target, "x/y/z"), "2")],
  ["a file where a folder was", () => write(join(source, "x/y/z"), "1"), () => write(join(target, "x"), "2")],
  ["a folder where a link was", () => symlinkSync(join(folder, "outside"), join(source, "l")), () => write(join(target, "l/secret"), "mine")],
  ["a surplus link to outside", () => undefined, () => symlinkSync(join(folder, "outside"), join(target, "l"))],
  ["a fifo in the way", () => write(join(source, "p"), "1"), () => void execFileSync("mkfifo", [join(target, "p")])],
  ["a hard link to a file outside", () => write(join(source, "h"), "1"), () => linkSync(join(folder, "outside/secret"), join(target, "h"))],
  ["a folder that nobody may enter", () => write(join(source, "x"), "1"), () => { mkdirSync(join(target, "closed")); chmodSync(join(target, "closed"), 0); }],
  ["something of our own temporary name", () => write(join(source, "t"), "1"), () => symlinkSync(join(folder, "outside/secret"), join(target, `.hc-new-${process.pid}-1`))],
])("%s: never followed, nothing outside is touched", async (_what, wanted, present) => {
  wanted();
  present();
  await copy();
  expect(picture(target)).toBe(picture(source));
});

test("devices, sockets and fifos are left out, and told; nothing is read from them", async () => {
  execFileSync("mkfifo", [join(source, "pipe")]);
  write(join(source, "z"), "after");
  expect(await copy()).toMatchObject({ skipped: 1, copied: 1 });
  expect(existsSync(join(target, "pipe"))).toBe(false);
});

test("holes stay holes, and a large file is the same", async () => {
  writeFileSync(join(source, "big"), "start");
  truncateSync(join(source, "big"), 64 * 1024 * 1024);
  execFileSync("dd", ["if=/dev/urandom", `of=${join(source, "random")}`, "bs=1000003", "count=3", "status=none"]);
  await copy();
  expect(execFileSync("cmp", [join(source, "big"), join(target, "big")]).toString()).toBe("");
  expect(execFileSync("cmp", [join(source, "random"), join(target, "random")]).toString()).toBe("");
  expect(statSync(join(target, "big")).blocks).toBeLessThan(16 * 1024);
});

test("what a tree takes is measured without its holes, and without following links", async () => {
  writeFileSync(join(source, "hole"), "start");
  truncateSync(join(source, "hole"), 64 * 1024 * 1024);
  execFileSync("dd", ["if=/dev/urandom", `of=${join(source, "random")}`, "bs=1000000", "count=3", "status=none", "conv=fsync"]);
  symlinkSync(folder, join(source, "link"));
  const asked: number[] = [];
  expect(await measureTree(folder, () => void asked.push(1))).toBeGreaterThan(2_900_000);
  expect(await measureTree(folder, () => undefined)).toBeLessThan(3_300_000);
  expect(asked.length).toBe(5);
  await expect(measureTree(folder, () => Promise.reject(new HcError("ABORTED", "enough")))).rejects.toMatchObject({ code: "ABORTED" });
});

test("the guard is asked before each change: from the moment it says no, nothing changes, and a later run ends it", async () => {
  for (let i = 0; i < 10; i += 1) write(join(source, `f${i}`), `new ${i}`);
  for (let i = 5; i < 15; i += 1) write(join(target, `f${i}`), `old ${i}`);
  let left = 12;
  let seen = "";
  const refuse = (): void => {
    left -= 1;
    if (left < 0) {
      seen ||= picture(target);
      throw new HcError("NOT_HOME", "fenced");
    }
  };
  await expect(copy(refuse)).rejects.toMatchObject({ code: "NOT_HOME" });
  // but for its own temporary file, which it takes away
  const without = (text: string): string => text.split("\n").filter((line) => !line.includes(".hc-new-") && !/^\. d /.test(line)).join("\n");
  expect(without(picture(target))).toBe(without(seen));
  expect(left).toBe(-1);
  await copy();
  expect(picture(target)).toBe(picture(source));
});

test("folders of ours and zfs's own in the root are nobody's content, on both sides", async () => {
  write(join(source, ".hc-restore-1/new/x"), "1");
  write(join(source, ".zfs/x"), "1");
  write(join(source, "www/.hc-restore-2"), "the tenant's");
  write(join(target, ".hc-restore-3/old/x"), "stays");
  await copy();
  expect(existsSync(join(target, ".hc-restore-1"))).toBe(false);
  expect(existsSync(join(target, ".zfs"))).toBe(false);
  expect(readFileSync(join(target, ".hc-restore-3/old/x"), "utf8")).toBe("stays");
  expect(readFileSync(join(target, "www/.hc-restore-2"), "utf8")).toBe("the tenant's");
});

test("links are made anew when they lead elsewhere, with their own owner", async () => {
  symlinkSync("new", join(source, "l"));
  symlinkSync("old", join(target, "l"));
  await copy();
  expect(readlinkSync(join(target, "l"))).toBe("new");
  expect(lstatSync(join(target, "l")).uid).toBe(lstatSync(join(source, "l")).uid);
  renameSync(join(target, "l"), join(target, "m"));
  await copy();
  expect(existsSync(join(target, "m"))).toBe(false);
});
