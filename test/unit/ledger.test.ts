import { judgeLedger, type Outcome } from "../support/ledger.js";

// The judge of the lab's faults must be able to find each of them.
const ack = (id: string, epoch: number, node: string, sentMs: number, rest: Partial<Outcome> = {}): Outcome => ({ id, epoch, node, sentMs, endMs: sentMs + 10, status: 200, error: "", ...rest });

test("an orderly change of home is no violation, and what is gone is told", () => {
  const verdict = judgeLedger([ack("a-1", 1, "n1", 0), ack("a-2", 1, "n1", 100), ack("b-1", 2, "n2", 9_000)], ["1 n1 a-1", "2 n2 b-1"]);
  expect(verdict).toMatchObject({ violations: [], acknowledged: 3, lost: [{ id: "a-2" }] });
});
test("two writers, a node in another's epoch and a record that was written twice are found", () => {
  expect(judgeLedger([ack("a-1", 2, "n2", 0), ack("b-1", 1, "n1", 500)], ["1 n1 b-1", "2 n2 a-1"]).violations).toEqual([expect.stringContaining("b-1 was sent 490 ms after epoch 2")]);
  expect(judgeLedger([ack("a-1", 2, "n2", 0), ack("b-1", 2, "n1", 500)], ["2 n2 a-1", "2 n1 b-1"]).violations).toEqual([expect.stringContaining("epoch 2 was at home on n2 and on n1")]);
  expect(judgeLedger([], ["1 n1 a-1", "1 n1 a-1"]).violations).toEqual(["a-1 is in the ledger twice"]);
});
test("what was in flight while the home changed, and what failed, is no violation", () => {
  expect(judgeLedger([ack("a-1", 2, "n2", 1_000), ack("b-1", 1, "n1", 900, { endMs: 1_200 }), ack("c-1", 0, "", 2_000, { status: 502 })], ["2 n2 a-1", "1 n1 b-1"]).violations).toEqual([]);
});
