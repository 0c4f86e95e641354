import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import type { NodeContext } from "../../../daemon/context.js";
import { stateOf } from "../../../daemon/api/status.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { LocalRunner } from "../../../daemon/lib/local-runner.js";
import { keys, restoreOf, type RestoreState, type UnitRecord } from "../../../daemon/lib/records.js";
import { driveRestore, type UnitRestoreParts, withRestore } from "../../../daemon/vault/restore-unit.js";
import { createFakeZfs, type FakeZfs } from "../../../daemon/zfs/fake-zfs.js";
import { fixedSession } from "../../support/fixed-session.js";

const dataset = "hpool/hc/site-a";
const never = new AbortController().signal;
const wanted = "1-20260101T000000.000Z-n1";
const [before, after, second] = ["before", "after", "after-again"] as const;

/** site-a is at home here with a page and a snapshot in which that page was another; a restore to that stands in its record. */
class World {
  public readonly folder = realpathSync(mkdtempSync(join(tmpdir(), "hc-restore-")));
  public readonly page = join(this.folder, "data/site-a/www/page");
  public readonly zfs: FakeZfs = createFakeZfs({ seed: "n1" });
  /** What was done, in order. */
  public readonly done: string[] = [];
  public readonly events: string[] = [];
  public record: UnitRecord;
  /** Called with each step; may throw. */
  public onStep: (step: string) => void | Promise<void> = () => undefined;
  private revision = 1;

  public constructor() {
    for (const [tree, text] of [["data/site-a", "present"], ["then", "restored"], ["before", "present"]]) {
      mkdirSync(join(this.folder, tree as string, "www"), { recursive: true });
      writeFileSync(join(this.folder, tree as string, "www/page"), text as string);
    }
    const live = { version: 1, unit: "site-a", kind: "site", name: "a", home: "n1", homeGeneration: 1, epoch: 1, epochStartGuid: "1", replicas: [], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "php", version: "1", guid: "1" } } as UnitRecord;
    this.record = withRestore(live, { id: "r1", snapshot: wanted, reason: "test" });
  }
  public async start(): Promise<void> {
    await this.zfs.create("hpool/hc", {});
    await this.zfs.create(dataset, { mountpoint: join(this.folder, "data/site-a"), "hybridcluster:unit": "site-a" });
    await this.zfs.mount(dataset);
    await this.zfs.snapshot([`${dataset}@${wanted}`]);
  }
  private async step(name: string): Promise<void> {
    this.done.push(name);
    await this.onStep(name);
  }
  private parts(): UnitRestoreParts {
    const names = [after, second];
    const make = async (name: string): Promise<void> => {
      await this.step(`snapshot ${name}`);
      await this.zfs.snapshot([`${dataset}@${name}`]);
    };
    const context = {
      host: { node: "n1", paths: { data: join(this.folder, "data") } }, cluster: { node: "n1", dataset: "hpool/hc" }, runner: new LocalRunner(), log: pino({ level: "silent" }), signal: never,
      zfs: { ...this.zfs, rollback: (name: string) => this.step(`rollback ${name.split("@")[1]}`) },
      clock: { monotonicMs: () => 0, wallMs: () => 7 }, session: fixedSession(1, () => true), event: (_unit: string, event: string) => void this.events.push(event),
      view: { current: () => ({ units: new Map([["site-a", { value: this.record, revision: String(this.revision) }]]) }), onChange: () => () => undefined },
      store: {
        get: async () => ({ key: keys.unit("site-a"), value: JSON.stringify(this.record), modRevision: String(this.revision) }),
        txn: async (_compare: unknown, [op]: [{ value: string }]) => {
          const next = JSON.parse(op.value) as UnitRecord;
          await this.step(restoreOf(next) === undefined ? "end" : "record");
          this.record = next;
          this.revision += 1;
          return { succeeded: true, revision: String(this.revision) };
        },
      },
    } as unknown as NodeContext;
    const replication = { snapshotsSettled: () => this.step("settled"), snapshotNow: async () => { await make(before); return { name: before }; }, snapshotName: () => names.shift(), snapshotTogether: async ([{ name }]: [{ name: string }]) => make(name) };
    const clones = { work: async (_unit: string, name: string) => {
      await this.step(`open ${name}`);
      return { path: join(this.folder, name === before ? "before" : "then"), close: async () => undefined };
    } };
    return { context, replication, clones, agent: { untilRound: async () => true, isBusy: () => false, wake: () => undefined } } as unknown as UnitRestoreParts;
  }
  public drive(): Promise<void> {
    this.done.length = 0;
    return driveRestore(this.parts(), "site-a", restoreOf(this.record) as RestoreState, never);
  }
  public text(): string {
    return readFileSync(this.page, "utf8");
  }
  public async snapshots(): Promise<string[]> {
    return (await this.zfs.snapshots(dataset)).map(({ name }) => name);
  }
}
let world: World;
beforeEach(async () => {
  world = new World();
  await world.start();
});
afterEach(() => rmSync(world.folder, { recursive: true }));
const failing = (step: string, error: HcError, first: () => unknown = () => undefined): void => {
  world.onStep = async (name) => {
    if (name !== step) return;
    await first();
    throw error;
  };
};
const noRoom = new HcError("LIMIT_EXCEEDED", "no room", { retry: "never" });

test("rounds that may have begun before the restore have ended when the present is made a snapshot, and when the copy begins", async () => {
  await world.drive();
  expect(world.done).toEqual(["settled", "snapshot before", "record", "settled", `open ${wanted}`, "record", "snapshot after", "end"]);
  expect([world.text(), await world.snapshots(), world.record.restored?.error, world.record.kept]).toEqual(["restored", [wanted, before, after], "", [{ snapshot: before, atMs: 7 }]]);
});
test("one that fails is rolled back to the snapshot of the present, the newest one", async () => {
  failing(`open ${wanted}`, noRoom);
  await world.drive();
  expect([world.done.slice(-2), world.record.restored?.error, world.record.restored?.before]).toEqual([["rollback before", "end"], "no room", before]);
});
test.each([new HcError("NO_QUORUM", "etcd is away", { retry: "never" }), noRoom])("interrupted after its last snapshot (%s), it is not undone, and only ended when it is taken up", async (error) => {
  failing("end", error);
  await expect(world.drive()).rejects.toThrow(error.message);
  world.onStep = () => undefined;
  await world.drive();
  expect([world.done, world.record.restored?.error, world.text()]).toEqual([["end"], "", "restored"]);
});
test("interrupted before its last snapshot, it is copied again, whatever name that was to have", async () => {
  failing("snapshot after", new HcError("NOT_HOME", "fenced"));
  await expect(world.drive()).rejects.toThrow("fenced");
  expect(restoreOf(world.record)?.after).toBe(after);
  world.onStep = () => undefined;
  await world.drive();
  expect([world.done, await world.snapshots()]).toEqual([["settled", `open ${wanted}`, "record", `snapshot ${after}`, "end"], [wanted, before, after]]);
});

describe("somebody makes a snapshot of the half", () => {
  const half = async (): Promise<void> => {
    writeFileSync(world.page, "half");
    await world.zfs.snapshot([`${dataset}@mine`]);
  };
  test("the present is copied back, and nothing is destroyed for that", async () => {
    failing(`open ${wanted}`, noRoom, half);
    await world.drive();
    expect([world.text(), await world.snapshots(), world.done.includes("rollback before"), world.record.restored?.error]).toEqual(["present", [wanted, before, "mine"], false, "no room"]);
    expect(world.events).toEqual(["restore-stuck", "restore-failed"]);
  });
  test("while that cannot be done the site does not start and is shown as failed; then it is done, and the restore is not tried again", async () => {
    world.onStep = async (name) => {
      if (name === `open ${wanted}`) await half();
      if (name.startsWith("open")) throw noRoom;
    };
    await expect(world.drive()).rejects.toThrow("no room");
    await expect(world.drive()).rejects.toThrow("no room");
    expect([world.done, restoreOf(world.record)?.failed, world.events]).toEqual([[`open ${before}`], "no room", ["restore-stuck"]]);
    expect(stateOf({ alive: new Set(["n1"]), state: {} as never }, world.record, undefined)).toBe("failed");
    world.onStep = () => undefined;
    await world.drive();
    expect([world.text(), world.record.restored?.error, restoreOf(world.record)]).toEqual(["present", "no room", undefined]);
  });
});
