import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { chaos } from "../chaos/run.js";

/**
 * Power cuts of a node with sites on it, on a real three-node lab under writing clients: for each site that was at home there, ms from the kill to "declared dead" (detect and wait), from there to the new
 * record (seal, choose, write), from there to the first record acknowledged by the new home (mount, start, routes), and the whole. `HC_BENCH_KILLS` (20), `HC_BENCH_SITES` (3), `HC_BENCH_SEED` (1).
 */
const number = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);
function spread(values: readonly number[]): { median: number; p95: number; worst: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0);
  return { median: at(0.5), p95: at(0.95), worst: at(1) };
}

async function main(): Promise<number> {
  const [kills, sites, seed] = [number("HC_BENCH_KILLS", 20), number("HC_BENCH_SITES", 3), number("HC_BENCH_SEED", 1)];
  const report = await chaos({ seed, minutes: 120, sites, faults: kills, only: ["kill"], tell: (line) => void process.stderr.write(`${line}\n`) });
  const all = report.struck.flatMap(({ failovers }) => failovers);
  const parts = { declaredDead: all.map(({ deadMs }) => deadMs), chosenAndWritten: all.map(({ deadMs, writtenMs }) => writtenMs - deadMs), mountedAndStarted: all.map(({ writtenMs, servedMs }) => servedMs - writtenMs), whole: all.map(({ servedMs }) => servedMs) };
  const result = {
    benchmark: "failover", what: "power cut of a node under writes, ms from the kill, per site that was at home there", cores: cpus().length, node: process.version, seed, sites, kills: report.struck.length, failovers: all.length,
    ...Object.fromEntries(Object.entries(parts).map(([name, values]) => [name, spread(values)])),
    reportedLossS: spread(all.map(({ lossS }) => lossS)), recordsAcknowledged: report.acknowledged, recordsLostWithinReport: report.lost, violations: report.violations, wanted: { medianMs: 10_000, p95Ms: 16_000 },
  };
  mkdirSync("bench-results", { recursive: true });
  writeFileSync(join("bench-results", "failover.json"), `${JSON.stringify({ ...result, struck: report.struck }, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return report.violations.length === 0 ? 0 : 1;
}

main().then((code) => process.exit(code), (error: unknown) => {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exit(1);
});
