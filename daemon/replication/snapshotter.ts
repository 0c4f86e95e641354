import type { NodeContext, Session } from "../context.js";
import { errorCode } from "../lib/errors.js";
import { restoreOf, type SnapshotInfo, type UnitRecord } from "../lib/records.js";
import { makeSnapshotName } from "../zfs/snapshot-name.js";
import { HcError } from "../lib/errors.js";
import type { LagBook } from "./lag.js";
import type { Counters } from "./metrics.js";
import { isDue } from "./rpo.js";

export interface SnapshotterParts {
  lag: LagBook;
  counters: Counters;
  isPaused(unit: string): boolean;
  /** As the picture has it at this moment. */
  record(unit: string): UnitRecord | undefined;
  /** unit → its recovery point objective in seconds, as the documents say it now (rpo.ts). */
  rpo(): (unit: string) => number;
  /** A snapshot of the unit exists that replicas lack. */
  made(unit: string): void;
  /** What was written could not be made a snapshot; it is tried again at each look. */
  failed(unit: string, error: unknown): void;
}

/**
 * Pure: may what was written here become a snapshot of the record's epoch? Only once this session has taken the unit: until then it may be the tail of an owner that had lost (this copy was a home
 * once, and came back), which is stashed or mounted as it is; a snapshot of the new epoch upon it could be neither, and the unit would wait for a person.
 */
export const mayRecord = (record: Pick<UnitRecord, "unit" | "homeGeneration">, session: Pick<Session, "generation" | "owns">): boolean => record.homeGeneration === session.generation && session.owns(record.unit);

/** Pure: how many times longer than usual the next look may wait, after so many in a row that found nothing written. What is written first is then seen up to 3 s later than in a busy hour. */
export const restAfter = (quietLooks: number): number => (quietLooks < 3 ? 1 : quietLooks < 8 ? 2 : quietLooks < 15 ? 3 : 4);
/** The same where no copy is there to be sent to: a snapshot keeps a point in time for the vault then, which is by the minute. */
export const restAlone = 30;

/**
 * Sees what was written, with one command for the whole node, and makes the snapshots of all written units with one command. A unit that may lose more seconds than usual waits for its snapshot (rpo.ts), and only in a round: it is
 * dirty in the lag book all that time, and whoever asks for a snapshot has it at once.
 */
export class Snapshotter {
  private writtenByUnit = new Map<string, string>();
  private current: Promise<void> = Promise.resolve();
  private quietLooks = 0;
  private lookedAtMs = Number.NEGATIVE_INFINITY;
  private lookedFor = "";
  /** When the last round began whose findings are known, UTC ms: what a report says is true as of then. One that still asks has found nothing yet. */
  public lookedAtWallMs = 0;
  /** Units that this process has looked at while they were at home here. */
  private readonly known = new Set<string>();
  public constructor(
    private readonly context: Pick<NodeContext, "host" | "cluster" | "zfs" | "session" | "clock" | "log">,
    private readonly parts: SnapshotterParts,
  ) {}

  public writtenBytes(unit: string): string {
    return this.writtenByUnit.get(unit) ?? "0";
  }
  /** Resolves when the round that runs has ended. */
  public settled(): Promise<void> {
    return this.current;
  }
  private dataset(unit: string): string {
    return `${this.context.cluster.dataset}/${unit}`;
  }

  /**
   * A round, unless the last ones found nothing written at these same homes and the next may wait. `ms`: usual time between two. `isAlive` of nodes that copies lie on: a node that has just taken over
   * the sites of a dead one, whose copies lie there, has better things to do than to look again and again what could be sent to it.
   */
  public async roundIfDue(homes: readonly UnitRecord[], ms: number, isAlive: (node: string) => boolean): Promise<void> {
    const nowMs = this.context.clock.monotonicMs();
    const followed = homes.filter(({ replicas }) => replicas.some((node) => node !== this.context.host.node && isAlive(node)));
    const names = (followed.length > 0 ? homes : followed).map(({ unit }) => unit).join(" ");
    const times = followed.length === 0 ? restAlone : restAfter(this.quietLooks);
    // a tick of the caller's clock comes a little early or late
    if (names === this.lookedFor && nowMs - this.lookedAtMs < (times - 0.5) * ms) return;
    this.lookedFor = names;
    this.lookedAtMs = nowMs;
    const quiet = this.quietLooks;
    this.quietLooks = 0; // one that fails is repeated soon
    if (!(await this.round(homes))) this.quietLooks = quiet + 1;
  }
  /** One round over the units at home here; nothing is asked of ZFS when there are none. Was anything written? */
  public round(homes: readonly UnitRecord[]): Promise<boolean> {
    const run = this.look(homes);
    this.current = run.then(() => undefined, () => undefined);
    return run;
  }
  private async look(homes: readonly UnitRecord[]): Promise<boolean> {
    const { clock } = this.context;
    const [beganMs, beganWallMs] = [clock.monotonicMs(), clock.wallMs()];
    if (homes.length === 0) {
      this.writtenByUnit = new Map();
      this.known.clear();
      this.lookedAtWallMs = beganWallMs;
      return false;
    }
    const written = await this.context.zfs.written(this.context.cluster.dataset);
    // one whose write waits stays dirty, also when a snapshot that is not ours has put zfs's `written` back to 0: the replicas lack it
    const dirty = homes.filter(({ unit }) => {
      const bytes = written.get(this.dataset(unit)); // undefined: it does not lie here
      return bytes !== undefined && (bytes !== "0" || this.parts.lag.dirtySinceMs(unit) !== undefined);
    });
    this.writtenByUnit = new Map(homes.map((record) => [record.unit, written.get(this.dataset(record.unit)) ?? "0"]));
    // at once, which is a command or two: a node that has just taken over many units meets them all here
    const ages = new Map(await Promise.all(dirty.filter(({ unit }) => !this.known.has(unit)).map(async ({ unit }) => [unit, await this.oldestAgeMs(unit)] as const)));
    for (const { unit } of dirty) this.parts.lag.written(unit, ages.get(unit));
    const here = new Set(homes.map(({ unit }) => unit));
    for (const unit of this.known) if (!here.has(unit)) this.known.delete(unit);
    for (const unit of here) this.known.add(unit);
    this.parts.lag.looked(beganMs);
    this.lookedAtWallMs = beganWallMs;
    const rpoS = this.parts.rpo();
    const nowMs = clock.monotonicMs();
    const isOld = (unit: string): boolean => isDue(this.parts.lag.dirtySinceMs(unit) ?? nowMs, nowMs, rpoS(unit));
    // looked at anew: while this node asked its disk, a unit may have gone to another home, whose stream would find the snapshot in its way; or a restore was ordered, whose snapshot of the present has to be the newest
    const isOurs = ({ unit, epoch }: UnitRecord): boolean => {
      const record = this.parts.record(unit);
      return record?.home === this.context.host.node && record.epoch === epoch && mayRecord(record, this.context.session) && restoreOf(record) === undefined;
    };
    const due = dirty.filter((record) => !this.parts.isPaused(record.unit) && isOurs(record) && isOld(record.unit));
    if (due.length === 0) return dirty.length > 0;
    const names = due.map((record) => ({ unit: record.unit, name: this.nextName(record.epoch) }));
    for (const { unit, name } of await this.makeAll(names)) {
      this.told(unit, name);
    }
    return true;
  }
  private told(unit: string, name: string): void {
    this.writtenByUnit.set(unit, "0");
    this.parts.lag.snapshot(unit, name);
    this.parts.made(unit);
  }
  /** What the first look finds written may be of any time since the newest snapshot: e.g. from before a power cut. ms by the wall clock, at least 0. */
  private async oldestAgeMs(unit: string): Promise<number> {
    const newest = (await this.context.zfs.snapshots(this.dataset(unit))).at(-1);
    return newest === undefined ? 0 : Math.max(0, this.context.clock.wallMs() - newest.atMs);
  }
  /** One command for all; when it fails, one by one, so that one unit's trouble does not keep the others from theirs. */
  private async makeAll(wanted: readonly { unit: string; name: string }[]): Promise<{ unit: string; name: string }[]> {
    const full = (item: { unit: string; name: string }): string => `${this.dataset(item.unit)}@${item.name}`;
    let made: { unit: string; name: string }[] = [];
    try {
      await this.context.zfs.snapshot(wanted.map(full));
      made = [...wanted];
    } catch (error) {
      this.context.log.debug({ err: error, units: wanted.length }, "snapshots of all written units failed; trying one by one");
      for (const item of wanted)
        try {
          await this.context.zfs.snapshot([full(item)]);
          made.push(item);
        } catch (cause) {
          if (errorCode(cause) === "ALREADY_EXISTS") made.push(item); // by the command that failed later
          else this.parts.failed(item.unit, cause);
        }
    }
    this.parts.counters.add("hc_replication_snapshots_total", {}, made.length);
    return made;
  }

  private lastWallMs = 0;
  /** Names of one node never repeat, even when the wall clock steps back or stands still. */
  private nextName(epoch: number): string {
    this.lastWallMs = Math.max(this.lastWallMs + 1, Math.floor(this.context.clock.wallMs()));
    return makeSnapshotName(epoch, this.lastWallMs, this.context.host.node);
  }

  /** A name for a snapshot that is made soon. */
  public nameFor(record: UnitRecord): string {
    return this.nextName(record.epoch);
  }
  /** Snapshots of several units of this node by one command: at one moment where the zfs is OpenZFS (zfs-snapshot(8): atomically), all or none everywhere. */
  public async together(wanted: readonly { unit: string; name: string }[]): Promise<void> {
    await this.context.zfs.snapshot(wanted.map(({ unit, name }) => `${this.dataset(unit)}@${name}`));
    this.parts.counters.add("hc_replication_snapshots_total", {}, wanted.length);
    for (const { unit, name } of wanted) this.told(unit, name);
  }

  /** A snapshot now, of a unit that is ours by its record; its name. */
  public async make(record: UnitRecord): Promise<string> {
    const name = this.nextName(record.epoch);
    await this.context.zfs.snapshot([`${this.dataset(record.unit)}@${name}`]);
    this.parts.counters.add("hc_replication_snapshots_total", {});
    this.told(record.unit, name);
    return name;
  }
  /** The same, with its guid, which is one command more. */
  public async now(record: UnitRecord): Promise<SnapshotInfo> {
    const name = await this.make(record);
    const made = (await this.context.zfs.snapshots(this.dataset(record.unit))).find((snapshot) => snapshot.name === name);
    if (made === undefined) throw new HcError("INTERNAL", `${record.unit}@${name} is not there after it was made.`);
    return { name: made.name, guid: made.guid, createtxg: made.createtxg, atMs: made.atMs };
  }
}
