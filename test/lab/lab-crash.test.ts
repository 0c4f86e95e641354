import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { maxSubnet } from "../../providers/lab/addresses.js";
import { nodeGroups, removeLeftGroups } from "../../providers/lab/cgroups.js";
import { findLab, openLab } from "../../providers/lab/lab.js";
import { runOk } from "../../daemon/lib/command.js";
import { withLock } from "../../providers/lab/lock.js";
import { lockMs, registryLock } from "../../providers/lab/register.js";
import { readEntries, release } from "../../providers/lab/registry.js";
import { ensureRoot } from "../../providers/lab/root.js";
import { labTraces } from "../support/lab-traces.js";

const creator = resolve(__dirname, "../support/lab-creator.js");

function start(dir: string, ephemeral: boolean, nodes: number): ChildProcess {
  return spawn(process.execPath, [creator, dir, ephemeral ? "1" : "0", String(nodes)], { stdio: ["ignore", "pipe", "inherit"] });
}
function line(child: ChildProcess, wanted: string): Promise<void> {
  return new Promise((done, fail) => {
    let seen = "";
    child.stdout?.on("data", (data: Buffer) => { seen += data.toString(); if (seen.includes(wanted)) done(); });
    child.on("exit", (code) => fail(new Error(`the creator ended (${code}) before "${wanted}"`)));
  });
}
/** SIGKILL, and only back when it is gone. */
function kill(child: ChildProcess): Promise<void> {
  return new Promise((done) => {
    if (child.exitCode !== null || child.signalCode !== null) return done();
    child.once("exit", () => done());
    child.kill("SIGKILL");
  });
}
const subnetOf = (dir: string): number | undefined => readEntries().find((entry) => entry.dir === dir)?.subnet;

/** What every run does first: opening any lab clears stale ones. */
async function nextRun(): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "hc-lab-next-"));
  await (await openLab({ dir, name: "next", ephemeral: true })).destroy();
}

beforeAll(async () => { await ensureRoot(new LocalRunner()); }, 10 * 60_000);

it("nodes outlive a killed creator; the next run clears everything of a dead test", async () => {
  const dir = await mkdtemp(join(tmpdir(), "hc-lab-killed-"));
  const child = start(dir, true, 2);
  await line(child, "ready");
  await kill(child);
  const lab = findLab(dir);
  expect((await lab?.nodes())?.map((node) => lab?.pid(node) !== undefined)).toEqual([true, true]);
  const subnet = subnetOf(dir);
  expect(labTraces(dir, subnet).length).toBeGreaterThan(4); // the checker sees what is there
  await nextRun();
  expect(labTraces(dir, subnet)).toEqual([]);
}, 60_000);

it("control groups of a lab that nobody knows any more go with the next run, wherever they lie", async () => {
  const bridge = `hcl${maxSubnet + 1}`; // no lab has it
  const login = join(nodeGroups(bridge, 1)[0] as string, "../..", "hc-test-login");
  const left = join(login, bridge);
  const others = (lab: string): boolean => lab !== bridge;
  await withLock(registryLock, lockMs, async () => { // or another suite's lab clears it first
    mkdirSync(join(left, "n1", "system.slice"), { recursive: true });
    try {
      removeLeftGroups(() => true);
      expect(existsSync(left)).toBe(true); // a lab that is known keeps its own
      removeLeftGroups(others);
      expect(existsSync(left)).toBe(false);
    } finally {
      removeLeftGroups(others);
      rmdirSync(login);
    }
  });
});

it("a creator killed at any moment leaves nothing that the next run does not clear", async () => {
  for (const afterMs of [5, 60, 110, 170, 240, 320, 450]) {
    const dir = await mkdtemp(join(tmpdir(), "hc-lab-killed-"));
    const child = start(dir, true, 2);
    await line(child, "begin");
    await new Promise((wake) => setTimeout(wake, afterMs)); // the moment of the kill, not a wait for a fact
    await kill(child);
    const subnet = subnetOf(dir);
    await nextRun();
    const left = labTraces(dir, subnet);
    // killed before the lab was registered: nothing of it exists but the test's own empty folder
    if (subnet === undefined) await rm(dir, { recursive: true, force: true });
    expect({ afterMs, left: subnet === undefined ? left.filter((trace) => !trace.startsWith("folder ")) : left }).toEqual({ afterMs, left: [] });
  }
}, 120_000);

it("a lasting lab whose creator was killed is finished by the next run, nothing twice", async () => {
  const dir = await mkdtemp(join(tmpdir(), "hc-lab-lasting-"));
  for (const afterMs of [90, 150, 210, 300]) {
    const child = start(dir, false, 2);
    await line(child, "begin");
    await new Promise((wake) => setTimeout(wake, afterMs));
    await kill(child);
  }
  const subnet = subnetOf(dir);
  const last = start(dir, false, 2);
  await line(last, "ready");
  await kill(last);
  expect(subnetOf(dir)).toBe(subnet ?? subnetOf(dir));
  const lab = findLab(dir);
  expect((await lab?.nodes())?.map((node) => [node.name, node.index])).toEqual([["n1", 1], ["n2", 2]]);
  const traces = labTraces(dir, subnetOf(dir));
  expect(traces.filter((trace) => trace.includes("systemd --system"))).toHaveLength(2);
  await nextRun(); // a lasting lab is not stale
  expect(existsSync(dir)).toBe(true);
  const used = subnetOf(dir);
  await lab?.destroy();
  expect(labTraces(dir, used)).toEqual([]);
}, 120_000);

it("a lasting lab whose folder was removed by hand is cleared by the next run", async () => {
  const dir = await mkdtemp(join(tmpdir(), "hc-lab-gone-"));
  const child = start(dir, false, 1);
  await line(child, "ready");
  await kill(child);
  const subnet = subnetOf(dir);
  await rm(dir, { recursive: true, force: true });
  await nextRun();
  expect(labTraces(dir, subnet)).toEqual([]);
}, 60_000);

it("a lasting lab comes back after a reboot with its addresses and data", async () => {
  const runner = new LocalRunner();
  const dir = await mkdtemp(join(tmpdir(), "hc-lab-reboot-"));
  const root = await ensureRoot(runner);
  const lab = await openLab({ dir, name: "reboot" });
  try {
    const node = await lab.createNode({ name: "n1", disks: [{ sizeBytes: String(256 << 20) }], root });
    await lab.start("n1");
    await runOk(lab.runnerOf(node), ["zpool", "create", "-m", "/data", "data", "/disks/d0.img"], { timeoutMs: 20_000 });
    await runOk(lab.runnerOf(node), ["dd", "of=/data/kept", "conv=fsync", "status=none"], { timeoutMs: 20_000, input: "kept" });
    const before = lab.access(node);
    // what a reboot takes: every process, every link, all of /run
    await lab.kill("n1");
    await runOk(runner, ["ip", "link", "del", lab.place.net.bridge], { timeoutMs: 10_000 });
    release(lab.place.subnet);
    const after = findLab(dir);
    await after?.startAll();
    const again = await after?.node("n1");
    expect(again === undefined ? undefined : after?.access(again)).toEqual(before);
    expect(await runOk(lab.runnerOf(node), ["cat", "/data/kept"], { timeoutMs: 20_000 })).toBe("kept");
    const machine = lab.place.net.gateways.v4.split("/")[0] as string;
    expect(await runOk(lab.runnerOf(node), ["ping", "-c", "1", "-W", "2", machine], { timeoutMs: 10_000 })).toContain("1 received");
  } finally {
    await lab.destroy();
  }
  expect(labTraces(dir, lab.place.subnet)).toEqual([]);
}, 60_000);
