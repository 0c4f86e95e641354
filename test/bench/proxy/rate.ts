import { seenHellos } from "./full-handshakes.js";
import { load } from "./generators.js";
import type { ProxyName, RateScenario } from "./scenarios.js";
import { type Place, type Side, start } from "./sides.js";
import { short } from "./stats.js";
import { tlsFacts } from "./tls-facts.js";
import { coreSeconds, cpuSeconds } from "./usage.js";

/** One side in one round. `busyPercent`: of the proxy's core, its own work; `foreignPercent`: everything else on that core, stolen time included (interrupts are some of it). */
export interface RateCell { round: number; cpuUs: number; perSecond: number; p50Ms: number; p99Ms: number; failed: number; busyPercent: number; foreignPercent: number; tls?: string }
export interface RateResult { scenario: RateScenario; /** Sides that cannot do this one have no cells. */ cells: Partial<Record<ProxyName, RateCell[]>> }

async function cell(place: Place, side: Side, scenario: RateScenario, round: number, seconds: number): Promise<RateCell> {
  const port = (scenario.tls ? side.tlsPort : side.port) as number;
  const [core, cpu, began] = [coreSeconds(place.cores.proxy), cpuSeconds(side.pid), performance.now()];
  const seen = await load(scenario, port, { dir: place.dir, core: place.cores.load, seconds });
  const [coreAfter, cpuAfter, tookS] = [coreSeconds(place.cores.proxy), cpuSeconds(side.pid), (performance.now() - began) / 1000];
  const used = cpuAfter - cpu;
  const foreign = coreAfter.busyS - core.busyS + (coreAfter.stolenS - core.stolenS) - used;
  return { round, cpuUs: (used / seen.requests) * 1e6, perSecond: seen.requests / seen.seconds, p50Ms: seen.p50Ms, p99Ms: seen.p99Ms, failed: seen.failed, busyPercent: (used / tookS) * 100, foreignPercent: Math.max(0, (foreign / tookS) * 100), ...(seen.tls === undefined ? {} : { tls: seen.tls }) };
}

/** What clients agree on with a side over TLS, and that the handshakes which are measured are full ones where they must be: by what the clients see and send. */
async function tlsSeen(place: Place, port: number, scenario: RateScenario): Promise<string> {
  const facts = await tlsFacts(port);
  if (scenario.generator !== "ab") return facts;
  const most = 16;
  const hellos = await seenHellos(port, async (relayPort) => {
    const { requests, failed } = await load(scenario, relayPort, { dir: place.dir, core: place.cores.load, seconds: 10, most });
    if (requests !== most || failed > 0) throw new Error(`${scenario.generator}: ${requests} of ${most} requests, ${failed} failed`);
  });
  if (hellos.connections < most || hellos.offering > 0) throw new Error(`${scenario.name}: ${hellos.connections} connections for ${most} requests, ${hellos.offering} of them offered a session: not full handshakes`);
  return facts;
}
/** Throws when the sides do not do the same. */
export function mustBeAlike(what: string, seen: ReadonlyMap<ProxyName, string | undefined>): void {
  if (new Set(seen.values()).size > 1) throw new Error(`${what}: the sides do not agree on the same with a client:\n${[...seen].map(([name, facts]) => `${name}: ${facts}`).join("\n")}`);
}

/** All sides, A B C D A B C D …, each warm before the first round. They stay up for the scenario; who is not measured has nothing to do. */
export async function rate(place: Place, scenario: RateScenario, names: readonly ProxyName[], options: { rounds: number; seconds: number; tell(line: string): void }): Promise<RateResult> {
  const sides = new Map<ProxyName, Side>();
  const cells: RateResult["cells"] = {};
  const facts = new Map<ProxyName, string>();
  try {
    for (const name of names) {
      const side = await start[name](place);
      sides.set(name, side);
      const port = scenario.tls ? side.tlsPort : side.port;
      if (port === undefined) continue;
      if (scenario.tls) facts.set(name, await tlsSeen(place, port, scenario));
      await load(scenario, port, { dir: place.dir, core: place.cores.load, seconds: Math.min(3, options.seconds) });
      cells[name] = [];
    }
    mustBeAlike(scenario.name, facts);
    for (const seen of new Set(facts.values())) options.tell(`${scenario.name}: all sides: ${seen}`);
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const [name, list] of Object.entries(cells) as [ProxyName, RateCell[]][]) {
        const seen = await cell(place, sides.get(name) as Side, scenario, round, options.seconds);
        list.push(seen);
        options.tell(`${scenario.name} ${round}/${options.rounds} ${name}: ${short(seen.cpuUs)} µs CPU a request, ${short(seen.perSecond)} a second, core ${short(seen.busyPercent)} % busy${seen.failed > 0 ? `, ${seen.failed} FAILED` : ""}`);
      }
    }
    mustBeAlike(scenario.name, new Map(Object.entries(cells).map(([name, list]) => [name as ProxyName, list[0]?.tls])));
  } finally {
    for (const side of sides.values()) await side.stop();
  }
  return { scenario, cells };
}
