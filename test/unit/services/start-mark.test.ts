import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandRunner } from "../../../daemon/lib/command.js";
import { createLogger } from "../../../daemon/lib/log.js";
import type { NodePaths } from "../../../daemon/lib/node-config.js";
import { FakePlatform } from "../../../daemon/platform/fake-platform.js";
import { createSiteServices } from "../../../daemon/services/create-site-services.js";
import type { SiteRun } from "../../../daemon/services/site-services.js";

// the dataset's root becomes root's
const asRoot = process.getuid?.() === 0 ? test : test.skip;

asRoot("a container is started once, from what it should be; what a start that broke off has left running is ended first", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-start-"));
  try {
    const platform = new FakePlatform();
    await platform.ensureUser("_hcweb", 990, 990);
    let lists = 0;
    const states = platform.serviceStates.bind(platform);
    platform.serviceStates = (prefix) => {
      lists += 1;
      return states(prefix);
    };
    const paths = Object.fromEntries(["etc", "run", "log", "state", "data"].map((name) => [name, `${folder}/${name}`])) as unknown as NodePaths;
    const runner: CommandRunner = { run: async () => ({ code: 0, signal: null, stdout: "", stderr: "", durationMs: 1 }) };
    const services = createSiteServices({ platform, runner, log: createLogger("test", { write: () => undefined }), host: { paths, ports: { apache: 8079 } as never } });
    const site: SiteRun = { unit: "site-a", name: "a", root: `${folder}/site-a`, user: "hc-a", uid: 20001, gid: 20001, hostnames: ["a.example"], limits: { memory: "64M", cpu: 1, tasks: 16 }, php: {}, ready: { path: "/", status: 0 }, node: "n1", epoch: 1 };
    const mark = `${paths.run}/apache/site-a.started`;
    const acts = async (run: SiteRun = site): Promise<string[]> => {
      platform.acts.length = 0;
      await services.start(run, undefined, async () => void platform.acts.push("close"));
      return platform.acts;
    };
    expect(await acts()).toEqual(["start hc-site-a"]);
    expect(lists).toBe(0); // without a mark nothing runs
    expect(await acts()).toEqual([]);
    // the gate is closed first, and only for what is really replaced
    expect(await acts({ ...site, epoch: 2 })).toEqual(["close", "stop hc-site-a", "start hc-site-a"]);
    // hcd ended between the start and the note of it
    writeFileSync(mark, "starting");
    expect(await acts({ ...site, epoch: 2 })).toEqual(["close", "stop hc-site-a", "start hc-site-a"]);
    platform.failing.add("hc-site-a");
    platform.states.set("hc-site-a", "failed");
    await expect(services.start(site)).rejects.toThrow();
    expect(readFileSync(mark, "utf8")).toBe("starting");
    platform.failing.clear();
    platform.states.set("hc-site-a", "failed");
    expect(await acts()).toEqual(["restart hc-site-a"]);
    await services.stop("site-a");
    expect(() => readFileSync(mark)).toThrow("ENOENT");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
