import { readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { delay } from "../../../daemon/lib/abort.js";
import type { FromStandIn } from "./control-stand-in.js";
import type { FromCrowd } from "./crowd-client.js";
import type { Seen } from "./other-site.js";
import type { Started } from "./processes.js";
import { heldUnit, type Place, startOwn } from "./sides.js";
import { hold, hosts } from "./scenarios.js";
import { quantile, short } from "./stats.js";

const perSecond = 500;
/** Time in which the other site's normal latency is seen. */
const normalMs = 4_000;

/** Times in ms from the release. Requests that got no 200 are `errors`. */
export interface HoldCell {
  round: number; requests: number; heldAtMost: number; errors: number; statuses: Record<string, number>;
  /** First and last request at the backend, by its log (ms steps). */
  firstArrivalMs: number; lastArrivalMs: number; firstAnswerMs: number; lastAnswerMs: number;
  /** The other site: normal, while requests come and are held, and from the release to the last answer (200 ms at least). */
  other: Record<"normal" | "whileHeld" | "release", { requests: number; failed: number; p99Ms: number; worstMs: number }>;
}

/** Pure: what of the other site was due in a window. */
export function within(seen: readonly Seen[], fromMs: number, untilMs: number): HoldCell["other"]["normal"] {
  const some = seen.filter(([dueMs]) => dueMs >= fromMs && dueMs < untilMs);
  const times = some.map(([, ms]) => ms).filter((ms) => ms >= 0).sort((a, b) => a - b);
  return { requests: some.length, failed: some.length - times.length, p99Ms: quantile(times, 0.99), worstMs: times.at(-1) ?? Number.NaN };
}
/** Pure: when requests reached the backend, ms of the wall clock, sorted: its log is written at the end of each ("status, seconds it took, end"). */
export const arrivals = (log: string): number[] => log.split("\n").filter((line) => line !== "").map((line) => line.split(" ")).map(([, took, end]) => (Number(end) - Number(took)) * 1000).sort((a, b) => a - b);

/** Settles with the first message that `wanted` takes; rejects after `withinMs`. */
function first<M, T>(listen: (take: (message: M) => void) => void, wanted: (message: M) => T | undefined, withinMs: number, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: not within ${withinMs} ms`)), withinMs);
    listen((message) => {
      const seen = wanted(message);
      if (seen === undefined) return;
      clearTimeout(timer);
      resolve(seen);
    });
  });
}

export async function holdCell(place: Place, round: number, requests: number): Promise<HoldCell> {
  const log = join(place.dir, "arrivals.log");
  const side = await startOwn(place);
  const clients: Started[] = [];
  const client = (name: string, nice: number, ...argv: string[]): Started => {
    const started = place.processes.start(name, ["nice", "-n", String(nice), process.execPath, join(__dirname, `${name}.js`), ...argv], { core: place.cores.load, lines: true });
    clients.push(started);
    return started;
  };
  try {
    const other = client("other-site", 0, String(side.port), hosts.other, String(perSecond));
    await delay(2_000); // warm
    const normalFromMs = Date.now();
    await delay(normalMs);
    let heldAtMost = 0;
    let reports = 0;
    side.onReport((message: FromStandIn) => {
      if (!("held" in message)) return;
      heldAtMost = Math.max(heldAtMost, message.held);
      reports += 1;
    });
    truncateSync(log);
    const heldFromMs = Date.now();
    const closed = first(side.onReport, (message: FromStandIn) => ("holding" in message && message.holding.includes(heldUnit) ? true : undefined), 5_000, "the closed gate");
    side.tell({ hold: heldUnit });
    await closed;
    // the crowd's own work must not be seen as the other site's latency, where they share a core
    const crowd = client("crowd-client", 10, String(side.port), hosts.held, String(requests));
    const ended = first(crowd.onMessage, (message: FromCrowd) => ("statuses" in message ? message : undefined), 60_000, "answers to what was held");
    void ended.catch(() => undefined); // told where it is awaited
    await first(crowd.onMessage, (message: FromCrowd) => ("sent" in message ? true : undefined), 30_000, "requests to be held");
    // two whole reports of the worker (2 s each) after the last was sent: the number that is held stands
    const enough = reports + 2;
    await first(side.onReport, () => (reports >= enough ? true : undefined), 15_000, "the worker's reports");
    const released = first(side.onReport, (message: FromStandIn) => ("released" in message ? message.atMs : undefined), 5_000, "the release");
    side.tell({ release: heldUnit });
    const [atMs, answers] = [await released, await ended];
    await delay(1_000);
    const seen = first(other.onMessage, (message: Seen[]) => message, 5_000, "the other site's latencies");
    other.say({});
    const latencies = await seen;
    const came = arrivals(readFileSync(log, "utf8"));
    const since = (ms: number | undefined): number => (ms === undefined || !Number.isFinite(ms) || ms === 0 ? Number.NaN : ms - atMs);
    return {
      round, requests, heldAtMost, errors: requests - (answers.statuses["200"] ?? 0), statuses: answers.statuses,
      firstArrivalMs: since(came[0]), lastArrivalMs: since(came.at(-1)), firstAnswerMs: since(answers.earliestMs), lastAnswerMs: since(answers.latestMs),
      other: { normal: within(latencies, normalFromMs, heldFromMs), whileHeld: within(latencies, heldFromMs, atMs), release: within(latencies, atMs, Math.max(answers.latestMs, atMs + 200)) },
    };
  } finally {
    for (const one of clients) await one.stop();
    await side.stop();
  }
}

export async function holds(place: Place, options: { rounds: number; requests?: number; tell(line: string): void }): Promise<HoldCell[]> {
  const cells: HoldCell[] = [];
  for (let round = 1; round <= options.rounds; round += 1) {
    const seen = await holdCell(place, round, options.requests ?? hold.requests);
    cells.push(seen);
    options.tell(`${hold.name} ${round}/${options.rounds}: ${seen.heldAtMost} held, ${seen.errors} errors, at the backend after ${short(seen.firstArrivalMs)} to ${short(seen.lastArrivalMs)} ms, last answer after ${short(seen.lastAnswerMs)} ms, other site's p99 ${short(seen.other.release.p99Ms)} ms (normal ${short(seen.other.normal.p99Ms)})`);
  }
  return cells;
}
