import { type Outcome, run } from "../fuzz/properties.js";

// A few seconds' worth of `npm run fuzz`. A failure names its seed: `npm run fuzz -- --runs 1 --seed N` repeats it.
test("heads and bodies hold their properties for messages made and spoilt at random", () => {
  const seen: Record<Outcome, number> = { accepted: 0, refused: 0, incomplete: 0 };
  for (let seed = 1; seed <= 6_000; seed += 1) seen[run(seed).outcome] += 1;
  // the generator reaches all of them, often
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100);
});
test("a seed makes the same message again", () => {
  expect(run(41).made).toEqual(run(41).made);
  expect(run(41).made.bytes.equals(run(42).made.bytes)).toBe(false);
});
