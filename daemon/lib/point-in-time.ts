import { HcError } from "./errors.js";

/**
 * A moment as a person writes it: `2026-11-23T17:05:00Z` or with an offset (ISO 8601), `2026-11-23 17:05[:30]` (local time of the machine where it was written), or `90s`, `10m`, `2h`, `3d`, `2w` ago
 * (also with the word: `10m ago`).
 */
const forms = 'write it as "2026-11-23T17:05:00Z", as local time "2026-11-23 17:05", or as "10m", "2h", "3d" (ago)';
const unitMs: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

const refused = (property: string, text: string, why = ""): HcError => new HcError("INVALID_INPUT", `${property}: ${JSON.stringify(text.slice(0, 60))} ${why === "" ? "is no time" : why}; ${forms}.`);

/** ms before now, undefined when `text` is not of that form. */
export function parseAgo(text: string): number | undefined {
  const match = /^([0-9]{1,9})([smhdw])( ago)?$/.exec(text);
  return match === null ? undefined : Number(match[1]) * (unitMs[match[2] as string] as number);
}

/** UTC ms. `local` turns the parts of a local time into UTC ms (default: of this machine's zone). Throws INVALID_INPUT, also for a day that does not exist. */
export function parsePointInTime(text: string, nowMs: number, property = "at", local = (parts: readonly number[]): number => new Date(parts[0] as number, (parts[1] as number) - 1, ...(parts.slice(2) as [number, number, number, number, number])).getTime()): number {
  const ago = parseAgo(text);
  if (ago !== undefined) return nowMs - ago;
  const match = /^([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,3}))?)?(Z|[+-][0-9]{2}:?[0-9]{2})?$/.exec(text);
  if (match === null) throw refused(property, text);
  const parts = [1, 2, 3, 4, 5].map((index) => Number(match[index]));
  const [year, month, day, hour, minute] = parts as [number, number, number, number, number];
  const second = Number(match[6] ?? "0");
  const milli = Number((match[7] ?? "0").padEnd(3, "0"));
  const asUtc = Date.UTC(year, month - 1, day, hour, minute, second, milli);
  const back = new Date(asUtc);
  // Date rolls 30 February over into March
  if (back.getUTCMonth() !== month - 1 || back.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) throw refused(property, text, "does not exist");
  const zone = match[8];
  if (zone === undefined) return local([year, month, day, hour, minute, second, milli]);
  if (zone === "Z") return asUtc;
  const offsetMinutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return asUtc - (zone.startsWith("-") ? -1 : 1) * offsetMinutes * 60_000;
}
