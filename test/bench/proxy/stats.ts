/** Median with the extremes: rounds are few, so these say more than a deviation would. */
export interface Spread { median: number; least: number; most: number }

/** The value below which `share` (0 to 1) of the sorted values lie, nearest rank; NaN for none. */
export const quantile = (sorted: readonly number[], share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? quantile(sorted, 0.5) : (((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2);
  return { median, least: sorted[0] ?? Number.NaN, most: sorted.at(-1) ?? Number.NaN };
}

/** Ratios of two sides, each made within one round, so that a slow minute of the machine is in both of its parts. */
export function ratios(over: readonly number[], under: readonly number[]): Spread {
  if (over.length !== under.length) throw new Error(`${over.length} rounds of one side, ${under.length} of the other`);
  return spread(over.map((value, round) => value / (under[round] as number)));
}

/** Three significant digits: nothing here is known better. */
export const short = (value: number): string => (Number.isFinite(value) ? (Math.abs(value) >= 100 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString()) : "–");
export const shortSpread = ({ median, least, most }: Spread): string => `${short(median)} (${short(least)} to ${short(most)})`;
