import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigFolder, compareConfigs } from "../../../daemon/services/config-set.js";
import { linesOf } from "../../../daemon/services/log-files.js";

test("only what differs is written; what is not wanted goes, unless it is kept", () => {
  const present = new Map([["a", "1"], ["b", "1"], ["c", "1"], ["d", "1"]]);
  const change = compareConfigs(present, new Map([["a", "1"], ["b", "2"], ["e", "1"]]), new Set(["d"]));
  expect([...change.write]).toEqual([["b", "2"], ["e", "1"]]);
  expect(change.remove).toEqual(["c"]);
});

describe("a folder of configuration files", () => {
  let base: string;
  beforeEach(async () => { base = await mkdtemp(join(tmpdir(), "hc-config-")); });
  afterEach(() => rm(base, { recursive: true, force: true }));

  test("an undone change leaves what was there", async () => {
    const folder = new ConfigFolder(`${base}/sites`);
    await folder.read();
    await folder.apply({ write: new Map([["a", "1"], ["b", "1"]]), remove: [] }, new Map());
    const before = await folder.read();
    const undo = await folder.apply({ write: new Map([["b", "2"], ["c", "2"]]), remove: ["a"] }, before);
    expect([...(await folder.read())]).toEqual([["b", "2"], ["c", "2"]]);
    await undo();
    expect([...(await folder.read())]).toEqual([["a", "1"], ["b", "1"]]);
  });
  test("a trial lies beside the folder and is gone after the swap", async () => {
    const folder = new ConfigFolder(`${base}/sites`);
    await folder.read();
    expect(await readdir(await folder.stage(new Map([["a", "1"]])))).toEqual(["a.conf"]);
    expect([...(await folder.read())]).toEqual([]);
    await folder.apply({ write: new Map([["a", "1"]]), remove: [] }, new Map());
    expect(await readdir(base)).toEqual(["sites"]);
  });
});

test("a line belongs to the unit that it begins with, whatever else it says", () => {
  const text = "site-a.hybridcluster.invalid x\nsite-ab.hybridcluster.invalid y\nsite-b.hybridcluster.invalid GET /site-a.hybridcluster.invalid z\n";
  expect(linesOf(text, "site-a")).toEqual(["x"]);
});
