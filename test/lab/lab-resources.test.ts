import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { unknownValue } from "../../daemon/lib/schema.js";
import { makeLocalEntryHandler } from "../../providers/handlers/local-entry.js";
import { labFolder } from "../../providers/core/workspace.js";
import { makeLocalHostHandler } from "../../providers/handlers/local-host.js";
import { runningEntry } from "../../providers/lab/entry.js";
import { findLab } from "../../providers/lab/lab.js";
import { ensureRoot } from "../../providers/lab/root.js";
import type { LocalHostInputs, LocalHostOutputs } from "../../providers/schemas/local-host.js";
import type { TestNode } from "../support/lab.js";
import { labTraces } from "../support/lab-traces.js";

const minute = 60_000;
let workspace: string;
const labDir = (): string => labFolder(workspace, "demo");
const hosts = makeLocalHostHandler({ labFolder: (lab) => labFolder(workspace, lab), keyPath: () => join(workspace, "ssh", "id_ed25519") });
const entries = makeLocalEntryHandler(() => workspace);

beforeAll(async () => {
  await ensureRoot(new LocalRunner());
  workspace = await mkdtemp(join(tmpdir(), "hc-workspace-"));
}, 10 * minute);
afterAll(async () => {
  await findLab(labDir())?.destroy();
  await rm(workspace, { recursive: true, force: true });
}, minute);

const wish = (name: string, more: Partial<LocalHostInputs> = {}): LocalHostInputs => ({ lab: "demo", name, diskSizes: ["256M"], ...more });
async function checked(inputs: LocalHostInputs): Promise<LocalHostInputs> {
  const answer = await hosts.check({}, inputs);
  expect(answer.failures).toEqual([]);
  return answer.inputs;
}
const lab = () => {
  const found = findLab(labDir());
  if (found === undefined) throw new Error("no lab");
  return found;
};

/** A small web server in a node that tells the node's name, as a unit so that it outlives the command. */
async function serve(name: string): Promise<void> {
  const node = await lab().node(name);
  const script = `require("http").createServer((q,r)=>r.end(require("os").hostname())).listen(80,"::")`;
  const runner: TestNode["runner"] = lab().runnerOf(node);
  await runner.run(["systemd-run", "--unit=probe", "--collect", "node", "-e", script], { timeoutMs: 20_000 });
  const answered = await runner.run(["curl", "-s", "--retry", "60", "--retry-delay", "1", "--retry-connrefused", "http://127.0.0.1/"], { timeoutMs: minute });
  expect(answered.stdout).toBe(name);
}
function ask(host: string, port: number): Promise<string> {
  return new Promise((done, fail) => {
    get({ host, port, agent: false, timeout: 10_000 }, (answer) => {
      let text = "";
      answer.on("data", (data: Buffer) => { text += data.toString(); });
      answer.on("end", () => done(text));
    }).on("error", fail);
  });
}

describe("LocalHost", () => {
  let outputs: LocalHostOutputs;

  it("is checked with names and reasons", async () => {
    const bad = await hosts.check({}, { ...wish("n1"), size: "1G" } as unknown as LocalHostInputs);
    expect(bad.failures).toEqual([expect.objectContaining({ property: "size", reason: expect.stringContaining("not a known property") })]);
    expect((await hosts.check({}, wish("N1"))).failures[0]?.property).toBe("name");
    expect((await hosts.check({}, wish("n1", { diskSizes: ["many"] }))).failures[0]?.property).toBe("diskSizes.0");
    expect((await hosts.check({}, wish("n1", { memory: unknownValue, lab: unknownValue }))).failures).toEqual([]);
    const { diskSizes: _none, ...short } = wish("n1");
    expect((await hosts.check({}, short as LocalHostInputs)).inputs.diskSizes).toEqual(["4G"]);
  });

  it("makes nodes in parallel, with what Host takes as outputs", async () => {
    const [one, two] = await Promise.all([hosts.create(await checked(wish("n1"))), hosts.create(await checked(wish("n2")))]);
    expect(one.id).toBe("demo/n1");
    outputs = one.outs;
    expect(outputs).toMatchObject({ name: "n1", port: 22, user: "root", platform: "linux", disks: ["/disks/d0.img"], addresses: [outputs.address, expect.stringMatching(/^fd77:/)], hostKey: expect.stringMatching(/^ssh-ed25519 AAAA/), privateKeyPath: join(workspace, "ssh", "id_ed25519") });
    expect(two.outs.address).not.toBe(outputs.address);
    expect(JSON.stringify(outputs)).not.toContain("PRIVATE");
  }, minute);

  it("shows no change afterwards, and a preview knows the outputs", async () => {
    const news = await checked(wish("n1"));
    expect(news).toMatchObject({ address: outputs.address, hostKey: outputs.hostKey });
    expect(await hosts.diff("demo/n1", outputs, news)).toMatchObject({ changes: false, replaces: [] });
    expect(await hosts.read("demo/n1", outputs)).toEqual({ id: "demo/n1", props: outputs });
  });

  it("makes nothing twice when create is repeated", async () => {
    const pid = lab().pid(await lab().node("n1"));
    expect((await hosts.create(await checked(wish("n1")))).outs).toEqual(outputs);
    expect(lab().pid(await lab().node("n1"))).toBe(pid);
    expect((await lab().nodes()).map((node) => node.name)).toEqual(["n1", "n2"]);
  });

  it("starts a stopped node again, as the same host", async () => {
    await lab().stop("n1");
    const news = await checked(wish("n1"));
    expect(await hosts.diff("demo/n1", outputs, news)).toMatchObject({ changes: true, replaces: [] });
    expect((await hosts.update("demo/n1", outputs, news)).outs).toEqual(outputs);
    expect(await hosts.diff("demo/n1", outputs, news)).toMatchObject({ changes: false });
  }, minute);

  it("grows and adds disks, and refuses to shrink them", async () => {
    const refused = await hosts.check({}, wish("n1", { diskSizes: ["128M"] }));
    expect(refused.failures).toEqual([expect.objectContaining({ property: "diskSizes", reason: expect.stringContaining("only grow") })]);
    const news = await checked(wish("n1", { diskSizes: ["512M", "256M"] }));
    expect(await hosts.diff("demo/n1", outputs, news)).toMatchObject({ changes: true, replaces: [] });
    const grown = (await hosts.update("demo/n1", outputs, news)).outs;
    expect(grown.disks).toEqual(["/disks/d0.img", "/disks/d1.img"]);
    const sizes = await lab().runnerOf(await lab().node("n1")).run(["stat", "-c", "%s", ...grown.disks], { timeoutMs: 10_000 });
    expect(sizes.stdout).toBe(`${512 << 20}\n${256 << 20}\n`);
    outputs = grown;
  });

  it("outlives the process group that made it", async () => {
    const script = `require(${JSON.stringify(require.resolve("../../providers/handlers/local-host.js"))}).makeLocalHostHandler({labFolder:(l)=>${JSON.stringify(workspace)}+"/labs/"+l,keyPath:()=>${JSON.stringify(join(workspace, "ssh", "id_ed25519"))}}).create(${JSON.stringify(wish("n3"))}).then(()=>{console.log("made");setInterval(()=>{},1000)})`;
    const child = spawn(process.execPath, ["-e", script], { detached: true, stdio: ["ignore", "pipe", "inherit"] });
    await new Promise<void>((done, fail) => {
      child.stdout.on("data", () => done());
      child.on("exit", (code) => fail(new Error(`exit ${code}`)));
    });
    const gone = new Promise((done) => child.once("exit", done));
    process.kill(-(child.pid as number), "SIGKILL");
    await gone;
    const node = await lab().node("n3");
    expect((await lab().runnerOf(node).run(["hostname"], { timeoutMs: 10_000 })).stdout).toBe("n3\n");
    expect(await hosts.diff("demo/n3", { ...outputs, ...lab().access(node), ...wish("n3") }, await checked(wish("n3")))).toMatchObject({ changes: false });
  }, minute);

  it("replaces for another name, lab or number only", async () => {
    const news = await checked(wish("n1", { diskSizes: ["512M", "256M"] }));
    for (const change of [{ name: "other" }, { lab: "other" }]) expect((await hosts.diff("demo/n1", outputs, { ...news, ...change })).replaces).toEqual(Object.keys(change));
    expect((await hosts.diff("demo/n1", outputs, { ...news, index: 9 })).replaces).toEqual(["index"]);
    expect(await hosts.diff("demo/n1", { ...outputs }, { ...news, index: 1 })).toMatchObject({ changes: true, replaces: [] });
  });
});

describe("LocalEntry", () => {
  // a port nobody has: taken from the kernel, then free again
  const freePort = (): Promise<number> => new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => done(port));
    });
  });

  it("leads to the first node that answers, over IPv4 and IPv6, and starts again when it died", async () => {
    await serve("n1");
    await serve("n2");
    const targets = [(await hosts.read("demo/n1", { ...wish("n1") } as LocalHostOutputs)).props.address, lab().access(await lab().node("n2")).addresses[1] as string];
    const { inputs, failures } = await entries.check({}, { name: "door", port: await freePort(), targets } as never);
    expect(failures).toEqual([]);
    expect(inputs.targetPort).toBe(80);
    const { id, outs } = await entries.create(inputs);
    try {
      expect(outs.url).toBe(`http://localhost:${inputs.port}`);
      expect(await ask("127.0.0.1", inputs.port)).toBe("n1");
      expect(await ask("::1", inputs.port)).toBe("n1");
      expect((await entries.diff(id, outs, inputs)).changes).toBe(false);
      await lab().kill("n1");
      expect(await ask("127.0.0.1", inputs.port)).toBe("n2");
      const running = runningEntry(inputs.port);
      process.kill(running?.process.pid as number, "SIGKILL");
      await new Promise<void>((done) => { const look = (): void => (runningEntry(inputs.port) === undefined ? done() : void setImmediate(look)); look(); });
      expect((await entries.diff(id, outs, inputs)).changes).toBe(true);
      await entries.update(id, outs, inputs);
      expect(await ask("127.0.0.1", inputs.port)).toBe("n2");
      expect((await entries.diff(id, outs, inputs)).changes).toBe(false);
      // nothing twice
      const again = runningEntry(inputs.port)?.process;
      await entries.create(inputs);
      expect(runningEntry(inputs.port)?.process).toEqual(again);
      // other targets take effect
      await entries.update(id, outs, { ...inputs, targets: [...targets].reverse() });
      expect(runningEntry(inputs.port)?.targets).toEqual([...targets].reverse());
      // another project cannot take it over, nor end it
      await expect(makeLocalEntryHandler(() => "/other").create(inputs)).rejects.toMatchObject({ code: "PORT_IN_USE" });
      await makeLocalEntryHandler(() => "/other").delete(id, outs);
      expect(await ask("127.0.0.1", inputs.port)).toBe("n2");
    } finally {
      await entries.delete(id, outs);
    }
    expect(runningEntry(inputs.port)).toBeUndefined();
    await expect(ask("127.0.0.1", inputs.port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await entries.delete(id, outs);
  }, 2 * minute);

  it("says that a port belongs to somebody else", async () => {
    const server = createServer();
    const port = await new Promise<number>((done) => server.listen(0, "127.0.0.1", () => done((server.address() as { port: number }).port)));
    try {
      await expect(entries.create({ name: "door", port, targets: ["127.0.0.1"], targetPort: 1 })).rejects.toMatchObject({ code: "PORT_IN_USE", message: expect.stringContaining(String(port)) });
    } finally {
      await new Promise((done) => server.close(done));
    }
    await entries.delete("door", { name: "door", port, targets: ["127.0.0.1"], targetPort: 1, url: "" });
  });
});

describe("the end of a lab", () => {
  it("comes with the deletion of its last node, and leaves nothing", async () => {
    const { subnet } = lab().place;
    const of = async (name: string): Promise<LocalHostOutputs> => ({ ...wish(name), ...lab().access(await lab().node(name)) });
    const all = await Promise.all(["n1", "n2", "n3"].map(of));
    await Promise.all(all.slice(0, 2).map((props) => hosts.delete(`demo/${props.name}`, props)));
    expect((await hosts.read("demo/n1", all[0] as LocalHostOutputs)).id).toBe("");
    expect((await lab().nodes()).map((node) => node.name)).toEqual(["n3"]);
    const last = all[2] as LocalHostOutputs;
    await hosts.delete("demo/n3", last);
    expect(labTraces(labDir(), subnet)).toEqual([]);
    await hosts.delete("demo/n3", last); // again: success
  }, minute);
});
