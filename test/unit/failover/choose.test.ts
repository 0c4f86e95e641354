import fc from "fast-check";
import { choose, type CopyReport } from "../../../daemon/failover/choose.js";

/** "3a" = epoch 3, guid "a" as a number; "p" = a person's snapshot. */
function copy(node: string, text: string): CopyReport {
  const snapshots = text.split(" ").filter((word) => word !== "").map((word, at) => {
    const [, epoch = "", letter = ""] = /^([0-9]*)([a-z]+)$/.exec(word) as RegExpExecArray;
    const guid = String([...letter].reduce((sum, one) => sum * 100 + one.charCodeAt(0), 0));
    return { guid, name: epoch === "" ? `by-hand-${letter}` : `${epoch}-20260101T0000${String(at).padStart(2, "0")}.000Z-n9`, atMs: at * 1000 };
  });
  return { node, snapshots };
}
const guidOf = (letter: string): string => String(letter.charCodeAt(0));
const record = (epoch: number, start: string): { home: string; epoch: number; epochStartGuid: string } => ({ home: "n1", epoch, epochStartGuid: start === "" ? "" : guidOf(start) });

test.each<[string, ReturnType<typeof record>, CopyReport[], string, string, number]>([
  ["the only copy", record(1, "a"), [copy("n2", "1a 1b")], "n2", "b", 0],
  ["the one that has more", record(1, "a"), [copy("n2", "1a 1b"), copy("n3", "1a 1b 1c")], "n3", "c", 0],
  ["the one that has more, though it has pruned", record(1, "a"), [copy("n2", "1a 1b"), copy("n3", "1a 1b 1e")], "n3", "e", 0],
  ["equals: the first of the record", record(1, "a"), [copy("n3", "1a 1b"), copy("n2", "1a 1b")], "n2", "b", 0],
  ["a later epoch before more snapshots of an earlier one", record(2, "b"), [copy("n2", "1a 1b 1c 1d 1e"), copy("n3", "1a 1b 2f")], "n3", "f", 0],
  ["the tail of an owner that lost does not count", record(2, "b"), [copy("n2", "1a 1b 1c 1d"), copy("n3", "1a 1b")], "n3", "b", 0],
  ["the tail alone is there: back to where the epoch began", record(2, "b"), [copy("n2", "1a 1b 1c 1d")], "n2", "b", 2],
  ["a copy without the start of the epoch is behind", record(2, "b"), [copy("n2", "1a"), copy("n3", "1a 1b")], "n3", "b", 0],
  ["nobody has the start: the later epoch of the line", record(4, "z"), [copy("n2", "1a 2c"), copy("n3", "1a 2c 3d")], "n3", "d", 0],
  ["a person's snapshot within the line is part of it", record(1, "a"), [copy("n2", "1a p 1b"), copy("n3", "1a")], "n2", "b", 0],
  ["a person's snapshot at the end is none of it", record(1, "a"), [copy("n2", "1a 1b p"), copy("n3", "1a 1b")], "n3", "b", 0],
])("%s", (_what, of, reports, node, last, tail) => {
  for (const order of [reports, [...reports].reverse()]) {
    expect(choose(of, order, ["n2", "n3"])).toMatchObject({ kind: "chosen", node, last: { guid: guidOf(last) }, tail });
  }
});

test("no copy, an empty one, and two histories are told, not chosen", () => {
  expect(choose(record(1, "a"), [], ["n2"])).toMatchObject({ kind: "none", why: expect.stringContaining("no copy can be reached") });
  expect(choose(record(1, "a"), [copy("n2", "")], ["n2"])).toMatchObject({ kind: "none", why: expect.stringContaining("n2") });
  const two = choose(record(3, "z"), [copy("n2", "1a 2b"), copy("n3", "1a 2c")], ["n2", "n3"]);
  expect(two).toMatchObject({ kind: "none", why: expect.stringMatching(/n2 ends with .*n3 ends with .*a person must choose/) });
});

test("whatever the copies of one line have pruned or lack, the one with the newest acknowledged snapshot is chosen", () => {
  // one line of snapshots over epochs; copy = a prefix, thinned out but for the newest of each copy (those are held on all), with a lost tail of an earlier epoch or without
  const scenario = fc.record({ epochs: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 20 }), lengths: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), thin: fc.array(fc.boolean(), { minLength: 80, maxLength: 80 }), tails: fc.array(fc.nat({ max: 2 }), { minLength: 4, maxLength: 4 }) });
  fc.assert(fc.property(scenario, ({ epochs, lengths, thin, tails }) => {
    let epoch = 1;
    const line = epochs.map((step, at) => {
      epoch += step;
      return { guid: String(1000 + at), epoch, name: `${epoch}-20260101T0000${String(at).padStart(2, "0")}.000Z-n9`, atMs: at };
    });
    const last = line.at(-1) as (typeof line)[number];
    // the epoch of the record starts at the newest snapshot of the epoch before it
    const before = line.filter((one) => one.epoch < last.epoch).at(-1) ?? (line[0] as (typeof line)[number]);
    const ends = lengths.map((length) => 1 + (length % line.length));
    const held = new Set([...ends.map((end) => line[end - 1]?.guid), before.guid]);
    const reports = ends.map((end, index): CopyReport => {
      const own = line.slice(0, end).filter((one, at) => held.has(one.guid) || thin[(index * 20 + at) % thin.length] === true);
      // an owner of an earlier epoch wrote on after the common ground, and lost
      const stale = end < line.length && (line[end] as (typeof line)[number]).epoch > (line[end - 1] as (typeof line)[number]).epoch;
      const tail = stale ? Array.from({ length: tails[index] ?? 0 }, (_, at) => ({ guid: String(5000 + index * 10 + at), name: `${line[end - 1]?.epoch}-20270101T00000${at}.000Z-n8`, atMs: 1e6 + at })) : [];
      return { node: `n${index + 1}`, snapshots: [...own, ...tail] };
    });
    const choice = choose({ home: "n9", epoch: last.epoch, epochStartGuid: before.guid }, reports, reports.map(({ node }) => node));
    const best = Math.max(...ends);
    // copies that all end before the epoch began can only be compared by epoch; one of the latest epoch is right
    if (ends.every((end) => (line[end - 1] as (typeof line)[number]).atMs < before.atMs) && tails.some((tail) => tail > 0)) return;
    expect(choice).toMatchObject({ kind: "chosen", last: { guid: line[best - 1]?.guid } });
  }), { numRuns: 2000 });
});
