import { load } from "./generators.js";
import type { ProxyName, RateScenario } from "./scenarios.js";
import { type Place, type Side, start } from "./sides.js";
import { short } from "./stats.js";
import { coreSeconds, cpuSeconds } from "./usage.js";

/** One side in one round. `busyPercent`: of the proxy's core, its own work; `foreignPercent`: everything else on that core, stolen time included (interrupts are some of it). */
export interface RateCell { round: number; cpuUs: number; perSecond: number; p50Ms: number; p99Ms: number; failed: number; busyPercent: number; foreignPercent: number }
export interface RateResult { scenario: RateScenario; /** Sides that cannot do this one have no cells. */ cells: Partial<Record<ProxyName, RateCell[]>> }

async function cell(place: Place, side: Side, scenario: RateScenario, round: number, seconds: number): Promise<RateCell> {
  const port = (scenario.tls ? side.tlsPort : side.port) as number;
  const [core, cpu, began] = [coreSeconds(place.cores.proxy), cpuSeconds(side.pid), performance.now()];
  const seen = await load(scenario, port, { dir: place.dir, core: place.cores.load, seconds });
  const [coreAfter, cpuAfter, tookS] = [coreSeconds(place.cores.proxy), cpuSeconds(side.pid), (performance.now() - began) / 1000];
  const used = cpuAfter - cpu;
  const foreign = coreAfter.busyS - core.busyS + (coreAfter.stolenS - core.stolenS) - used;
  return { round, cpuUs: (used / seen.requests) * 1e6, perSecond: seen.requests / seen.seconds, p50Ms: seen.p50Ms, p99Ms: seen.p99Ms, failed: seen.failed, busyPercent: (used / tookS) * 100, foreignPercent: Math.max(0, (foreign / tookS) * 100) };
}

/** All sides, A B C D A B C D …, each warm before the first round. They stay up for the scenario; who is not measured has nothing to do. */
export async function rate(place: Place, scenario: RateScenario, names: readonly ProxyName[], options: { rounds: number; seconds: number; tell(line: string): void }): Promise<RateResult> {
  const sides = new Map<ProxyName, Side>();
  const cells: RateResult["cells"] = {};
  try {
    for (const name of names) {
      const side = await start[name](place);
      sides.set(name, side);
      if (scenario.tls && side.tlsPort === undefined) continue; // not built yet
      await load(scenario, side.port + (scenario.tls ? (side.tlsPort as number) - side.port : 0), { dir: place.dir, core: place.cores.load, seconds: Math.min(3, options.seconds) });
      cells[name] = [];
    }
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const [name, list] of Object.entries(cells) as [ProxyName, RateCell[]][]) {
        const seen = await cell(place, sides.get(name) as Side, scenario, round, options.seconds);
        list.push(seen);
        options.tell(`${scenario.name} ${round}/${options.rounds} ${name}: ${short(seen.cpuUs)} µs CPU a request, ${short(seen.perSecond)} a second, core ${short(seen.busyPercent)} % busy${seen.failed > 0 ? `, ${seen.failed} FAILED` : ""}`);
      }
    }
  } finally {
    for (const side of sides.values()) await side.stop();
  }
  return { scenario, cells };
}
