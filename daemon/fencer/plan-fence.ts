import { type FenceNote, type FenceOrder, type FenceUnit, fenceVersion } from "./parse-fence.js";

/** The order is looked at again at least this often, ms: a deleted one must not be acted on for long. */
export const lookMs = 500;
/** When something is left: next try, ms. */
export const retryMs = 200;
/** When nothing is left: how often it is looked whether that is still so, while the deadline stays missed, ms. */
export const guardMs = 2_000;
/** After so long that something cannot be ended, the node is unfit until it is rebooted, ms. A slow machine must not be, for being slow. */
export const unfitMs = 120_000;

export type FencePlan =
  /** Nothing to do; look again in `ms`. */
  | { do: "wait"; ms: number }
  /** Past the deadline, or of a generation that missed one: end the units. `begin`: no note says so yet. */
  | { do: "fence"; order: FenceOrder; begin: boolean }
  /** Past the deadlines of these units alone; the others, and the generation, go on. */
  | { do: "part"; units: FenceUnit[] }
  /** A newer session came while the old one was being fenced: it is live, and has the units again. */
  | { do: "yield"; note: FenceNote }
  /** Nobody asks for a fence any more (the node left its cluster). */
  | { do: "forget" };

/**
 * What the fencer does now. Pure.
 * Invariants: 1. Nothing is ended before the deadline that was read last. 2. A generation whose fence was begun is never taken for live again,
 * whatever a later order says (OWNERSHIP 6: a missed deadline is final). 3. Only a greater generation with a deadline ahead ends a fence.
 */
export function planFence(order: FenceOrder | undefined, note: FenceNote | undefined, nowMs: number): FencePlan {
  if (order === undefined) return note?.state === "fencing" ? { do: "forget" } : { do: "wait", ms: lookMs };
  const lost = note !== undefined && order.generation <= note.generation;
  if (lost || nowMs >= order.deadlineMs) return { do: "fence", order, begin: note === undefined || note.generation < order.generation };
  if (note?.state === "fencing") return { do: "yield", note };
  const due = order.units.filter((unit) => (unit.deadlineMs ?? order.deadlineMs) <= nowMs);
  if (due.length > 0) return { do: "part", units: due };
  const next = order.units.reduce((first, unit) => Math.min(first, unit.deadlineMs ?? order.deadlineMs), order.deadlineMs);
  return { do: "wait", ms: Math.min(lookMs, Math.max(1, next - nowMs)) };
}

/** Why this generation may not live: a fence is under way, could not be finished, or has ended it; "" when it may. Pure. */
export function whyNotFree(note: FenceNote | undefined, generation: number): string {
  if (note?.state === "fencing") return `the fencer is ending what was at home here (generation ${note.generation})`;
  if (note?.state === "unfit") return `unfit until it is rebooted: ${note.left.map(({ unit, why }) => `${unit}: ${why}`).join("; ") || note.units.join(", ")} after the session was lost`;
  return generation <= (note?.generation ?? 0) ? `generation ${note?.generation ?? 0} missed its deadline and was fenced` : "";
}

/** What the fencer is told. `held`: unit → its own, later deadline. The whole order's deadline is its last unit's: a missed one ends the generation. Pure. */
export function fenceOrder(bootId: string, { generation, deadlineMs, held }: { generation: number; deadlineMs: number; held: ReadonlyMap<string, number> }, units: readonly FenceUnit[]): FenceOrder {
  return {
    version: fenceVersion, bootId, generation, deadlineMs: Math.max(deadlineMs, ...held.values()),
    units: units.map(({ unit, dataset, mountpoint }): FenceUnit => ({ unit, dataset, mountpoint, ...(held.size === 0 ? {} : { deadlineMs: held.get(unit) ?? deadlineMs }) })),
  };
}

/** The note after a try: what is left decides, and how long it has been tried. Pure. */
export function afterTry(note: FenceNote, left: FenceNote["left"], nowMs: number): FenceNote {
  if (note.state === "unfit") return { ...note, left };
  if (left.length === 0) return { ...note, state: "fenced", left, verifiedMs: note.verifiedMs ?? nowMs };
  // something came up after all was ended (a mount that was on its way): its time begins now
  if (note.state === "fenced") return { ...note, state: "fencing", left, startedMs: nowMs, verifiedMs: null };
  return { ...note, state: nowMs - note.startedMs >= unfitMs ? "unfit" : "fencing", left };
}
