import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FenceFolder, noteFile, orderFile } from "../../../daemon/fencer/fence-folder.js";
import { knowsStanding } from "../../../daemon/agent/start-grace.js";
import { FenceKeeper } from "../../../daemon/fencer/fence-keeper.js";
import { Fencer } from "../../../daemon/fencer/fencer.js";
import type { FenceNote, FenceOrder } from "../../../daemon/fencer/parse-fence.js";
import { guardMs, lookMs, retryMs, unfitMs } from "../../../daemon/fencer/plan-fence.js";
import { machineMs, systemClock } from "../../../daemon/lib/clock.js";
import { createLogger } from "../../../daemon/lib/log.js";
import { keys, type SessionRecord } from "../../../daemon/lib/records.js";
import { NodeSession } from "../../../daemon/membership/session.js";
import { FakePlatform } from "../../../daemon/platform/fake-platform.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { createFakeZfs } from "../../../daemon/zfs/fake-zfs.js";

const log = createLogger("test", { write: () => undefined });
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
function runFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "hc-fence-"));
  folders.push(folder);
  return folder;
}
const fenceUnit = (name: string) => ({ unit: `site-${name}`, dataset: `hpool/hc/site-${name}`, mountpoint: `/hc/site-${name}` });

/** A node with two units that run and are mounted, a fencer, and a clock of the test's own, ahead of the machine's by what is advanced. */
async function setup(run = runFolder()) {
  const platform = new FakePlatform();
  const zfs = createFakeZfs({ seed: "n1" });
  await zfs.create("hpool/hc", { mountpoint: "/hc" });
  for (const name of ["a", "b"]) {
    await platform.defineService({ name: `hc-site-${name}`, description: "", argv: ["x"], restart: "always" });
    await platform.startService(`hc-site-${name}`);
    await zfs.create(`hpool/hc/site-${name}`, { mountpoint: `/hc/site-${name}` });
    await zfs.mount(`hpool/hc/site-${name}`);
  }
  await platform.defineService({ name: "hcd-apache", description: "", argv: ["x"], restart: "always" });
  await platform.startService("hcd-apache");
  platform.acts.length = 0;
  let ahead = 0;
  const nowMs = (): number => machineMs() + ahead;
  const folder = new FenceFolder(run, "fake-boot");
  const order = (more: Partial<FenceOrder> = {}): void => folder.writeOrder({ version: 1, bootId: "fake-boot", deadlineMs: nowMs() + 5000, generation: 3, units: [fenceUnit("a"), fenceUnit("b")], ...more });
  const note = (): FenceNote | undefined => {
    const found = folder.note();
    return found.kind === "read" ? found.value : undefined;
  };
  const mounted = async (): Promise<string[]> => [...(await zfs.mounted()).keys()].filter((name) => name.includes("site-"));
  return { run, platform, zfs, folder, order, note, mounted, nowMs, advance: (ms: number) => (ahead += ms), fencer: () => new Fencer({ folder, platform, zfs, log, nowMs }) };
}

describe("the fencer", () => {
  test("past the deadline kills all units at once, then unmounts them, and says so; before it, nothing", async () => {
    const { fencer: make, platform, order, note, mounted, advance } = await setup();
    const fencer = make();
    expect(await fencer.step()).toBe(lookMs);
    order();
    expect(await fencer.step()).toBe(lookMs);
    advance(4_800);
    expect(await fencer.step()).toBeLessThanOrEqual(200);
    expect(platform.acts).toEqual([]);
    expect(note()).toBeUndefined();
    advance(201);
    expect(await fencer.step()).toBe(guardMs);
    expect(platform.acts).toEqual(["kill hc-site-a", "kill hc-site-b"]);
    expect(await mounted()).toEqual([]);
    expect(note()).toMatchObject({ generation: 3, state: "fenced", units: ["site-a", "site-b"], left: [] });
  });

  test("a unit whose dataset is gone, or that is not mounted, is no failure", async () => {
    const { fencer, order, note, zfs } = await setup();
    await zfs.unmount("hpool/hc/site-a");
    order({ deadlineMs: 1, units: [fenceUnit("a"), fenceUnit("gone")] });
    await fencer().step();
    expect(note()).toMatchObject({ state: "fenced", left: [] });
  });

  test("busy datasets are forced, Apache is restarted once more is tried, and what never goes makes the node unfit", async () => {
    const { fencer: make, order, note, zfs, platform, advance } = await setup();
    order({ deadlineMs: 1 });
    zfs.onOperation = (what, name) => {
      if (what === "unmount" && name === "hpool/hc/site-b") throw new Error("cannot unmount '/hc/site-b': pool or dataset is busy");
    };
    const fencer = make();
    expect(await fencer.step()).toBe(retryMs);
    expect(note()).toMatchObject({ state: "fencing", left: [{ unit: "site-b", why: "hpool/hc/site-b is mounted" }] });
    expect(platform.acts).not.toContain("restart hcd-apache");
    expect(await fencer.step()).toBe(retryMs);
    expect(platform.acts).toContain("restart hcd-apache");
    advance(unfitMs);
    await fencer.step();
    expect(note()?.state).toBe("unfit");
    zfs.onOperation = undefined;
    await fencer.step();
    expect(note()).toMatchObject({ state: "unfit", left: [] });
  });

  test("a mount that was on its way is undone for as long as the deadline stays missed", async () => {
    const { fencer: make, order, note, zfs, platform, mounted } = await setup();
    order({ deadlineMs: 1 });
    const fencer = make();
    await fencer.step();
    platform.acts.length = 0;
    await fencer.step();
    expect(platform.acts).toEqual([]);
    await zfs.mount("hpool/hc/site-a");
    await platform.startService("hc-site-a");
    expect(await fencer.step()).toBe(guardMs);
    expect(await mounted()).toEqual([]);
    expect(note()?.state).toBe("fenced");
  });

  test("a later order of the same generation brings nothing back, one of the next ends the fence", async () => {
    const { fencer: make, order, note, zfs, mounted } = await setup();
    order({ deadlineMs: 1 });
    const fencer = make();
    await fencer.step();
    order();
    await zfs.mount("hpool/hc/site-a");
    await fencer.step();
    expect(await mounted()).toEqual([]);
    order({ generation: 4 });
    await zfs.mount("hpool/hc/site-a");
    expect(await fencer.step()).toBe(lookMs);
    expect(await mounted()).toEqual(["hpool/hc/site-a"]);
    expect(note()).toMatchObject({ generation: 3, state: "fenced" });
  });

  test("a newer session that comes between the deadline and the note is left alone", async () => {
    const { folder, order, note, platform, mounted, fencer: make } = await setup();
    order({ deadlineMs: 1 });
    const { writeNote } = folder;
    // the control process writes its order just before the fencer's note is there
    folder.writeNote = function (this: FenceFolder, value) {
      if (value.state === "fencing" && note() === undefined) order({ generation: 4 });
      writeNote.call(this, value);
    };
    const fencer = make();
    await fencer.step();
    await fencer.step();
    expect(platform.acts).toEqual([]);
    expect((await mounted()).length).toBe(2);
    expect(note()).toMatchObject({ generation: 3, state: "overtaken" });
  });

  test("an unreadable order: the last one stands, and so does its deadline; a deleted one does not", async () => {
    const { run, fencer: make, order, note, advance, mounted } = await setup();
    const fencer = make();
    order();
    await fencer.step();
    writeFileSync(orderFile(run), '{"version":1,"bo');
    await fencer.step();
    expect(note()).toBeUndefined();
    advance(5_001);
    await fencer.step();
    expect(await mounted()).toEqual([]);

    const other = await setup();
    const second = other.fencer();
    other.order();
    await second.step();
    rmSync(orderFile(other.run));
    other.advance(6_000);
    expect(await second.step()).toBe(lookMs);
    expect((await other.mounted()).length).toBe(2);
  });

  test("one that died in the middle is followed by one that begins again", async () => {
    const { folder, fencer, order, note, platform, mounted } = await setup();
    order({ deadlineMs: 1 });
    folder.writeNote({ version: 1, bootId: "fake-boot", generation: 3, state: "fencing", deadlineMs: 1, startedMs: machineMs(), verifiedMs: null, wallMs: 1, units: [], left: [] });
    await fencer().step();
    expect(platform.acts).toContain("kill hc-site-a");
    expect(await mounted()).toEqual([]);
    expect(note()?.state).toBe("fenced");
  });
});

describe("the control process' side", () => {
  async function keeperOf(run: string) {
    const events: string[] = [];
    const keeper = new FenceKeeper({ run, bootId: async () => "fake-boot", clock: systemClock, log, event: (unit, event, detail) => void events.push(`${unit} ${event} ${detail}`) });
    await keeper.begin();
    return { keeper, events };
  }
  const read = (run: string): FenceOrder => {
    const found = new FenceFolder(run, "fake-boot").order();
    if (found.kind !== "read") throw new Error(found.kind);
    return found.value;
  };

  test("the order holds the session's deadline by the machine's clock, and each unit before it is mounted", async () => {
    const run = runFolder();
    const { keeper } = await keeperOf(run);
    keeper.announce(1, systemClock.monotonicMs() + 5000);
    const first = read(run);
    expect(first).toMatchObject({ generation: 1, units: [] });
    expect(Math.abs(first.deadlineMs - machineMs() - 5000)).toBeLessThan(1000);
    keeper.open(fenceUnit("a"));
    expect(read(run)).toEqual({ ...first, units: [fenceUnit("a")] });
    // not mounted yet, and something is being done: it stays
    keeper.seen([], () => false);
    expect(read(run).units).toHaveLength(1);
    keeper.seen([fenceUnit("b")], () => true);
    expect(read(run)).toEqual({ ...first, units: [fenceUnit("b")] });
  });

  test("a new process takes over what its predecessor had named, with its first sign of life", async () => {
    const run = runFolder();
    const { keeper } = await keeperOf(run);
    keeper.announce(1, systemClock.monotonicMs() + 5000);
    keeper.open(fenceUnit("a"));
    const { keeper: next } = await keeperOf(run);
    expect(read(run).generation).toBe(1);
    next.announce(2, systemClock.monotonicMs() + 5000);
    expect(read(run)).toMatchObject({ generation: 2, units: [fenceUnit("a")] });
  });

  test("a new process knows whether its predecessor's deadline has passed: what that one served is over then, and is not spared", async () => {
    const run = runFolder();
    const { keeper: first } = await keeperOf(run);
    expect(first.missed()).toBe(false); // nobody was there before
    first.announce(1, systemClock.monotonicMs() + 5000);
    expect((await keeperOf(run)).keeper.missed()).toBe(false);
    first.announce(1, systemClock.monotonicMs() - 1);
    expect((await keeperOf(run)).keeper.missed()).toBe(true);
    const unsure = { live: false, wasLive: false, sinceStartMs: 500 };
    expect([knowsStanding({ ...unsure, missed: false }), knowsStanding({ ...unsure, missed: true }), knowsStanding({ ...unsure, sinceStartMs: 3_001, missed: false })]).toEqual([false, true, true]);
  });

  test("when the fencer cannot be told, nothing is mounted and no session lives", async () => {
    const run = runFolder();
    const { keeper } = await keeperOf(run);
    keeper.announce(1, systemClock.monotonicMs() + 5000);
    rmSync(run, { recursive: true });
    expect(() => keeper.open(fenceUnit("a"))).toThrow(/not mounted/);
    expect(() => keeper.open(fenceUnit("a"))).toThrow(/not mounted/);
    expect(() => keeper.announce(1, systemClock.monotonicMs() + 6000)).toThrow();
  });

  test("no sign of life during a fence, nor after one that did not end; a fenced generation is lost; it is told once", async () => {
    const node = await setup();
    const { keeper, events } = await keeperOf(node.run);
    keeper.announce(3, systemClock.monotonicMs() + 5000);
    const write = (state: FenceNote["state"], left: FenceNote["left"] = []): void => node.folder.writeNote({ version: 1, bootId: "fake-boot", generation: 3, state, deadlineMs: machineMs(), startedMs: machineMs(), verifiedMs: null, wallMs: Date.now(), units: ["site-a"], left });
    expect(keeper.problem()).toBe("");
    write("fencing");
    expect(keeper.problem()).toContain("the fencer is ending");
    expect(() => keeper.announce(4, systemClock.monotonicMs() + 5000)).toThrow(/is ending/);
    keeper.look();
    expect(events).toEqual([]);
    write("fenced");
    expect(keeper.problem()).toBe("");
    expect(keeper.lostGeneration()).toBe(3);
    expect(() => keeper.announce(3, systemClock.monotonicMs() + 5000)).toThrow(/generation 3/);
    keeper.look();
    keeper.look();
    expect(events).toEqual([expect.stringContaining("site-a fenced fenced ")]);
    expect(keeper.problems()).toEqual([]);
    keeper.announce(4, systemClock.monotonicMs() + 5000);
    const { keeper: next, events: later } = await keeperOf(node.run);
    next.look();
    expect(later).toEqual([]);
    write("unfit", [{ unit: "site-a", why: "hpool/hc/site-a is mounted" }]);
    expect(keeper.problem()).toContain("unfit until it is rebooted: site-a: hpool/hc/site-a is mounted");
    // another boot
    const rebooted = new FenceKeeper({ run: node.run, bootId: async () => "b2", clock: systemClock, log, event: () => undefined });
    await rebooted.begin();
    expect(rebooted.problem()).toBe("");
  });

  test("both at once, the fencer first: the generation that was written meanwhile does not count, the next one does", async () => {
    const node = await setup();
    const { keeper } = await keeperOf(node.run);
    node.order({ deadlineMs: 1 });
    const fencer = node.fencer();
    let fence: Promise<number> | undefined;
    const write = jest.spyOn(FenceFolder.prototype, "writeOrder").mockImplementationOnce(function (this: FenceFolder, order) {
      // the note of generation 3 was not there yet when we looked, and is before our order: the fencer ends what the old order names
      fence = fencer.step();
      this.writeOrder(order);
    });
    expect(() => keeper.announce(4, systemClock.monotonicMs() + 5000)).toThrow(/is ending/);
    write.mockRestore();
    expect(node.platform.acts).toContain("kill hc-site-a");
    await fence;
    expect(node.note()).toMatchObject({ generation: 3, state: "fenced" });
    keeper.announce(5, systemClock.monotonicMs() + 5000);
    expect(await fencer.step()).toBe(lookMs);
  });

  test("both at once, the control process first: it lives, and the fencer ends nothing", async () => {
    const node = await setup();
    const { keeper } = await keeperOf(node.run);
    node.order({ deadlineMs: 1 });
    const fencer = node.fencer();
    const write = jest.spyOn(FenceFolder.prototype, "writeNote").mockImplementationOnce(function (this: FenceFolder, note) {
      keeper.announce(4, systemClock.monotonicMs() + 5000);
      this.writeNote(note);
    });
    await fencer.step();
    write.mockRestore();
    expect(node.platform.acts).toEqual([]);
    // until the note says so, the next sign of life waits
    expect(keeper.problem()).toContain("is ending");
    await fencer.step();
    expect(node.note()).toMatchObject({ generation: 3, state: "overtaken" });
    keeper.announce(4, systemClock.monotonicMs() + 6000);
  });

  test("a session that the fencer ended opens another generation, above the ended one, and only when the fence is over", async () => {
    const node = await setup();
    const { keeper } = await keeperOf(node.run);
    const state = new MemoryState();
    const session = new NodeSession({ node: "n1", store: new MemoryStore(state), clock: systemClock, log, diskProblem: () => keeper.problem(), fence: keeper });
    expect(await session.beat()).toBe(true);
    expect(read(node.run)).toMatchObject({ generation: 1 });
    const write = (value: FenceNote["state"]): void => node.folder.writeNote({ version: 1, bootId: "fake-boot", generation: 4, state: value, deadlineMs: 1, startedMs: 1, verifiedMs: null, wallMs: 1, units: [], left: [] });
    write("fencing");
    expect(await session.beat()).toBe(false);
    expect(session.isLive()).toBe(false);
    write("fenced");
    expect(await session.beat()).toBe(true);
    expect(session.generation).toBe(5);
    expect((JSON.parse(state.get(keys.session("n1"))?.value ?? "null") as SessionRecord).generation).toBe(5);
    rmSync(noteFile(node.run));
    rmSync(node.run, { recursive: true });
    // cannot be written: the sign of life committed, and does not count
    const before = session.deadlineMs();
    expect(await session.beat()).toBe(false);
    expect(session.deadlineMs()).toBe(before);
  });
});
