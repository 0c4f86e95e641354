/** Of one client's writes: numbers from 1, each sent once, one after the other. */
export interface ClientWrites { client: string; sent: number; acknowledged: readonly number[] }
export interface WritesVerdict {
  sent: number;
  acknowledged: number;
  /** Acknowledged, and not there. */
  lost: string[];
  /** There more than once. */
  doubled: string[];
  /** Acknowledged, and there before another that its client had sent, and that was acknowledged, earlier. */
  disordered: string[];
  /** Not acknowledged, and there all the same: an answer that was lost. */
  thereUnasked: number;
}

/** Pure. `list`: ids in the order in which they lie in the site, others' too; an id is `<client>-<number>`. */
export function judgeWrites(clients: readonly ClientWrites[], list: readonly string[]): WritesVerdict {
  const seen = new Map<string, Map<number, number>>(clients.map(({ client }) => [client, new Map<number, number>()]));
  const acknowledgedBy = new Map(clients.map(({ client, acknowledged }) => [client, new Set(acknowledged)]));
  const newest = new Map<string, number>();
  const [doubled, disordered] = [new Set<string>(), new Set<string>()];
  for (const id of list) {
    const dash = id.lastIndexOf("-");
    const [client, number] = [id.slice(0, dash), Number(id.slice(dash + 1))];
    const own = seen.get(client);
    if (own === undefined || !Number.isInteger(number)) continue;
    const times = (own.get(number) ?? 0) + 1;
    own.set(number, times);
    if (times > 1) doubled.add(id);
    // one that its client had given up may still run, at any time after
    if (acknowledgedBy.get(client)?.has(number) !== true) continue;
    if (times === 1 && number < (newest.get(client) ?? 0)) disordered.add(id);
    newest.set(client, Math.max(number, newest.get(client) ?? 0));
  }
  const lost: string[] = [];
  let [sent, sum, thereUnasked] = [0, 0, 0];
  for (const one of clients) {
    const own = seen.get(one.client) as Map<number, number>;
    sent += one.sent;
    sum += one.acknowledged.length;
    for (const number of one.acknowledged) if (!own.has(number)) lost.push(`${one.client}-${number}`);
    for (const number of own.keys()) if (acknowledgedBy.get(one.client)?.has(number) !== true) thereUnasked += 1;
  }
  return { sent, acknowledged: sum, lost, doubled: [...doubled], disordered: [...disordered], thereUnasked };
}
