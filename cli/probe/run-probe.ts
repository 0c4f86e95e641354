import { delay } from "../../daemon/lib/abort.js";
import { Asker } from "./asker.js";
import { type ClientWrites, judgeWrites, type WritesVerdict } from "./judge-writes.js";
import { Tally, type TallyReport } from "./tally.js";

export interface ProbePlan {
  urls: readonly URL[];
  /** Addresses that the clients of each URL are spread over; none: what the name resolves to. */
  to: readonly string[];
  clients: number;
  /** Requests a second of each URL, all clients together. */
  rate: number;
  /** 0: until the signal fires. */
  seconds: number;
  timeoutMs: number;
  status: number;
  write: boolean;
  insecure: boolean;
}
export interface UrlReport extends TallyReport { url: string; writes?: WritesVerdict | { unknown: string; sent: number; acknowledged: number } }
export interface ProbeReport { startMs: number; seconds: number; clients: number; urls: UrlReport[] }
/** How long the list of records is asked for in the end: it may be a move that ends the run. */
const listWithinMs = 60_000;

interface Client { asker: Asker; name: string; acknowledged: number[]; sent: number }

/** Asks until the time is over or the signal fires; what is in flight then is waited for. `told` is called once a second. */
export async function runProbe(plan: ProbePlan, signal: AbortSignal, told: (report: ProbeReport) => void): Promise<ProbeReport> {
  const startMs = Date.now();
  const run = startMs.toString(36);
  const targets = plan.urls.map((url, at) => ({
    url,
    tally: new Tally(startMs, plan.status),
    clients: Array.from({ length: plan.clients }, (_, index): Client => {
      const address = plan.to.length === 0 ? {} : { address: plan.to[index % plan.to.length] as string };
      return { asker: new Asker({ url, ...address, timeoutMs: plan.timeoutMs, insecure: plan.insecure }), name: `p${run}-${at}-${index}`, acknowledged: [], sent: 0 };
    }),
  }));
  const report = (): ProbeReport => ({ startMs, seconds: (Date.now() - startMs) / 1000, clients: plan.clients, urls: targets.map(({ url, tally }) => ({ url: url.href, ...tally.report(Date.now()) })) });
  const stop = new AbortController();
  const end = plan.seconds === 0 ? undefined : setTimeout(() => stop.abort(), plan.seconds * 1000);
  // a signal of AbortSignal.timeout() that only AbortSignal.any() knows may be collected before it fires (nodejs/node#57736; seen on Node 20.20, not on 24.9)
  const ended = AbortSignal.any([signal, stop.signal]);
  const teller = setInterval(() => told(report()), 1_000);
  const everyMs = (plan.clients * 1000) / plan.rate;
  try {
    await Promise.all(targets.flatMap(({ tally, clients }) => clients.map(async (client, index) => {
      // spread over one period, so that they do not all ask at once
      let dueMs = performance.now() + (index * everyMs) / plan.clients;
      while (!ended.aborted) {
        await delay(Math.max(0, dueMs - performance.now()), ended).catch(() => undefined);
        if (ended.aborted) return;
        dueMs = Math.max(dueMs + everyMs, performance.now());
        client.sent += 1;
        const outcome = await client.asker.ask(plan.write ? `${client.name}-${client.sent}` : undefined);
        tally.add(outcome);
        if (plan.write && outcome.status === 200 && outcome.error === "") client.acknowledged.push(client.sent);
      }
    })));
    const last = report();
    if (plan.write) await Promise.all(targets.map(async ({ clients }, at) => Object.assign(last.urls[at] as UrlReport, { writes: await verdict(clients) })));
    return last;
  } finally {
    clearInterval(teller);
    clearTimeout(end);
    for (const { clients } of targets) for (const { asker } of clients) asker.close();
  }
}

async function verdict(clients: readonly Client[]): Promise<NonNullable<UrlReport["writes"]>> {
  const writes = clients.map(({ name, sent, acknowledged }): ClientWrites => ({ client: name, sent, acknowledged }));
  const end = performance.now() + listWithinMs;
  for (let at = 0; ; at += 1) {
    try {
      return judgeWrites(writes, await (clients[at % clients.length] as Client).asker.list());
    } catch (error) {
      if (performance.now() < end) {
        await delay(500);
        continue;
      }
      const sum = (of: (one: ClientWrites) => number): number => writes.reduce((total, one) => total + of(one), 0);
      return { unknown: (error as Error).message, sent: sum(({ sent }) => sent), acknowledged: sum(({ acknowledged }) => acknowledged.length) };
    }
  }
}
