import type { Clock } from "../lib/clock.js";
import { machineMs } from "../lib/clock.js";
import { HcError, messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import { FenceFolder } from "./fence-folder.js";
import type { FencerSign, FenceNote, FenceUnit, WatchdogSign } from "./parse-fence.js";
import { fenceOrder, whyNotFree } from "./plan-fence.js";

/** A fencer that was silent for so long is told to people, ms. */
const silentMs = 4_000;

export interface FenceKeeperOptions {
  run: string;
  /** Of the machine's watchdog, where host.json names one. */
  watchdog?: string;
  bootId(): Promise<string>;
  clock: Clock;
  log: Logger;
  event(unit: string, event: string, detail: string): void;
}

/** `held`: unit → its own, later deadline. All by machineMs. */
interface Order { generation: number; deadlineMs: number; held: ReadonlyMap<string, number> }

/**
 * The control process' side: tells the fencer until when which units may live here, and hears what it has done.
 * Invariants: 1. A session is live only after the order with its deadline was written. 2. A unit is named in the order before it is mounted, and
 * until it was seen to be neither mounted nor running; a new process takes over what its predecessor had named. 3. A generation whose fence was
 * begun never becomes live; none does while a fence is under way, or after one that could not be finished.
 */
export class FenceKeeper {
  private folder: FenceFolder | undefined;
  private readonly units = new Map<string, FenceUnit>();
  private order: Order | undefined;
  /** What the process before this one has ordered; `alone`: no unit of it had a deadline of its own. */
  private left: { generation: number; deadlineMs: number; alone: boolean } | undefined;
  private told = 0;
  /** Is this the first control process since the machine was started? */
  private first = false;
  /** That this process has seen. */
  public fences = 0;
  private readonly startedMs: number;

  public constructor(private readonly options: FenceKeeperOptions) {
    this.startedMs = machineMs();
  }

  /** Before the first heartbeat. */
  public async begin(): Promise<void> {
    this.folder = new FenceFolder(this.options.run, await this.options.bootId().catch(() => ""));
    const before = this.folder.order();
    const note = this.note();
    if (before.kind === "read") {
      const { generation, deadlineMs, units } = before.value;
      this.left = { generation, deadlineMs, alone: units.every((unit) => unit.deadlineMs === undefined) };
      for (const unit of units) this.units.set(unit.unit, unit);
    }
    this.first = before.kind === "none";
    // a predecessor with a later generation has told it
    if (before.kind === "read" && note !== undefined && before.value.generation > note.generation) this.told = note.generation;
  }

  /** The newest generation that was lost to a fence; 0: none. */
  public lostGeneration(): number {
    return this.note()?.generation ?? 0;
  }

  /** What the process before had ordered when this one began; in `clock.monotonicMs`. Undefined where a unit lives by promises that this process knows nothing of. */
  public predecessor(): { generation: number; deadlineMs: number } | undefined {
    const { left, options } = this;
    return left?.alone === true ? { generation: left.generation, deadlineMs: left.deadlineMs - (machineMs() - options.clock.monotonicMs()) } : undefined;
  }

  /** Why no sign of life may be sent; "" when one may. */
  public problem(): string {
    return whyNotFree(this.note(), Number.POSITIVE_INFINITY);
  }

  /** Orders the fence for `deadlineMs` of `clock.monotonicMs()`, that of the units in `held` for theirs when it is later. Throws when this generation may not live, or when it cannot be written. */
  public announce(generation: number, deadlineMs: number, held: ReadonlyMap<string, number> = new Map()): void {
    this.assertFree(generation);
    const offset = machineMs() - this.options.clock.monotonicMs();
    const own = new Map([...held].filter(([, untilMs]) => untilMs > deadlineMs).map(([unit, untilMs]) => [unit, Math.floor(untilMs + offset)]));
    this.write({ generation, deadlineMs: Math.floor(deadlineMs + offset), held: own });
    // the fencer notes first and reads the order then, we write the order first and read the note then: one of us sees the other
    this.assertFree(generation);
  }

  /** Has the deadline of the process before passed? */
  public missed(): boolean {
    return machineMs() >= (this.left?.deadlineMs ?? Number.POSITIVE_INFINITY);
  }

  /** Before a unit is mounted writable. Throws when the fencer cannot be told. */
  public open(unit: FenceUnit): void {
    const known = this.units.get(unit.unit);
    if (known?.dataset === unit.dataset && known.mountpoint === unit.mountpoint) return;
    this.units.set(unit.unit, unit);
    try {
      this.rewrite();
    } catch (error) {
      this.units.delete(unit.unit);
      throw new HcError("NOT_READY", `${unit.unit} is not mounted: the fencer cannot be told of it (${messageOf(error)}).`, { cause: error });
    }
  }

  /** What is mounted or runs here; another one is dropped from the order when `settled` says that nothing is being done for it. */
  public seen(here: readonly FenceUnit[], settled: (unit: string) => boolean): void {
    const before = this.units.size;
    const names = new Set(here.map(({ unit }) => unit));
    const fresh = here.filter(({ unit }) => !this.units.has(unit));
    for (const unit of fresh) this.units.set(unit.unit, unit);
    for (const unit of [...this.units.keys()]) if (!names.has(unit) && settled(unit)) this.units.delete(unit);
    if (fresh.length === 0 && this.units.size === before) return;
    try {
      this.rewrite();
    } catch (error) {
      // the next heartbeat writes the whole order, or does not count
      this.options.log.error({ err: error }, "the fencer could not be told what is at home here");
    }
  }

  /** Tells what the fencer has done, once. */
  public look(): void {
    const watchdog = this.first ? this.watchdog() : undefined;
    if (watchdog !== undefined) {
      this.first = false;
      if (watchdog.afterReset) this.options.event("", "reset-by-watchdog", `${watchdog.device} has reset this machine: what was at home here could not be ended in time, or the fencer did not run`);
    }
    const note = this.note();
    if (note === undefined || note.state === "fencing" || note.generation <= this.told) return;
    this.told = note.generation;
    if (note.state !== "overtaken") this.fences += 1;
    if (note.state === "overtaken" || note.units.length === 0) return;
    const text = fenceText(note);
    this.options.log.error({ generation: note.generation, state: note.state, units: note.units, left: note.left }, "this node was fenced");
    for (const unit of note.units) this.options.event(unit, "fenced", note.left.find((item) => item.unit === unit)?.why ?? text);
  }

  /** For people: what is wrong with the fencer, or with what it left. A fence that is over is in the history of its units, and needs nobody. */
  public problems(): string[] {
    const nowMs = machineMs();
    const note = this.note();
    const found: string[] = [];
    if (note?.state === "unfit" || note?.state === "fencing") found.push(this.problem());
    // a fencer that starts with us is given its time
    if (nowMs - this.startedMs <= silentMs) return found;
    if (!this.fencerLives()) found.push("the fencer gives no sign of life (service hcd-fencer): if hcd hung too, the units here would run on behind the closed gate");
    else if (this.options.watchdog !== undefined) {
      const watchdog = this.watchdog();
      const why = watchdog === undefined ? "the fencer does not tell of it" : watchdog.why;
      if (watchdog?.state !== "on" || why !== "") found.push(`the watchdog ${this.options.watchdog} is ${watchdog?.state === "on" ? "not fed" : "not armed"}: ${why}; nothing resets this machine when its units cannot be ended in time`);
    }
    return found;
  }

  public fencerLives(): boolean {
    return this.sign() !== undefined;
  }

  /** What a living fencer tells of the machine's watchdog; undefined where there is none. */
  public watchdog(): WatchdogSign | undefined {
    return this.sign()?.watchdog;
  }

  /** Of a fencer that lives. */
  private sign(): FencerSign | undefined {
    const found = this.folder?.sign();
    return found?.kind === "read" && machineMs() - found.value.atMs <= silentMs ? found.value : undefined;
  }

  private note(): FenceNote | undefined {
    const found = this.folder?.note();
    return found?.kind === "read" ? found.value : undefined;
  }

  private assertFree(generation: number): void {
    const why = whyNotFree(this.note(), generation);
    if (why !== "") throw new HcError("NOT_READY", why);
  }

  /** The units have changed: the order as it stands, with them. */
  private rewrite(): void {
    if (this.order !== undefined) this.write(this.order);
  }
  private write(order: Order): void {
    if (this.folder === undefined) throw new HcError("INTERNAL", "The fence was not begun.");
    this.folder.writeOrder(fenceOrder(this.folder.bootId, order, [...this.units.values()]));
    this.order = order;
  }
}

function fenceText(note: FenceNote): string {
  const when = new Date(note.wallMs).toISOString();
  return `fenced ${when}: hcd had not renewed its sign of life in time, ${note.units.length} unit(s) were killed and unmounted (generation ${note.generation})`;
}
