import type { UnitRecord } from "../../../daemon/lib/records.js";
import { holdLeftMs, moveActions, type MoveParts } from "../../../daemon/migration/mover.js";
import { SimClock } from "../../support/sim-clock.js";

const move = { id: "mv.site-a.n1.3.n2.0123abcd", target: "n2", phase: "presync" as const, reason: "test" };
const record = { unit: "site-a", home: "n1", homeGeneration: 4, epoch: 3, epochStartGuid: "1", replicas: ["n2"], state: "live", move } as unknown as UnitRecord;

/** One request of the site goes on however long its gate is closed. */
function source(): { clock: SimClock; writes: UnitRecord[]; parts: MoveParts } {
  const clock = new SimClock();
  const writes: UnitRecord[] = [];
  const context = {
    clock, cluster: { node: "n1" }, session: { generation: 4, isLive: () => true, owns: () => true },
    view: { current: () => ({ units: new Map([["site-a", { value: record, revision: "9" }]]) }), onChange: () => () => undefined },
    store: {
      get: async () => ({ key: "/hc/unit/site-a", value: JSON.stringify(record), modRevision: "8" }),
      txn: async (_compare: unknown, [op]: [{ value: string }]) => {
        writes.push(JSON.parse(op.value));
        return { succeeded: true, revision: "9" };
      },
    },
    gates: { hold: (_unit: string, withinMs: number) => clock.sleep(withinMs).then(() => 1) },
  };
  return { clock, writes, parts: { context, replication: {}, agent: {}, isAlive: () => true } as unknown as MoveParts };
}

test("a longest hold that is used up by what still runs ends the move before a stop is announced: nothing of it is cut", async () => {
  const { clock, writes, parts } = source();
  const ended = moveActions(parts, "site-a", 3, { ...move, maxHoldMs: 1_000 }).announcing(new AbortController().signal);
  await clock.advance(1_000);
  expect(await ended).toEqual({ event: "error", detail: expect.stringContaining("1000 ms") });
  expect(writes).toEqual([]);
});
test("without one the drain ends after 5 s, and the stop is announced", async () => {
  const { clock, writes, parts } = source();
  const ended = moveActions(parts, "site-a", 3, move).announcing(new AbortController().signal);
  await clock.advance(5_000);
  expect(await ended).toMatchObject({ event: "ok", detail: expect.stringContaining("1 request") });
  expect(writes).toMatchObject([{ move: { phase: "stopping" } }]);
});
test.each<[string, number | undefined, number | undefined, number]>([
  ["nobody waits yet", 1_000, undefined, 1_000],
  ["some of it is left", 1_000, 900, 900],
  ["it is over", 1_000, -500, -500],
  ["none was said: less than requests wait for at the edges", undefined, 0, 23_000],
  ["more was said than they wait", 120_000, 0, 23_000],
])("what is left of a hold: %s", (_name, maxHoldMs, sinceMs, left) => {
  expect(holdLeftMs(maxHoldMs === undefined ? {} : { maxHoldMs }, sinceMs, 1_000)).toBe(left);
});
