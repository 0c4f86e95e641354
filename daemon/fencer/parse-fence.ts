/**
 * The three files by which the control process and the fencer talk, all in `<run>`, root only. Pure. Times ending in `…Ms` are milliseconds of
 * the machine's monotonic clock (lib/clock.ts, machineMs); `wallMs` is for people. A file of another boot says nothing.
 */
export const fenceVersion = 1;

/** What must be ended here when the sign of life is missed. */
export interface FenceUnit {
  unit: string;
  dataset: string;
  mountpoint: string;
  /** Its own deadline, before the order's: it is ended then, and the generation goes on (promises of copies, daemon/failsafe). */
  deadlineMs?: number;
}

/** `fence.json`, by the control process, anew at each committed heartbeat and before each mount. `units` names at least everything that may be mounted writable. */
export interface FenceOrder {
  version: typeof fenceVersion;
  bootId: string;
  /** Past it the units are ended. */
  deadlineMs: number;
  /** Of the session that the deadline belongs to. */
  generation: number;
  units: FenceUnit[];
}

/**
 * "fencing": it is being done, or something is left and tried again; "fenced": nothing is left; "unfit": given up until a reboot;
 * "overtaken": a newer session was there before anything was left to do, and has the units again.
 */
export type FenceState = "fencing" | "fenced" | "unfit" | "overtaken";
/** `fenced.json`, by the fencer: what it did last. */
export interface FenceNote {
  version: typeof fenceVersion;
  bootId: string;
  /** The generation that missed its deadline: it is lost for good. */
  generation: number;
  state: FenceState;
  deadlineMs: number;
  startedMs: number;
  /** When it was seen that nothing is left. */
  verifiedMs: number | null;
  wallMs: number;
  units: string[];
  /** What still runs or is still mounted, and why. */
  left: { unit: string; why: string }[];
}

/** `fencer.json`, by the fencer, each second: it lives. */
export interface FencerSign { version: typeof fenceVersion; bootId: string; pid: number; atMs: number; /** Where host.json names one. */ watchdog?: WatchdogSign }
/** "on": armed and fed; "refused": the device cannot do it; "off": not armed yet. `why` "" when it is on. `fedMs`: the reset comes `timeoutMs` after it. */
export interface WatchdogSign { device: string; state: "on" | "off" | "refused"; why: string; identity: string; timeoutMs: number; fed: number; fedMs: number | null; /** This boot came after a reset by it. */ afterReset: boolean }

/** Longest plausible distance of a deadline: one that is further off belongs to another clock. */
const plausibleMs = 60_000;

export type Reading<T> = { kind: "none" } | { kind: "foreign" } | { kind: "unreadable"; why: string } | { kind: "read"; value: T };

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isList = (value: unknown, each: (item: Record<string, unknown>) => boolean): boolean => Array.isArray(value) && value.every((item) => typeof item === "object" && item !== null && each(item as Record<string, unknown>));
const states: readonly unknown[] = ["fencing", "fenced", "unfit", "overtaken"] satisfies FenceState[];

const isWatchdog = (value: unknown): boolean => isList([value], (seen) => [seen["device"], seen["state"], seen["why"], seen["identity"]].every(isText) && isNumber(seen["timeoutMs"]) && isNumber(seen["fed"]) && typeof seen["afterReset"] === "boolean" && (seen["fedMs"] === null || isNumber(seen["fedMs"])));

/** `text` undefined: there is no such file. Never throws: a torn or strange file is a value too. */
function read<T extends { bootId: string }>(text: string | undefined, bootId: string, fits: (seen: Record<string, unknown>) => boolean): Reading<T> {
  if (text === undefined) return { kind: "none" };
  let seen: unknown;
  try {
    seen = JSON.parse(text);
  } catch {
    return { kind: "unreadable", why: "not JSON" };
  }
  if (typeof seen !== "object" || seen === null) return { kind: "unreadable", why: "not an object" };
  const value = seen as Record<string, unknown>;
  if (value["version"] !== fenceVersion) return { kind: "unreadable", why: `version ${JSON.stringify(value["version"])}` };
  if (!isText(value["bootId"]) || !fits(value)) return { kind: "unreadable", why: "a field is missing or of another kind" };
  return value["bootId"] === bootId ? { kind: "read", value: seen as T } : { kind: "foreign" };
}

export function readOrder(text: string | undefined, bootId: string, nowMs: number): Reading<FenceOrder> {
  const found = read<FenceOrder>(text, bootId, (seen) => isNumber(seen["deadlineMs"]) && isNumber(seen["generation"]) && isList(seen["units"], (unit) => isText(unit["unit"]) && isText(unit["dataset"]) && isText(unit["mountpoint"]) && (unit["deadlineMs"] === undefined || isNumber(unit["deadlineMs"]))));
  return found.kind === "read" && found.value.deadlineMs > nowMs + plausibleMs ? { kind: "unreadable", why: "its deadline is too far off" } : found;
}

export function readNote(text: string | undefined, bootId: string): Reading<FenceNote> {
  return read<FenceNote>(text, bootId, (seen) => isNumber(seen["generation"]) && states.includes(seen["state"]) && isNumber(seen["deadlineMs"]) && isNumber(seen["startedMs"]) && isNumber(seen["wallMs"]) && (seen["verifiedMs"] === null || isNumber(seen["verifiedMs"]))
    && Array.isArray(seen["units"]) && seen["units"].every(isText) && isList(seen["left"], (item) => isText(item["unit"]) && isText(item["why"])));
}

export function readSign(text: string | undefined, bootId: string): Reading<FencerSign> {
  return read<FencerSign>(text, bootId, (seen) => isNumber(seen["pid"]) && isNumber(seen["atMs"]) && (seen["watchdog"] === undefined || isWatchdog(seen["watchdog"])));
}
