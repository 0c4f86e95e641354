import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { delay } from "../../daemon/lib/abort.js";
import { startLoopNode } from "../support/loop-node.js";
import { machine } from "../support/node-usage.js";

/**
 * `npm run bench loop [-- --units 50,500 --changing 0,5,50 --seconds 30 --snapshots 120]`: what the loops of one control process cost a second, by units at home there and by units that are written to each
 * second. Its zfs is a fake that prints what zfs would; the time that the fake takes is taken off, and no process is started, so this is the daemon's own part (the lab's is in `bench lag`).
 */
const { values } = parseArgs({ options: { units: { type: "string", default: "50,500" }, changing: { type: "string", default: "0,5,50" }, seconds: { type: "string", default: "30" }, snapshots: { type: "string", default: "120" } } });
const numbers = (text: string): number[] => text.split(",").map(Number);
const round = (value: number): number => Math.round(value * 10) / 10;

interface Row { units: number; changing: number; cpuMsPerS: number; commandsPerS: Record<string, number>; outputKiBPerS: number; snapshotsPerS: number; streamsPerS: number; shardsWrittenPerS: number; rounds: number }

async function measure(units: number, changing: readonly number[], seconds: number, snapshots: number): Promise<Row[]> {
  const node = await startLoopNode(units, snapshots);
  const rows: Row[] = [];
  try {
    for (const count of changing) {
      const ids = [...node.context.view.current().units.keys()].slice(0, count);
      const writer = setInterval(() => {
        for (const unit of ids) node.write(unit);
      }, 1_000);
      await delay(12_000); // what the change of load itself brings about is over
      const commands = new Map(node.text.commands);
      const [began, cpu, spent, bytes, streams, published, rounds] = [performance.now(), process.cpuUsage(), node.text.spentMs, node.text.outputBytes, node.streams(), node.published(), node.agent.rounds()];
      await delay(seconds * 1000);
      const used = process.cpuUsage(cpu);
      const s = (performance.now() - began) / 1000;
      clearInterval(writer);
      const perS = Object.fromEntries([...node.text.commands].map(([kind, all]) => [kind, round((all - (commands.get(kind) ?? 0)) / s)]).filter(([, many]) => many !== 0));
      rows.push({ units, changing: count, cpuMsPerS: round(((used.user + used.system) / 1000 - (node.text.spentMs - spent)) / s), commandsPerS: perS, outputKiBPerS: round((node.text.outputBytes - bytes) / 1024 / s), snapshotsPerS: perS["zfs snapshot"] ?? 0, streamsPerS: round((node.streams() - streams) / s), shardsWrittenPerS: round((node.published() - published) / s), rounds: round((node.agent.rounds() - rounds) / s) });
      process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
    }
  } finally {
    await node.stop();
  }
  return rows;
}

async function main(): Promise<void> {
  const rows: Row[] = [];
  for (const units of numbers(values.units)) rows.push(...(await measure(units, numbers(values.changing), Number(values.seconds), Number(values.snapshots))));
  const result = { benchmark: "replication-loop", what: "CPU of the control process' loops, ms a second (10 = 1 % of a core), without the commands that it starts", cores: cpus().length, node: process.version, load: machine().load, snapshotsPerUnit: Number(values.snapshots), rows };
  mkdirSync("bench-results", { recursive: true });
  writeFileSync(join("bench-results", "replication-loop.json"), `${JSON.stringify(result, null, 2)}\n`);
  process.stdout.write("  units  changing   CPU ms/s   commands/s   output KiB/s   streams/s   rounds/s\n");
  for (const row of rows) process.stdout.write(`${String(row.units).padStart(7)} ${String(row.changing).padStart(9)} ${String(row.cpuMsPerS).padStart(10)} ${String(round(Object.values(row.commandsPerS).reduce((a, b) => a + b, 0))).padStart(12)} ${String(row.outputKiBPerS).padStart(14)} ${String(row.streamsPerS).padStart(11)} ${String(row.rounds).padStart(10)}\n`);
}

main().then(() => process.exit(0), (error: unknown) => {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exit(1);
});
