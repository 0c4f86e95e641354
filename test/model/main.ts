import { parseArgs } from "node:util";
import { explore, type Report } from "./explorer.js";
import { makeModel } from "./model.js";
import { mutants } from "./mutants.js";
import { daemonRules } from "./rules.js";
import { type FaultKind, faultKinds } from "./world.js";

/**
 * `npm run model -- --nodes 2|3 --faults N [--moves N] [--only stop,cut] [--most STATES] [--leader n1] [--mutant NAME] [--safety]`: exit 0 when all invariants held and the space was exhausted.
 * `--mutants`: each mutant within its own bounds, a line of JSON each. The last line is the report as JSON. */
const { values } = parseArgs({ options: { nodes: { type: "string", default: "3" }, faults: { type: "string", default: "2" }, moves: { type: "string", default: "0" }, only: { type: "string" }, most: { type: "string", default: "20000000" }, leader: { type: "string" }, mutant: { type: "string" }, mutants: { type: "boolean", default: false }, safety: { type: "boolean", default: false } } });
const number = (name: "nodes" | "faults" | "moves" | "most", least: number, most: number): number => {
  const value = Number(values[name]);
  if (!(Number.isInteger(value) && value >= least && value <= most)) throw new Error(`--${name} must be a whole number from ${least} to ${most}, not ${values[name]}`);
  return value;
};
function main(): number {
  if (values.mutants) {
    for (const { name, rules, bounds } of mutants) {
      const run = (more: typeof rules): Report => explore(makeModel({ ...bounds, rules: { ...daemonRules, ...more } }), { most: 100_000 });
      // where the whole space is small: by the rules as they are nothing is found in it
      process.stdout.write(`${JSON.stringify({ name, broken: run(rules), ...(bounds.faults <= 2 ? { asIs: run({}) } : {}) })}\n`);
    }
    return 0;
  }
  const kinds = (values.only?.split(",") as FaultKind[] | undefined) ?? faultKinds;
  for (const kind of kinds) if (!faultKinds.includes(kind)) throw new Error(`--only knows ${faultKinds.join(", ")}, not ${kind}`);
  const mutant = values.mutant === undefined ? undefined : mutants.find(({ name }) => name === values.mutant);
  if (values.mutant !== undefined && mutant === undefined) throw new Error(`--mutant knows ${mutants.map(({ name }) => name).join(", ")}, not ${values.mutant}`);
  const model = makeModel({ nodes: number("nodes", 2, 3) as 2 | 3, faults: number("faults", 0, 9), moves: number("moves", 0, 2), kinds, rules: { ...daemonRules, ...mutant?.rules }, ...(values.leader === undefined ? {} : { leaders: [Number(values.leader.slice(1)) - 1] }) });
  const report = explore(model, { most: number("most", 1, 200_000_000), liveness: !values.safety, progress: (text) => void process.stderr.write(`${text}\n`) });
  const { violation, ...sum } = report;
  if (violation !== undefined) process.stderr.write(`VIOLATION: ${violation.what}\n${violation.trace.map((line, at) => `${String(at + 1).padStart(4)}  ${line}\n`).join("")}`);
  process.stdout.write(`${JSON.stringify({ ...sum, violation })}\n`);
  return violation === undefined && sum.exhausted ? 0 : 1;
}
try {
  process.exitCode = main();
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 2;
}
