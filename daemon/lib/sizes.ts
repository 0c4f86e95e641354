import { HcError } from "./errors.js";

const factors: Record<string, bigint> = { "": 1n, B: 1n, K: 1n << 10n, M: 1n << 20n, G: 1n << 30n, T: 1n << 40n, P: 1n << 50n };
/** JSON-schema pattern of a size: digits with an optional binary unit, "512M", "10G". */
export const sizePattern = "^[1-9][0-9]{0,14}[BKMGTP]?$";

/** "10G" → 10737418240n. Binary units, as zfs(8) reads them. Throws INVALID_INPUT. */
export function parseSize(text: string, property = "size"): bigint {
  const match = /^([1-9][0-9]{0,14})([BKMGTP]?)$/.exec(text);
  const factor = match === null ? undefined : factors[match[2] ?? ""];
  if (match === null || factor === undefined)
    throw new HcError("INVALID_INPUT", `${property}: ${JSON.stringify(text)} is not a size; write digits and one of B K M G T P, such as "10G".`);
  return BigInt(match[1] as string) * factor;
}

/** Bytes for people: 1536 → "1.5K". */
export function formatSize(bytes: bigint | number | string): string {
  let value = Number(bytes);
  for (const unit of ["B", "K", "M", "G", "T"]) {
    if (value < 1024) return unit === "B" ? `${value}B` : `${value < 10 ? value.toFixed(1) : Math.round(value)}${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)}P`;
}
