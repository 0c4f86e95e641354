import { parseArgs } from "node:util";
import { chaos, type ChaosReport } from "./run.js";
import { type FaultKind, faultKinds } from "./faults.js";

const usage = `npm run chaos -- [--seed 1] [--seeds 1] [--minutes 10] [--nodes 3] [--sites 3] [--only ${faultKinds.join(",")} [--each]] [--faults N] [--seconds N] [--etcd-leader]
Strikes real nodes of a lab while clients write, and checks the invariants after each fault. The report as JSON is the last line. Exit 0: all invariants held; 1: not; 2: wrong arguments.
`;
const options = { seed: { type: "string", default: "1" }, seeds: { type: "string", default: "1" }, minutes: { type: "string", default: "10" }, nodes: { type: "string", default: "3" }, sites: { type: "string", default: "3" }, only: { type: "string" }, each: { type: "boolean", default: false }, faults: { type: "string" }, seconds: { type: "string" }, "etcd-leader": { type: "boolean", default: false }, help: { type: "boolean", default: false } } as const;
async function main(): Promise<number> {
  const { values } = parseArgs({ options });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const number = (name: "seed" | "seeds" | "minutes" | "nodes" | "sites" | "faults" | "seconds", most: number): number => {
    const value = Number(values[name]);
    if (!(value > 0 && value <= most)) throw new Error(`--${name} must be a number from 1 to ${most}, not ${values[name]}`);
    return value;
  };
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
  const { message, code = "" } = error as NodeJS.ErrnoException;
  process.stderr.write(`${message}\n${code.startsWith("ERR_PARSE_ARGS") ? usage : ""}`);
  process.exit(2);
});
