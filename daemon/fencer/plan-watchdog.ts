import type { FenceNote, FenceOrder } from "./parse-fence.js";

/** A watchdog that is not fed resets the machine after so long; what is asked of the device, whole seconds (DESIGN.md, "The watchdog", says why 5 and not 6). */
export const askedS = 5;
/** What is taken: shorter leaves a restart of the fencer no time, longer leaves a sign of life none to commit and to be seen. */
export const takenS = { least: 4, most: 5 } as const;
/** OWNERSHIP 6: the machine is reset at most 6.4 s after the last sign of life was sent; its deadline is 5.0 s after that, so this long after the deadline. */
export const graceMs = 1_400;
/** How often it is looked whether to feed, ms. */
export const watchMs = 100;
/** A device that was refused is looked at again after, ms: its driver may be loaded later. */
export const againMs = 30_000;

/** Until when what lives here may live. "unknown": something is mounted that no order names. */
export type Stake = { kind: "none" } | { kind: "until"; deadlineMs: number } | { kind: "unknown" };

/** What the fencer knows. All times by machineMs. */
export interface Sight {
  order: FenceOrder | undefined;
  note: FenceNote | undefined;
  /** Units that were ended alone → when it was seen that nothing of them is left. */
  ended: ReadonlyMap<string, number>;
}

/**
 * What a reset would have to end, and from when on. Pure. `strays`: without an order, are units mounted here? undefined: it was not looked yet.
 * A generation that missed its deadline counts from that deadline, whatever its order says later; one whose fence left nothing counts no more.
 */
export function stakeOf({ order, note, ended }: Sight, strays: boolean | undefined): Stake {
  if (order === undefined) return strays === false ? { kind: "none" } : { kind: "unknown" };
  if (note !== undefined && order.generation <= note.generation) {
    const over = (note.state === "fenced" || note.state === "unfit") && note.left.length === 0;
    return over || order.units.length === 0 ? { kind: "none" } : { kind: "until", deadlineMs: Math.min(note.deadlineMs, earliest(order, order.units)) };
  }
  // a unit's own deadline has passed and it was seen to be gone after that: nothing of it can write
  const living = order.units.filter(({ unit, deadlineMs }) => (ended.get(unit) ?? Number.NEGATIVE_INFINITY) < (deadlineMs ?? order.deadlineMs));
  return living.length === 0 ? { kind: "none" } : { kind: "until", deadlineMs: earliest(order, living) };
}

const earliest = (order: FenceOrder, units: FenceOrder["units"]): number => units.reduce((first, { deadlineMs }) => Math.min(first, deadlineMs ?? order.deadlineMs), order.deadlineMs);

/**
 * Feeding now puts the reset off to now + timeout. That may never be later than `graceMs` after a deadline: so only a new deadline (a sign of life that committed, a promise of all copies) allows
 * more, and the machine is reset in time whatever stops, this process too. With nothing at stake it is always fed: who has fenced himself is not reset.
 */
export function mayFeed(stake: Stake, timeoutMs: number, nowMs: number): boolean {
  switch (stake.kind) {
    case "none": return true;
    case "unknown": return false;
    case "until": return nowMs + timeoutMs <= stake.deadlineMs + graceMs;
  }
}

/** The fencer was told to end. `heir`: is it followed by one that knows this device (the same artefact, the same setting)? `down`: the machine is being shut down. */
export interface Leaving { heir: boolean; down: boolean }

/** "release": disarm and close. "hand-on": close armed, for the next fencer, who has the timeout to come. "done": there is nothing to leave. */
export type WatchdogStep = "open" | "feed" | "wait" | "release" | "hand-on" | "done";

export interface WatchdogInput { stake: Stake; open: boolean; timeoutMs: number; nowMs: number; leaving: Leaving | undefined }

/**
 * What is done with the device now. Pure. Invariants: 1. "open" (which arms it) and "feed" only when `mayFeed`. 2. "release" only when nothing is at stake, or nobody will come who could feed it: an upgrade must not
 * reset the machine, and the next fencer arms it again. 3. While the machine goes down it guards on until all is ended.
 */
export function planWatchdog({ stake, open, timeoutMs, nowMs, leaving }: WatchdogInput): WatchdogStep {
  const may = mayFeed(stake, timeoutMs, nowMs);
  if (leaving === undefined) return may ? (open ? "feed" : "open") : "wait";
  if (!open) return "done";
  if (stake.kind === "none" || !leaving.heir) return "release";
  if (leaving.down) return may ? "feed" : "wait";
  return "hand-on";
}
