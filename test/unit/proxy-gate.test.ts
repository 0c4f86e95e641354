import { isServable, mayAnswer } from "../../daemon/proxy/gate.js";
import type { RouteTable, UnitRoute } from "../../daemon/proxy/routes.js";

const table = (unit: Partial<UnitRoute>): RouteTable => ({ version: 1, revision: "1", node: "n1", hosts: {}, units: { "site-a": { home: "n1", epoch: 3, open: true, ...unit } }, nodes: {}, apachePort: 80 });
const until = (all: number, held: Record<string, number> = {}) => ({ all, held: new Map(Object.entries(held)) });

test.each<[string, Partial<UnitRoute>, Parameters<typeof until>, number, boolean, boolean]>([
  ["at home, open, within the deadline", {}, [100], 3, true, true],
  ["the gate has closed meanwhile: nothing new, and what ran is answered", { open: false }, [100], 3, false, true],
  ["another home", { home: "n2" }, [100], 3, false, false],
  ["a later epoch, at home again", { epoch: 4 }, [100], 3, false, false],
  ["past the deadline", {}, [10], 3, false, false],
  ["past the deadline, closed", { open: false }, [10], 3, false, false],
  ["past the deadline of all, held by promises", {}, [10, { "site-a": 100 }], 3, true, true],
])("%s", (_name, unit, deadlines, epoch, serves, answers) => {
  expect(isServable(table(unit), until(...deadlines), "site-a", 50, epoch)).toBe(serves);
  expect(mayAnswer(table(unit), until(...deadlines), "site-a", 50, epoch)).toBe(answers);
});

test("a unit that no table names is not answered for", () => {
  expect(mayAnswer(table({}), until(100), "site-b", 50, 3)).toBe(false);
  expect(mayAnswer(undefined, until(100), "site-a", 50, 3)).toBe(false);
});
