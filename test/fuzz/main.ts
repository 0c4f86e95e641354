import { parseArgs } from "node:util";
import { type Outcome, run } from "./properties.js";

/**
 * `npm run fuzz -- --seconds 300 --seed 7`: runs until the time is over, each from a seed of its own (the given one, the next, …). Exit 1 at the first
 * property that does not hold, with the seed and the bytes; `--seed N --runs 1` repeats that one.
 */
const { values } = parseArgs({ options: { seconds: { type: "string", default: "120" }, seed: { type: "string" }, runs: { type: "string" } } });
const whole = (name: "seconds" | "seed" | "runs", otherwise: number): number => {
  const value = Number(values[name] ?? otherwise);
  if (!(Number.isInteger(value) && value >= 0)) throw new Error(`--${name} must be a whole number, not ${values[name]}`);
  return value;
};
try {
  const first = whole("seed", Date.now() % 1_000_000_000);
  const runs = whole("runs", Number.MAX_SAFE_INTEGER);
  const end = performance.now() + whole("seconds", 120) * 1_000;
  const seen: Record<Outcome, number> = { accepted: 0, refused: 0, incomplete: 0 };
  let done = 0;
  process.stderr.write(`Fuzzing from seed ${first} …\n`);
  while (done < runs && (done % 1_000 !== 0 || performance.now() < end)) {
    seen[run(first + done).outcome] += 1;
    done += 1;
  }
  process.stdout.write(`${JSON.stringify({ seed: first, runs: done, ...seen })}\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
