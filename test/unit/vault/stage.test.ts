import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LocalRunner } from "../../../daemon/lib/local-runner.js";
import { landing, leftStages, makeStage, putInPlace, removeStage } from "../../../daemon/vault/stage.js";

let root: string;
const runner = new LocalRunner();
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "hc-stage-")));
  mkdirSync(join(root, "www/a"), { recursive: true });
  mkdirSync(join(root, "outside"));
  writeFileSync(join(root, "outside/x"), "untouched");
});
afterEach(() => {
  expect(readFileSync(join(root, "outside/x"), "utf8")).toBe("untouched");
  rmSync(root, { recursive: true });
});

test("a stage can be entered by root alone, is found after a crash, and goes with all in it", async () => {
  const stage = await makeStage(root, "1");
  expect(statSync(stage.path).mode & 0o7777).toBe(0o700);
  expect(await leftStages(root)).toEqual([stage.path]);
  symlinkSync(join(root, "outside"), join(stage.attic, "0"));
  mkdirSync(join(stage.attic, "1/2"), { recursive: true });
  await removeStage(runner, stage.path);
  expect(await leftStages(root)).toEqual([]);
  await removeStage(runner, stage.path);
});
test("where a path lands: its folder, or the first one that is missing; never through a link", async () => {
  expect(await landing(root, ["www", "a", "f"])).toEqual({ folder: join(root, "www/a"), name: "f", depth: 2 });
  expect(await landing(root, ["www", "b", "c", "f"])).toEqual({ folder: join(root, "www"), name: "b", depth: 1 });
  expect(await landing(root, ["www"])).toEqual({ folder: root, name: "www", depth: 0 });
  symlinkSync(join(root, "outside"), join(root, "www/l"));
  await expect(landing(root, ["www", "l", "x"])).rejects.toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("www/l is a symbolic link") });
  // the last part may be a link: it is replaced, not followed
  expect(await landing(root, ["www", "l"])).toMatchObject({ name: "l" });
});
test.each<[string, () => void]>([
  ["over a file", () => writeFileSync(join(root, "www/a/x"), "present")],
  ["over a link to outside", () => symlinkSync(join(root, "outside/x"), join(root, "www/a/x"))],
  ["over a folder", () => { mkdirSync(join(root, "www/a/x")); writeFileSync(join(root, "www/a/x/y"), "present"); }],
  ["where nothing is", () => undefined],
])("a file is put %s", async (_what, present) => {
  present();
  const stage = await makeStage(root, "1");
  writeFileSync(join(stage.fresh, "x"), "past");
  const back = process.cwd();
  putInPlace(join(stage.fresh, "x"), join(root, "www/a"), "x", join(stage.attic, "0"));
  expect(readFileSync(join(root, "www/a/x"), "utf8")).toBe("past");
  expect(process.cwd()).toBe(back);
});
test("a folder is put over a folder with things in it; the old one is in the attic", async () => {
  writeFileSync(join(root, "www/a/new"), "present");
  const stage = await makeStage(root, "1");
  mkdirSync(join(stage.fresh, "a"));
  writeFileSync(join(stage.fresh, "a/old"), "past");
  putInPlace(join(stage.fresh, "a"), join(root, "www"), "a", join(stage.attic, "0"));
  expect(readdirSync(join(root, "www/a"))).toEqual(["old"]);
  expect(readdirSync(join(stage.attic, "0"))).toEqual(["new"]);
});
test("a folder that became a link after it was looked at: nothing is changed, outside neither", async () => {
  const stage = await makeStage(root, "1");
  writeFileSync(join(stage.fresh, "x"), "past");
  rmSync(join(root, "www/a"), { recursive: true });
  symlinkSync(join(root, "outside"), join(root, "www/a"));
  const back = process.cwd();
  expect(() => putInPlace(join(stage.fresh, "x"), join(root, "www/a"), "x", join(stage.attic, "0"))).toThrow(expect.objectContaining({ code: "CONFLICT" }));
  expect(process.cwd()).toBe(back);
  expect(existsSync(join(stage.fresh, "x"))).toBe(true);
});
