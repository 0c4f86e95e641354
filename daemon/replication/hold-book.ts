import { messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { Snapshot, Zfs } from "../zfs/zfs.js";

/** More holds than this are not kept waiting. */
const most = 10_000;

/**
 * Holds of this node. They are made at once; what may go is let go of later, for many snapshots by one command a tag: a release waits for a transaction group of the pool, and nobody waits for a release. What still waits when the
 * process ends is found by the first send or receive of the next one. Invariants: a hold that is asked for is there when `hold` returns, whatever waited; a snapshot is never without the hold that was asked for last.
 */
export class HoldBook {
  /** Full name of a snapshot → tags that may go, and nobody has begun to. */
  private waiting = new Map<string, Set<string>>();
  /** The same, being let go of. */
  private leaving = new Map<string, Set<string>>();
  private flushing: Promise<void> = Promise.resolve();
  /** Holds that this process made, as "tag snapshot": only of these is it known that they are there. */
  private readonly made = new Set<string>();
  public constructor(
    private readonly zfs: Pick<Zfs, "hold" | "release">,
    private readonly log: Pick<Logger, "debug">,
  ) {}

  public get waitingCount(): number {
    return this.waiting.size;
  }
  public async hold(tag: string, snapshot: string): Promise<void> {
    while (this.leaving.get(snapshot)?.has(tag) === true) await this.flushing;
    const tags = this.waiting.get(snapshot); // after that: a release that failed waits again
    if (tags?.delete(tag) === true && tags.size === 0) this.waiting.delete(snapshot);
    await this.zfs.hold(tag, snapshot);
    if (this.made.size > most) this.made.clear();
    this.made.add(`${tag} ${snapshot}`);
  }
  private async release(tag: string, snapshot: string): Promise<void> {
    this.made.delete(`${tag} ${snapshot}`); // from now on nobody knows, also when it fails
    await this.zfs.release(tag, snapshot);
  }
  public releaseLater(tag: string, snapshot: string): void {
    if (this.leaving.get(snapshot)?.has(tag) === true) return;
    this.wait(tag, snapshot);
    if (this.waiting.size > most && this.leaving.size === 0) void this.flush();
  }
  private wait(tag: string, snapshot: string): void {
    this.waiting.set(snapshot, (this.waiting.get(snapshot) ?? new Set()).add(tag));
  }
  /** Is a hold of it on its way out? */
  public isLeaving(snapshot: string): boolean {
    return this.waiting.has(snapshot) || this.leaving.has(snapshot);
  }
  /**
   * What a look at `dataset` showed, without the holds that wait to be let go of. Never too few: what still waits was held when the look was made, if this process made it; what is being let go of counts as held (the look may have
   * been made before or after), and so does what only may be held.
   */
  public withoutWaiting(dataset: string, seen: readonly Snapshot[]): Snapshot[] {
    return seen.map((snapshot) => {
      const full = `${dataset}@${snapshot.name}`;
      const tags = [...(this.waiting.get(full) ?? [])].filter((tag) => this.made.has(`${tag} ${full}`)).length;
      return tags === 0 ? snapshot : { ...snapshot, userrefs: Math.max(0, snapshot.userrefs - tags) };
    });
  }
  /** Lets go of everything that waits, one tag after the other. What fails waits again, and counts as held. */
  public flush(): Promise<void> {
    this.flushing = this.flushing.then(async () => {
      const leaving = this.waiting;
      this.leaving = leaving;
      this.waiting = new Map();
      for (const tag of new Set([...leaving.values()].flatMap((tags) => [...tags]))) {
        const snapshots = [...leaving].filter(([, tags]) => tags.has(tag)).map(([snapshot]) => snapshot);
        await Promise.all(snapshots.map((snapshot) => this.release(tag, snapshot).catch((error: unknown) => {
          this.log.debug({ snapshot, tag, reason: messageOf(error) }, "a hold could not be let go of; tried again");
          this.wait(tag, snapshot);
        })));
      }
      this.leaving = new Map();
    });
    return this.flushing;
  }
}
