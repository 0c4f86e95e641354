import { join } from "node:path";
import { delay } from "../../../daemon/lib/abort.js";
import type { FromCrowd } from "./crowd-client.js";
import { load } from "./generators.js";
import { hosts, type IdleScenario, type ProxyName, rateScenarios, type RateScenario } from "./scenarios.js";
import { type Place, start } from "./sides.js";
import { short } from "./stats.js";
import { residentBytes } from "./usage.js";

export interface MemoryCell { round: number; kibPerConnection: number; baseMib: number; failed: number }
export interface MemoryResult { scenario: IdleScenario; connections: number; /** Sides that cannot do this one have no cells. */ cells: Partial<Record<ProxyName, MemoryCell[]>> }

/** A fresh process each time, warm first, so that its code and its heap's working size are there before the connections come. */
async function cell(place: Place, name: ProxyName, scenario: IdleScenario, round: number, connections: number): Promise<MemoryCell | undefined> {
  const side = await start[name](place);
  try {
    const port = scenario.tls ? side.tlsPort : side.port;
    if (port === undefined) return undefined;
    await load(rateScenarios.find(({ tls }) => tls === scenario.tls) as RateScenario, port, { dir: place.dir, core: place.cores.load, seconds: 2 });
    await delay(1_500); // timers of closed connections and collectors that run when idle have had their turn
    const before = residentBytes(side.pid);
    const crowd = place.processes.start("crowd", [process.execPath, join(__dirname, "crowd-client.js"), String(port), hosts.load, String(connections), ...(scenario.tls ? ["tls"] : [])], { core: place.cores.load, lines: true });
    const answered = await new Promise<Exclude<FromCrowd, { sent: number }>>((resolve, reject) => {
      crowd.onMessage((message: FromCrowd) => "statuses" in message && resolve(message));
      void crowd.ended.then(() => reject(new Error(`the client ended:\n${place.processes.log("crowd")}`)));
    });
    await delay(1_500);
    const after = residentBytes(side.pid);
    await crowd.stop();
    return { round, kibPerConnection: (after - before) / 1024 / connections, baseMib: before / 1024 / 1024, failed: connections - (answered.statuses["200"] ?? 0) };
  } finally {
    await side.stop();
  }
}

export async function memory(place: Place, scenario: IdleScenario, names: readonly ProxyName[], options: { rounds: number; connections?: number | undefined; tell(line: string): void }): Promise<MemoryResult> {
  const connections = options.connections ?? scenario.connections;
  const cells: MemoryResult["cells"] = {};
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const name of names) {
      const seen = await cell(place, name, scenario, round, connections);
      if (seen === undefined) continue;
      cells[name] = [...(cells[name] ?? []), seen];
      options.tell(`${scenario.name} ${round}/${options.rounds} ${name}: ${short(seen.kibPerConnection)} KiB a connection over ${short(seen.baseMib)} MiB${seen.failed > 0 ? `, ${seen.failed} FAILED` : ""}`);
    }
  }
  return { scenario, connections, cells };
}
