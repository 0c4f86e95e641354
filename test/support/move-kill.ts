import { delay } from "../../daemon/lib/abort.js";
import type { EventRecord } from "../../daemon/lib/records.js";
import { eventually, ready } from "./hcd-lab.js";
import { randomOf } from "./kill-matrix.js";
import type { TestNode } from "./lab.js";
import { MoveClients } from "./move-clients.js";
import { type MoveLab, movedHost, movedSite, movedUnit } from "./move-lab.js";
import type { LoadOutcome } from "./move-load.js";
import { isControl, isEtcd, pidsIn, StateFollower, type StruckState, struckStates } from "./move-strike.js";
import { ask } from "./sites-lab.js";

/** Who is struck, and how: kill -9 of its control process, a power cut of the node, kill -9 of a member of etcd. */
export const blows = ["source hcd", "source power", "target hcd", "target power", "leader hcd", "leader power", "etcd"] as const;
export type Blow = (typeof blows)[number];
export interface Struck {
  seed: number;
  blow: Blow;
  /** Where the strike was meant to come, and where it came. */
  wanted: StruckState;
  state: string;
  victim: string;
  source: string;
  target: string;
  /** The move's end: home and epoch before and after. */
  home: string;
  epochs: [number, number];
  /** ms from the strike until the site served again in its one home, with no move; the longest wait of a request (but for clients of a node without power). */
  settledMs: number;
  longestMs: number;
  requests: number;
  failedAtVictim: number;
  lost: number;
  /** What must never be. */
  violations: string[];
}
/** About how long each state lasts, ms: a strike comes at a seeded moment of it. */
const lastsMs: Record<StruckState, number> = { presync: 600, announcing: 600, quieting: 100, finalizing: 150, "handing-over": 10, starting: 300 };
const settleMs = 90_000;
/** A new request is answered within so long when all has settled. */
const usualMs = 8_000;
/** Clocks of the clients and of the strike. */
const slackMs = 300;

/** One move under a few clients with one strike in it, and what must hold afterwards; the lab is whole again at the end. */
export async function strikeOnce(lab: MoveLab, seed: number, blow: Blow, wanted: StruckState): Promise<Struck> {
  const random = randomOf(seed * 1000 + blows.indexOf(blow) * 10 + struckStates.indexOf(wanted));
  const names = lab.nodes.map(({ name }) => name);
  const { leader } = await lab.sites.status();
  let before = await lab.unit();
  if (blow.startsWith("leader") && before.home === leader) {
    // the leader is to be neither source nor target
    await lab.ended(await lab.order(names.find((name) => name !== leader) as string));
    await lab.sites.untilInStep([movedSite], 60_000);
    before = await lab.unit();
  }
  const source = before.home;
  const others = names.filter((name) => name !== source && (!blow.startsWith("leader") || name !== leader));
  const target = others[Math.floor(random() * others.length)] as string;
  const victim = blow.startsWith("source") ? source : blow.startsWith("target") ? target : blow === "etcd" ? (names[Math.floor(random() * names.length)] as string) : leader;
  const struck = lab.node(victim);
  const pids = blow.endsWith("power") ? [] : pidsIn(await lab.pid(victim), blow === "etcd" ? isEtcd : isControl);
  const clients = new MoveClients({ addresses: lab.nodes.map(({ address }) => address), host: movedHost, kinds: { reader: { clients: 6, rate: 9 }, fresh: { clients: 3, rate: 5 }, writer: { clients: 6, rate: 9 } }, timeoutMs: 60_000 });
  const follower = new StateFollower(lab.node(source));
  await delay(700);
  await lab.order(target, "strike");
  const afterMs = random() * lastsMs[wanted];
  const paused = await prolonged(lab, wanted, follower);
  await delay(afterMs);
  const atMs = Date.now();
  if (blow.endsWith("power")) await struck.kill();
  else for (const pid of pids) signalTo(pid, "SIGKILL");
  for (const pid of paused) signalTo(pid, "SIGCONT");
  const downMs: [number, number] = [atMs, Number.POSITIVE_INFINITY];
  const isHome = victim === source || victim === target;
  // a node that only stands beside comes back soon; one that may be the home stays away until the site is served without it
  if (blow.endsWith("power") && !isHome) await delay(3_000).then(() => struck.start());
  const violations: string[] = [];
  const after = await settled(lab, violations);
  const settledMs = Date.now() - atMs;
  if (!struck.alive()) await struck.start();
  for (const node of lab.nodes) await ready(node, 90_000).catch((error: unknown) => violations.push(`${node.name}: ${(error as Error).message}`));
  // a machine that has started takes connections when its workers are there
  if (blow.endsWith("power")) await eventually(`${struck.name} takes connections`, 60_000, () => ask(struck.address, movedHost, { timeoutMs: 35_000 }), (status) => status !== 0).catch((error: unknown) => violations.push((error as Error).message));
  downMs[1] = Date.now();
  violations.push(...(await consistent(lab, after.home)));
  await delay(500);
  await clients.stop();
  const writes = await clients.writes();
  const lossS = await reportedLossS(lab, atMs);
  follower.stop();
  const state = follower.at(atMs);
  const power = blow.endsWith("power");
  const excused = (one: LoadOutcome): boolean => power && (inFlightAt(one, atMs) ? isHome || one.address === struck.address : one.address === struck.address && one.atMs >= atMs - slackMs && one.atMs <= downMs[1]);
  for (const one of clients.failed) if (!excused(one)) violations.push(`${one.client}-${one.number} at ${one.address} failed: ${one.error}, sent ${one.atMs - atMs} ms after the strike, took ${Math.round(one.endMs)} ms`);
  for (const id of writes.doubled) violations.push(`${id} is there twice`);
  const byId = new Map(clients.outcomes.map((one) => [`${one.client}-${one.number}`, one]));
  for (const id of writes.lost) {
    const one = byId.get(id) as LoadOutcome;
    const beforeS = (atMs - one.atMs - one.endMs) / 1000;
    if (lossS === undefined || beforeS > lossS + 1) violations.push(`${id} was acknowledged ${beforeS.toFixed(2)} s before the strike and is lost; ${lossS ?? "no"} s were reported`);
  }
  await lab.sites.untilInStep([movedSite], 120_000);
  return {
    seed, blow, wanted, state, victim, source, target, home: after.home, epochs: [before.epoch, after.epoch], settledMs, longestMs: Math.round(Math.max(0, ...clients.outcomes.filter((one) => one.error === "" && (!power || one.address !== struck.address)).map(({ headMs }) => headMs))),
    requests: clients.outcomes.length, failedAtVictim: clients.failed.filter(excused).length, lost: writes.lost.length, violations,
  };
}
const inFlightAt = (one: LoadOutcome, atMs: number): boolean => one.atMs <= atMs + slackMs && one.atMs + one.endMs >= atMs - slackMs;

/**
 * Waits until the move is in the wanted state. Two of them are over before a strike comes, and are prolonged from outside: a page that takes its time keeps "announcing" (what runs ends first), and etcd
 * that stands still for a moment keeps "handing-over" (its answer comes late, or never). Returns what must go on after the strike.
 */
async function prolonged(lab: MoveLab, wanted: StruckState, follower: StateFollower): Promise<number[]> {
  if (wanted === "presync") return [];
  const reached = (state: StruckState, withinMs = 60_000): Promise<unknown> => Promise.race([follower.reached(state), delay(withinMs)]);
  if (wanted === "announcing") {
    let over = false;
    void (async () => {
      for (let at = 0; !over && at < 400; at += 1) {
        void ask((lab.nodes[at % lab.nodes.length] as TestNode).address, movedHost, { path: "/?wait=1500" });
        await delay(150);
      }
    })();
    await reached(wanted);
    over = true;
    return [];
  }
  if (wanted !== "handing-over") {
    await reached(wanted);
    return [];
  }
  const etcds = (await Promise.all(lab.nodes.map(async ({ name }) => pidsIn(await lab.pid(name), isEtcd)))).flat();
  await reached("finalizing");
  for (const pid of etcds) signalTo(pid, "SIGSTOP");
  await reached(wanted, 3_000); // less than what makes a node lose its session (5 s)
  return etcds;
}
function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it has gone with its node
  }
}

/** Waits until one home serves and no move is left; tells it. */
async function settled(lab: MoveLab, violations: string[]): Promise<{ home: string; epoch: number }> {
  const end = performance.now() + settleMs;
  let last = "";
  while (performance.now() < end) {
    const seen = await lab.sites.status().catch(() => undefined);
    const unit = seen?.units.find(({ id }) => id === movedUnit);
    last = JSON.stringify(unit);
    const record = await lab.record().catch(() => undefined);
    if (unit?.state === "serving" && record !== undefined && record.move === undefined && record.home === unit.home && lab.node(record.home).alive() && record.homeGeneration !== 0) return { home: record.home, epoch: record.epoch };
    await delay(200);
  }
  violations.push(`not settled within ${settleMs / 1000} s: ${last}`);
  return { home: "", epoch: 0 };
}
/** The unit is mounted at its home and nowhere else, and every node answers a new request. */
async function consistent(lab: MoveLab, home: string): Promise<string[]> {
  const mountedOn = async (): Promise<string> => (await Promise.all(lab.nodes.map(async (node: TestNode) => ((await node.sh(`grep -c ' /hc/${movedUnit} ' /proc/mounts || true`)).trim() === "0" ? "" : node.name)))).filter((name) => name !== "").join(" ");
  const wrong: string[] = [];
  await eventually("mounted at the home alone", 15_000, mountedOn, (seen) => seen === home).catch((error: unknown) => wrong.push((error as Error).message));
  for (const { address, name } of lab.nodes) {
    const begun = performance.now();
    const status = await ask(address, movedHost, { timeoutMs: 35_000 });
    const tookMs = Math.round(performance.now() - begun);
    if (status !== 200 || tookMs > usualMs) wrong.push(`a new request at ${name}: ${status} after ${tookMs} ms`);
  }
  return wrong;
}
/** Seconds of writes that failovers since then have reported as possibly missing; undefined: there was none. */
async function reportedLossS(lab: MoveLab, sinceMs: number): Promise<number | undefined> {
  const said = await lab.sites.call<{ events: EventRecord[] } | EventRecord[]>("GET", `/v1/events?unit=${movedUnit}&limit=100`);
  const found = (Array.isArray(said) ? said : said.events).filter(({ event, atMs }) => event === "failover" && atMs >= sinceMs - slackMs).map(({ detail }) => Number(/at most ([0-9.]+) s/.exec(detail)?.[1] ?? 0));
  return found.length === 0 ? undefined : Math.max(...found);
}
