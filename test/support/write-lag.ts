/** Pure: how long acknowledged writes were on one node only. */
export interface Write { site: string; ackMs: number }
/** A snapshot that was taken at `takenMs` (it holds every write acknowledged before) and confirmed by the replica at `confirmedMs`. */
export interface Confirmation { site: string; takenMs: number; confirmedMs: number }

/** For each write the ms until a copy had it; Infinity for those that none has. */
export function exposures(writes: readonly Write[], confirmations: readonly Confirmation[]): number[] {
  const bySite = new Map<string, Confirmation[]>();
  for (const one of confirmations) bySite.set(one.site, [...(bySite.get(one.site) ?? []), one]);
  return writes.map(({ site, ackMs }) => Math.max(0, (bySite.get(site) ?? []).reduce((first, one) => (one.takenMs >= ackMs ? Math.min(first, one.confirmedMs) : first), Number.POSITIVE_INFINITY) - ackMs));
}

/** Lag of each site each `everyMs` from `fromMs` on, ms: the age of the oldest write that no copy has then; 0 when all are copied. */
export function sampledLag(writes: readonly Write[], confirmations: readonly Confirmation[], { fromMs, untilMs, everyMs }: { fromMs: number; untilMs: number; everyMs: number }): number[] {
  const exposed = exposures(writes, confirmations);
  const bySite = new Map<string, { ackMs: number; copiedMs: number }[]>();
  for (const [at, { site, ackMs }] of writes.entries()) bySite.set(site, [...(bySite.get(site) ?? []), { ackMs, copiedMs: ackMs + (exposed[at] as number) }]);
  const samples: number[] = [];
  for (const own of bySite.values())
    for (let nowMs = fromMs; nowMs < untilMs; nowMs += everyMs) {
      const missing = own.filter(({ ackMs, copiedMs }) => ackMs <= nowMs && copiedMs > nowMs);
      samples.push(missing.length === 0 ? 0 : nowMs - Math.min(...missing.map(({ ackMs }) => ackMs)));
    }
  return samples;
}
