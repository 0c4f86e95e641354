import type { ObservedNode, SessionRecord } from "../../daemon/lib/records.js";
import { agreedMs } from "../../daemon/state/agreed-time.js";

const hour = 3_600_000;
const month = 30 * 24 * hour;
const now = 1_900_000_000_000;
/** What each node has published last; `dead`: of those whose session was declared dead. */
const state = (told: Record<string, number>, dead: string[] = []) => ({
  observedNodes: new Map(Object.entries(told).map(([node, atMs]) => [node, { node, atMs } as ObservedNode])),
  sessions: new Map(Object.keys(told).map((node) => [node, { value: { version: 1, node, generation: 1, counter: 1, ...(dead.includes(node) ? { dead: true } : {}) } as SessionRecord, revision: "1" }])),
});

test.each<[string, Record<string, number>, string[], number, number]>([
  ["all agree", { n1: now, n2: now - 5_000, n3: now - 9_000 }, [], now, now],
  ["the own clock has jumped ahead", { n1: now + month, n2: now, n3: now - 5_000 }, [], now + month, now + hour],
  ["another's has, and one is late to say something", { n1: now, n2: now + month, n3: now - 60_000 }, [], now, now],
  ["one stands still", { n1: now, n2: 0, n3: now }, [], now, now],
  ["the own one is behind", { n1: now - month, n2: now, n3: now }, [], now - month, now - month],
  ["of two the earlier counts", { n1: now + month, n2: now }, [], now + month, now + hour],
  ["the dead are not asked", { n1: now + month, n2: now, n3: now - month, n4: now - month, n5: now - month }, ["n3", "n4", "n5"], now + month, now + hour],
  ["a node alone", { n1: now }, [], now + 30_000, now + 30_000],
  ["nobody has said anything", {}, [], now, now],
])("the time by which trash is given up: %s", (_name, told, dead, wallMs, expected) => {
  expect(agreedMs(state(told, dead), wallMs)).toBe(expected);
});
