import type { RouteTable } from "./routes.js";

/** Until when what is at home here may be served (OWNERSHIP 5), by machineMs: everything, and units that all their copies have promised. */
export interface Deadlines { all: number; held: ReadonlyMap<string, number> }
export const noDeadlines: Deadlines = { all: 0, held: new Map() };

/** Pure: what the control process says now is added to what it has said. A deadline never moves back. */
export function laterDeadlines(before: Deadlines, all: number, units: Readonly<Record<string, number>>, nowMs: number): Deadlines {
  const held = new Map([...before.held].filter(([, untilMs]) => untilMs > nowMs));
  for (const [unit, untilMs] of Object.entries(units)) held.set(unit, Math.max(untilMs, held.get(unit) ?? 0));
  return { all: Math.max(before.all, all), held };
}

/** Pure: may what is at home here be served, as far as the sign of life goes? */
export const isWithin = ({ all, held }: Deadlines, unit: string, nowMs: number): boolean => nowMs < all || nowMs < (held.get(unit) ?? 0);

/**
 * Pure: may the answer of a request that ran here in `epoch` leave? While this node is the unit's home in that epoch, within the deadline: what it wrote is in the unit's history then.
 * The gate may have closed meanwhile (a check failed, the unit is about to move): that holds new requests, and makes no answer untrue.
 */
export function mayAnswer(table: RouteTable | undefined, deadlines: Deadlines, unit: string, nowMs: number, epoch: number): boolean {
  const route = table?.units[unit];
  return route !== undefined && route.home === table?.node && route.epoch === epoch && isWithin(deadlines, unit, nowMs);
}

/** Pure: the gate. `epoch`: of the request, when it came from another node. */
export function isServable(table: RouteTable | undefined, deadlines: Deadlines, unit: string, nowMs: number, epoch?: number): boolean {
  const route = table?.units[unit];
  return route?.open === true && route.home === table?.node && isWithin(deadlines, unit, nowMs) && (epoch === undefined || epoch === route.epoch);
}
