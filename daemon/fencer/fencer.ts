import { delay, withDeadline } from "../lib/abort.js";
import { machineMs } from "../lib/clock.js";
import { eachAtMost } from "../lib/each-at-most.js";
import { errorCode, messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { Platform } from "../platform/platform.js";
import { apacheService, siteServiceName } from "../services/site-paths.js";
import type { Zfs } from "../zfs/zfs.js";
import type { FenceFolder } from "./fence-folder.js";
import { type FenceNote, type FenceOrder, type FenceUnit, fenceVersion, type WatchdogSign } from "./parse-fence.js";
import type { Sight } from "./plan-watchdog.js";
import { afterTry, guardMs, lookMs, planFence, retryMs } from "./plan-fence.js";

/** How often the fencer says that it lives, ms. */
export const signMs = 1_000;
/** A command that does not end must not keep the fencer from saying so: each act is given up for this try after, ms. */
const actMs = 5_000;
const atOnce = 8;

export interface FencerOptions {
  folder: FenceFolder;
  platform: Pick<Platform, "killServices" | "serviceStates" | "restartService">;
  zfs: Pick<Zfs, "unmount" | "mounted">;
  log: Logger;
  nowMs?: () => number;
  /** Told with the sign of life. */
  watchdog?: () => WatchdogSign;
}

/**
 * The fencer's loop: reads what the control process has ordered, and ends the units when their deadline has passed (plan-fence.ts decides).
 * Invariants: 1. The note says "fencing" before anything is ended, and the order is read once more after that (DESIGN.md, the two writers).
 * 2. Kill comes before unmount, and both are tried again until nothing is left. 3. While the deadline stays missed it goes on looking: a mount
 * that was on its way is undone. 4. Whatever fails, the loop goes on.
 */
export class Fencer {
  private order: FenceOrder | undefined;
  private note: FenceNote | undefined;
  private strange = "";
  /** Units that were ended alone, and when it was seen that nothing of them is left. */
  private readonly ended = new Map<string, number>();
  private readonly nowMs: () => number;

  public constructor(private readonly options: FencerOptions) {
    this.nowMs = options.nowMs ?? machineMs;
    const note = options.folder.note();
    if (note.kind === "read") this.note = note.value;
  }

  public async run(signal: AbortSignal): Promise<void> {
    this.sign();
    const timer = setInterval(() => this.sign(), signMs);
    try {
      while (!signal.aborted) await delay(await this.step(), signal).catch(() => undefined);
    } finally {
      clearInterval(timer);
    }
  }

  /** One look, and what follows from it; ms until the next. Never throws. */
  public async step(): Promise<number> {
    try {
      const plan = this.look();
      switch (plan.do) {
        case "wait": return plan.ms;
        case "yield":
          this.write({ ...plan.note, state: "overtaken" });
          return 0;
        case "forget":
          this.note = undefined;
          this.options.folder.removeNote();
          return 0;
        case "part": return await this.part(plan.units);
        case "fence": return await this.fence(plan.order, plan.begin);
      }
    } catch (error) {
      this.options.log.error({ err: error }, "the fencer could not do what it should");
      return retryMs;
    }
  }

  /** What is at stake here now, for the watchdog. */
  public sight(): Sight {
    this.look();
    return { order: this.order, note: this.note, ended: this.ended };
  }

  private look(): ReturnType<typeof planFence> {
    const found = this.options.folder.order();
    if (found.kind === "read") this.order = found.value;
    else if (found.kind !== "unreadable") this.order = undefined;
    // else: what was read last stands, and so does its deadline
    const strange = found.kind === "unreadable" ? found.why : "";
    if (strange !== "" && strange !== this.strange) this.options.log.error({ reason: strange }, "what hcd has ordered cannot be read; its last order stands");
    this.strange = strange;
    return planFence(this.order, this.note, this.nowMs());
  }

  private async fence(order: FenceOrder, begin: boolean): Promise<number> {
    const { log } = this.options;
    if (begin || this.note === undefined) {
      const nowMs = this.nowMs();
      log[order.units.length === 0 ? "info" : "error"]({ generation: order.generation, units: order.units.length, lateMs: Math.round(nowMs - order.deadlineMs) }, "no sign of life in time: everything at home here is ended");
      this.write({ version: fenceVersion, bootId: order.bootId, generation: order.generation, state: "fencing", deadlineMs: order.deadlineMs, startedMs: nowMs, verifiedMs: null, wallMs: Date.now(), units: order.units.map(({ unit }) => unit), left: [] });
      await this.end(order.units, false);
    } else {
      const left = this.note.state === "fencing" ? this.note.left : await this.remaining(order.units);
      // begun by a fencer that died before it had looked: everything, once more
      if (this.note.state === "fencing" || left.length > 0) {
        this.write(afterTry(this.note, left.length === 0 ? order.units.map(({ unit }) => ({ unit, why: "not looked at yet" })) : left, this.nowMs()));
        await this.end(order.units, true);
      }
    }
    const left = await this.remaining(order.units);
    const next = afterTry(this.note as FenceNote, left, this.nowMs());
    if (next.state !== this.note?.state) log[order.units.length === 0 ? "info" : "error"]({ generation: next.generation, left, afterMs: Math.round(this.nowMs() - next.deadlineMs) }, next.state === "fenced" ? "everything at home here is ended" : next.state === "unfit" ? "not everything could be ended: this node owns nothing until it is rebooted" : "something is left and is tried again");
    this.write(next);
    return left.length === 0 || next.state === "unfit" ? guardMs : retryMs;
  }

  /** Ends units whose copies have not promised in time. Needs no note: while the generation lives nobody else can have them. */
  private async part(units: readonly FenceUnit[]): Promise<number> {
    const { log } = this.options;
    const names = new Set(units.map(({ unit }) => unit));
    for (const unit of this.ended.keys()) if (!names.has(unit)) this.ended.delete(unit);
    const due = units.filter(({ unit }) => this.nowMs() - (this.ended.get(unit) ?? Number.NEGATIVE_INFINITY) >= guardMs);
    if (due.length === 0) return lookMs;
    const left = new Set((await this.remaining(due)).map(({ unit }) => unit));
    if (left.size > 0) {
      log.error({ units: [...left] }, "no promise of their copies in time: these units are ended");
      await this.end(due.filter(({ unit }) => left.has(unit)), false);
    }
    const still = left.size === 0 ? [] : await this.remaining(due);
    for (const { unit } of due) if (!still.some((one) => one.unit === unit)) this.ended.set(unit, this.nowMs());
    return still.length === 0 ? retryMs : 0;
  }

  /** Kills the services of `units` and unmounts their datasets. What did not work is told by `remaining`. `again`: the first try did not do. */
  private async end(units: readonly FenceUnit[], again: boolean): Promise<void> {
    const { platform, zfs, log } = this.options;
    const plan = this.look(); // a newer session was faster than the note, or its copies have promised after all
    const due = plan.do === "fence" ? plan.order.units : plan.do === "part" ? plan.units : [];
    const names = new Set(due.map(({ unit }) => unit));
    units = units.filter(({ unit }) => names.has(unit));
    if (units.length === 0) return;
    const attempt = async (what: string, act: () => Promise<void>): Promise<boolean> => {
      try {
        await withDeadline(actMs, what, act);
        return true;
      } catch (error) {
        if (errorCode(error) === "NOT_FOUND") return true;
        log.warn({ what, reason: messageOf(error) }, "a part of the fence failed");
        return false;
      }
    };
    await attempt("kill", () => platform.killServices(units.map(({ unit }) => siteServiceName(unit))));
    // Apache holds files open that it is sending; with everything fenced it has nothing to serve
    if (again) await attempt("restart of Apache", async () => {
      if ((await platform.serviceStates(apacheService)).get(apacheService) === "active") await platform.restartService(apacheService);
    });
    await eachAtMost(atOnce, units, async ({ dataset }) => {
      if (!(await attempt(`unmount of ${dataset}`, () => zfs.unmount(dataset)))) await attempt(`forced unmount of ${dataset}`, () => zfs.unmount(dataset, { force: true }));
    });
  }

  /** What still runs or is still mounted. What cannot be looked at counts as left. */
  private async remaining(units: readonly FenceUnit[]): Promise<FenceNote["left"]> {
    if (units.length === 0) return [];
    const { platform, zfs } = this.options;
    try {
      const [states, mounts] = await withDeadline(actMs, "look at what is left", () => Promise.all([platform.serviceStates("hc-"), zfs.mounted()]));
      const places = new Set(mounts.values());
      return units.flatMap(({ unit, dataset, mountpoint }) => {
        const state = states.get(siteServiceName(unit));
        const why = [...(state === "active" || state === "activating" ? [`its service is ${state}`] : []), ...(mounts.has(dataset) || places.has(mountpoint) ? [`${dataset} is mounted`] : [])];
        return why.length === 0 ? [] : [{ unit, why: why.join(", ") }];
      });
    } catch (error) {
      return units.map(({ unit }) => ({ unit, why: `cannot be looked at: ${messageOf(error)}` }));
    }
  }

  private write(note: FenceNote): void {
    this.note = note;
    this.options.folder.writeNote(note);
  }

  private sign(): void {
    try {
      const { folder, watchdog } = this.options;
      folder.writeSign({ version: fenceVersion, bootId: folder.bootId, pid: process.pid, atMs: this.nowMs(), ...(watchdog === undefined ? {} : { watchdog: watchdog() }) });
    } catch (error) {
      this.options.log.error({ err: error }, "the fencer cannot say that it lives");
    }
  }
}
