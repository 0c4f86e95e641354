import { parseArgs } from "node:util";
import { chaos, type ChaosReport } from "./run.js";
import { type FaultKind, faultKinds } from "./faults.js";

/** `npm run chaos -- --seed N [--seeds N] --minutes M [--nodes 3|5] [--sites N] [--only kill,cut [--each]] [--faults N] [--seconds N] [--etcd-leader]`: exit 0 when all invariants held. The report as JSON is the last line. */
const { values } = parseArgs({ options: { seed: { type: "string", default: "1" }, seeds: { type: "string", default: "1" }, minutes: { type: "string", default: "10" }, nodes: { type: "string", default: "3" }, sites: { type: "string", default: "3" }, only: { type: "string" }, each: { type: "boolean", default: false }, faults: { type: "string" }, seconds: { type: "string" }, "etcd-leader": { type: "boolean", default: false } } });
const number = (name: "seed" | "seeds" | "minutes" | "nodes" | "sites" | "faults" | "seconds", most: number): number => {
  const value = Number(values[name]);
  if (!(value > 0 && value <= most)) throw new Error(`--${name} must be a number from 1 to ${most}, not ${values[name]}`);
  return value;
};
async function main(): Promise<number> {
  const only = values.only?.split(",") as FaultKind[] | undefined;
  for (const kind of only ?? []) if (!faultKinds.includes(kind)) throw new Error(`--only knows ${faultKinds.join(", ")}, not ${kind}`);
  const reports: ChaosReport[] = [];
  for (let seed = number("seed", 2 ** 31); seed < number("seed", 2 ** 31) + number("seeds", 1000); seed += 1) {
    process.stderr.write(`seed ${seed}\n`);
    const report = await chaos({ seed, minutes: number("minutes", 600), nodes: number("nodes", 5), sites: number("sites", 20), ...(only === undefined ? {} : { only }), ...(values.faults === undefined ? {} : { faults: number("faults", 1000) }), ...(values.seconds === undefined ? {} : { seconds: number("seconds", 3600) }), each: values.each, etcdLeader: values["etcd-leader"], tell: (line) => void process.stderr.write(`${line}\n`) });
    reports.push(report);
    process.stderr.write(`${report.struck.length} faults, ${report.acknowledged} records acknowledged, ${report.refused} refused, ${report.lost} lost within what was reported\n${report.violations.map((text) => `VIOLATION: ${text}\n`).join("")}`);
  }
  process.stdout.write(`${JSON.stringify(reports)}\n`);
  return reports.every(({ violations }) => violations.length === 0) ? 0 : 1;
}
main().then((code) => process.exit(code), (error: unknown) => {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(2);
});
