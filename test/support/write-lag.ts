/** Pure: how long acknowledged writes were on one node only. */
export interface Write { site: string; ackMs: number; record: string }
/** `snapshot` was begun at `takenMs` (it holds every write acknowledged before) and confirmed by the replica on `node` at `confirmedMs`. */
export interface Confirmation { site: string; takenMs: number; confirmedMs: number; snapshot: string; node: string }

/** A snapshot is taken some time after it was begun, with its transaction group. */
const takesAtMostMs = 2_000;

/** For each write the ms until a copy had it; Infinity for those that none has. `holds`: this snapshot, begun before the write was acknowledged, holds it all the same. */
export function exposures(writes: readonly Write[], confirmations: readonly Confirmation[], holds: (write: Write, confirmation: Confirmation) => boolean = () => false): number[] {
  const bySite = new Map<string, Confirmation[]>();
  for (const one of confirmations) bySite.set(one.site, [...(bySite.get(one.site) ?? []), one]);
  return writes.map((write) => Math.max(0, (bySite.get(write.site) ?? []).reduce((first, one) => (one.takenMs >= write.ackMs || holds(write, one) ? Math.min(first, one.confirmedMs) : first), Number.POSITIVE_INFINITY) - write.ackMs));
}
/** Of which writes and snapshots only the copy can tell whether the one holds the other: begun shortly before the acknowledgement. */
export function uncertain(writes: readonly Write[], confirmations: readonly Confirmation[]): { write: Write; confirmation: Confirmation }[] {
  return writes.flatMap((write) => confirmations.filter(({ site, takenMs }) => site === write.site && takenMs < write.ackMs && takenMs > write.ackMs - takesAtMostMs).map((confirmation) => ({ write, confirmation })));
}

/** Lag of each site each `everyMs` from `fromMs` on, ms: the age of the oldest write that no copy has then; 0 when all are copied. `exposed`: of each write, as `exposures` tells. */
export function sampledLag(writes: readonly Write[], exposed: readonly number[], { fromMs, untilMs, everyMs }: { fromMs: number; untilMs: number; everyMs: number }): number[] {
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
