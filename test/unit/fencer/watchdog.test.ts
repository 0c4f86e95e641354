import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { FenceFolder } from "../../../daemon/fencer/fence-folder.js";
import { FenceKeeper } from "../../../daemon/fencer/fence-keeper.js";
import { type FenceOrder, readSign } from "../../../daemon/fencer/parse-fence.js";
import { judgeSysfs, judgeWdctl, setTimeoutArgv, wasReset } from "../../../daemon/fencer/parse-watchdog.js";
import { againMs, type Sight, watchMs } from "../../../daemon/fencer/plan-watchdog.js";
import { Watchdog } from "../../../daemon/fencer/watchdog.js";
import { LinuxWatchdog, type Prepared, type WatchdogDevice } from "../../../daemon/fencer/watchdog-device.js";
import { machineMs, systemClock } from "../../../daemon/lib/clock.js";
import type { CommandRunner } from "../../../daemon/lib/command.js";
import { createLogger } from "../../../daemon/lib/log.js";

const log = createLogger("test", { write: () => undefined });
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "hc-watchdog-"));
  folders.push(made);
  return made;
}
const device = "/dev/watchdog0";
const well = { identity: "iTCO_wdt", state: "inactive", nowayout: "0", timeout: "30", bootstatus: "0" };

describe("what the machine says of a watchdog", () => {
  test("one that is not there, can never be disarmed, or of which nothing is told, is refused before it is opened", () => {
    expect(judgeSysfs(device, {})).toMatchObject({ kind: "refused", why: expect.stringContaining("/etc/modules") });
    expect(judgeSysfs(device, { ...well, nowayout: "1" })).toMatchObject({ kind: "refused", why: expect.stringContaining("nowayout=0") });
    expect(judgeSysfs(device, { identity: "x" })).toMatchObject({ kind: "refused", why: expect.stringContaining("CONFIG_WATCHDOG_SYSFS") });
    expect(judgeSysfs(device, well)).toEqual({ kind: "set" });
  });
  test("one that runs on from the fencer before is taken as it is, for wdctl would disarm it; with another timeout it is set", () => {
    expect(judgeSysfs(device, { ...well, state: "active", timeout: "5" })).toEqual({ kind: "ready", timeoutMs: 5000, identity: "iTCO_wdt" });
    expect(judgeSysfs(device, { ...well, state: "active", timeout: "60" })).toEqual({ kind: "set" });
  });
  const line = (timeout: string, flags = ' KEEPALIVEPING="0" KEEPALIVEPING_BOOT="0" MAGICCLOSE="0" MAGICCLOSE_BOOT="0" SETTIMEOUT="0" SETTIMEOUT_BOOT="0"') => `Timeout has been set to 5 seconds.\n${device}: VERSION="0" IDENTITY="Software Watchdog" TIMEOUT="${timeout}" PRETIMEOUT="0"${flags}\n`;
  const ran = (stdout: string, code = 0, stderr = "") => ({ code, stdout, stderr });
  test("the timeout is what is read back, not what was asked; alarms and devices without magic close are no use", () => {
    expect(judgeWdctl(device, ran(line("5")))).toEqual({ kind: "ready", timeoutMs: 5000, identity: "Software Watchdog" });
    expect(judgeWdctl(device, ran(line("4")))).toMatchObject({ kind: "ready", timeoutMs: 4000 });
    for (const odd of ["60", "6", "3", "0", "5.5", ""]) expect(judgeWdctl(device, ran(line(odd)))).toMatchObject({ kind: "refused" });
    expect(judgeWdctl(device, ran(line("5", ' MAGICCLOSE="0" ALARMONLY="0"')))).toMatchObject({ kind: "refused", why: expect.stringContaining("alarm") });
    expect(judgeWdctl(device, ran(line("5", ' SETTIMEOUT="0"')))).toMatchObject({ kind: "refused", why: expect.stringContaining("magic close") });
    expect(judgeWdctl(device, ran(line("30"), 1, `wdctl: cannot set timeout for ${device}: Operation not supported\n`))).toMatchObject({ kind: "refused", why: expect.stringContaining("Operation not supported") });
    expect(judgeWdctl(device, ran("", 0))).toMatchObject({ kind: "refused" });
  });
  test("the options are ones that this machine's own wdctl knows", () => {
    const help = spawnSync("wdctl", ["--help"], { encoding: "utf8" });
    if (help.error !== undefined) return; // no util-linux here
    for (const option of setTimeoutArgv(device).filter((word) => word.startsWith("--"))) expect(help.stdout).toContain(option);
  });
  test("a reset by the watchdog is seen at the next boot", () => {
    expect(wasReset({ bootstatus: "32" })).toBe(true);
    expect(wasReset({ bootstatus: "0" })).toBe(false);
    expect(wasReset({})).toBe(false);
  });
});

describe("the device", () => {
  async function machine(facts: Record<string, string>) {
    const root = folder();
    await mkdir(join(root, "sysfs/watchdog0"), { recursive: true });
    for (const [name, value] of Object.entries(facts)) writeFileSync(join(root, "sysfs/watchdog0", name), `${value}\n`);
    const path = join(root, "watchdog0");
    const asked: string[][] = [];
    const runner: CommandRunner = { run: async (argv) => {
      asked.push([...argv]);
      return { code: 0, signal: null, stdout: `${path}: VERSION="0" IDENTITY="lab" TIMEOUT="5" MAGICCLOSE="0"\n`, stderr: "", durationMs: 1 };
    } };
    return { path, asked, watchdog: new LinuxWatchdog(path, runner, join(root, "sysfs")) };
  }
  test("a plain file in its place is no watchdog, and wdctl does not touch it", async () => {
    const { path, asked, watchdog } = await machine(well);
    writeFileSync(path, "");
    expect(await watchdog.prepare()).toMatchObject({ kind: "refused", why: expect.stringContaining("no device") });
    expect(asked).toEqual([]);
  });
  test("armed, fed and disarmed: one letter each, the magic one only at the end", async () => {
    const { path, asked, watchdog } = await machine(well);
    spawnSync("mkfifo", [path]);
    expect(await watchdog.prepare()).toEqual({ kind: "ready", timeoutMs: 5000, identity: "lab" });
    expect(asked).toEqual([["wdctl", "--oneline", "--settimeout", "5", path]]);
    await expect(watchdog.open()).rejects.toThrow(/ENXIO/); // nobody reads
    const plain = `${path}.plain`;
    writeFileSync(plain, "");
    const other = new LinuxWatchdog(plain, { run: () => Promise.reject(new Error("not asked")) });
    await other.open();
    await other.feed();
    await other.feed();
    await other.close(true);
    expect(readFileSync(plain, "utf8")).toBe("..V");
    await other.close(true); // nothing is open
  });
});

/** A device as the kernel has it, on the test's clock. */
class FakeDevice implements WatchdogDevice {
  public readonly acts: string[] = [];
  public prepared: Prepared = { kind: "ready", timeoutMs: 5000, identity: "fake" };
  public failing = "";
  public wasReset = (): boolean => false;
  public prepare = async (): Promise<Prepared> => this.note("prepare", this.prepared);
  public open = async (): Promise<void> => this.note("open", undefined);
  public feed = async (): Promise<void> => this.note("feed", undefined);
  public close = async (disarm: boolean): Promise<void> => this.note(disarm ? "release" : "hand-on", undefined);
  private note<T>(what: string, answer: T): T {
    if (this.failing === what) throw Object.assign(new Error(`${what} failed`), { code: "EBUSY" });
    this.acts.push(what);
    return answer;
  }
}
function setup(strays = false) {
  let nowMs = 100_000;
  let asked = 0;
  const fake = new FakeDevice();
  const seen: { order: FenceOrder | undefined; note: Sight["note"] } = { order: undefined, note: undefined };
  const state = { strays };
  const watchdog = new Watchdog({ name: device, device: fake, sight: () => ({ ...seen, ended: new Map() }), strays: async () => { asked += 1; return state.strays; }, log, nowMs: () => nowMs });
  const beat = (): void => {
    seen.order = { version: 1, bootId: "b", deadlineMs: nowMs + 5000, generation: 1, units: [{ unit: "site-a", dataset: "d", mountpoint: "/hc/site-a" }] };
  };
  const pass = async (ms: number): Promise<void> => {
    for (const end = nowMs + ms; nowMs < end; nowMs += watchMs) await watchdog.step();
  };
  return { fake, seen, state, watchdog, beat, pass, asked: () => asked, fed: () => fake.acts.filter((act) => act === "feed").length };
}

describe("the loop", () => {
  test("nothing here: armed and fed; a sign of life that stops ends the feeding, and only a fence that left nothing goes on with it", async () => {
    const { fake, seen, watchdog, beat, pass, fed } = setup();
    await pass(1_000);
    expect(fake.acts.slice(0, 3)).toEqual(["prepare", "open", "feed"]);
    beat();
    await pass(1_500);
    const before = fed();
    await pass(4_000);
    expect(fed()).toBe(before);
    seen.note = { version: 1, bootId: "b", generation: 1, state: "fencing", deadlineMs: (seen.order as FenceOrder).deadlineMs, startedMs: 1, verifiedMs: null, wallMs: 1, units: ["site-a"], left: [{ unit: "site-a", why: "mounted" }] };
    await pass(1_000);
    expect(fed()).toBe(before);
    seen.note = { ...seen.note, state: "fenced", left: [] };
    await pass(1_000);
    expect(fed()).toBeGreaterThan(before);
    expect(watchdog.sign()).toMatchObject({ device, state: "on", why: "", identity: "fake", timeoutMs: 5000, fed: fed() });
  });
  test("units that are mounted without an order are no time to arm it; the mounts are asked for every two seconds, not at each look", async () => {
    const { fake, state, watchdog, pass, asked } = setup(true);
    await pass(4_000);
    expect(fake.acts).toEqual([]);
    expect(asked()).toBe(2);
    expect(watchdog.sign()).toMatchObject({ state: "off", why: expect.stringContaining("no order"), fedMs: null });
    state.strays = false;
    await pass(2_000);
    expect(fake.acts).toContain("open");
  });
  test("a device that cannot do it is refused, told, and looked at again later", async () => {
    const { fake, watchdog, pass } = setup();
    fake.prepared = { kind: "refused", why: "its timeout is 60 s" };
    await pass(5_000);
    expect(fake.acts).toEqual(["prepare"]);
    expect(watchdog.sign()).toMatchObject({ state: "refused", why: "its timeout is 60 s" });
    fake.prepared = { kind: "ready", timeoutMs: 4000, identity: "other" };
    await pass(againMs);
    expect(watchdog.sign()).toMatchObject({ state: "on", timeoutMs: 4000, identity: "other" });
  });
  test("one that another program holds is said to be; a feeding that fails is told until one works", async () => {
    const { fake, watchdog, pass } = setup();
    fake.failing = "open";
    await pass(500);
    expect(watchdog.sign()).toMatchObject({ state: "refused", why: expect.stringContaining("RuntimeWatchdogSec") });
    fake.failing = "";
    await pass(againMs);
    fake.failing = "feed";
    await pass(500);
    expect(watchdog.sign()).toMatchObject({ state: "on", why: "feed failed" });
    fake.failing = "";
    await pass(500);
    expect(watchdog.sign()).toMatchObject({ state: "on", why: "" });
  });
  test.each([[true, false, "hand-on"], [false, false, "release"]] as const)("ended with a unit at home, followed by the same: %s", async (heir, down, last) => {
    const { fake, watchdog, beat, pass } = setup();
    beat();
    await pass(500);
    watchdog.leave({ heir, down });
    await pass(500);
    expect(fake.acts.at(-1)).toBe(last);
    expect(watchdog.hasLeft()).toBe(true);
    await watchdog.run(new AbortController().signal);
  });
  test("never armed: there is nothing to leave", async () => {
    const { fake, watchdog, pass } = setup(true);
    watchdog.leave({ heir: true, down: false });
    await pass(200);
    expect(watchdog.hasLeft()).toBe(true);
    expect(fake.acts).toEqual([]);
  });
});

describe("the control process tells of it", () => {
  test("not before the fencer had its time; what is wrong in its own words; nothing when it is on", async () => {
    const run = folder();
    const keeper = new FenceKeeper({ run, watchdog: device, bootId: async () => "b", clock: systemClock, log, event: () => undefined });
    await keeper.begin();
    const files = new FenceFolder(run, "b");
    const write = (watchdog?: ReturnType<Watchdog["sign"]>): void => files.writeSign({ version: 1, bootId: "b", pid: 1, atMs: machineMs(), ...(watchdog === undefined ? {} : { watchdog }) });
    const sign = { device, state: "refused", why: "its timeout is 60 s", identity: "", timeoutMs: 5000, fed: 0, fedMs: null, afterReset: false } as const;
    write(sign);
    expect(keeper.problems()).toEqual([]);
    const clock = jest.spyOn(performance, "now");
    const later = performance.now() + 5_000;
    clock.mockImplementation(() => later);
    write(sign);
    expect(keeper.problems()).toEqual([`the watchdog ${device} is not armed: its timeout is 60 s; nothing resets this machine when its units cannot be ended in time`]);
    write();
    expect(keeper.problems().join()).toContain("does not tell of it");
    write({ ...sign, state: "on", why: "EIO", fed: 3, fedMs: 5 });
    expect(keeper.problems().join()).toContain("not fed: EIO");
    write({ ...sign, state: "on", why: "", fed: 3, fedMs: 5 });
    expect(keeper.problems()).toEqual([]);
    expect(keeper.watchdog()).toMatchObject({ fed: 3 });
    clock.mockRestore();
  });
  test("a reset is an event of the first control process after the boot, and of no later one", async () => {
    const run = folder();
    const events: string[] = [];
    const begin = async (): Promise<FenceKeeper> => {
      const keeper = new FenceKeeper({ run, watchdog: device, bootId: async () => "b", clock: systemClock, log, event: (unit, event) => void events.push(`${unit}${event}`) });
      await keeper.begin();
      return keeper;
    };
    const keeper = await begin();
    keeper.look();
    expect(events).toEqual([]);
    new FenceFolder(run, "b").writeSign({ version: 1, bootId: "b", pid: 1, atMs: machineMs(), watchdog: { device, state: "on", why: "", identity: "", timeoutMs: 5000, fed: 1, fedMs: 1, afterReset: true } });
    keeper.look();
    keeper.look();
    expect(events).toEqual(["reset-by-watchdog"]);
    keeper.announce(1, systemClock.monotonicMs() + 5000);
    (await begin()).look();
    expect(events).toHaveLength(1);
  });
  test("a sign with a strange watchdog says nothing", () => {
    expect(readSign('{"version":1,"bootId":"b","pid":1,"atMs":2,"watchdog":{"device":1}}', "b").kind).toBe("unreadable");
  });
});
