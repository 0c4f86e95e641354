import fc from "fast-check";
import type { SnapshotInfo } from "../../daemon/lib/records.js";
import { decide, type RemoteState, stepsOf } from "../../daemon/replication/logic.js";

const snap = (guid: string): SnapshotInfo => ({ name: `s${guid}`, guid, createtxg: guid, atMs: Number(guid) });
const list = (...guids: number[]): SnapshotInfo[] => guids.map((guid) => snap(String(guid)));
const remote = (snapshots: SnapshotInfo[] | undefined, holdsOrigin = false): RemoteState => ({ exists: snapshots !== undefined, snapshots: snapshots ?? [], holdsOrigin });
const origin = { snapshot: "p/tmpl-x@1", guid: "77" };

test.each<[string, SnapshotInfo[], RemoteState, typeof origin | undefined, object]>([
  ["no snapshot here", [], remote(undefined), undefined, { kind: "nothing" }],
  ["nothing there, no template", list(1, 2), remote(undefined), undefined, { kind: "full", target: snap("2") }],
  ["nothing there, template there", list(1, 2), remote(undefined, true), origin, { kind: "from-origin", origin, target: snap("2") }],
  ["nothing there, template missing", list(1), remote(undefined), origin, { kind: "needs-origin", origin }],
  ["same", list(1, 2), remote(list(2)), origin, { kind: "up-to-date", target: snap("2") }],
  ["behind", list(1, 2, 3, 4), remote(list(1, 2)), origin, { kind: "incremental", base: snap("2"), target: snap("4") }],
  ["behind, its older ones pruned here", list(3, 4, 5), remote(list(1, 2, 3)), undefined, { kind: "incremental", base: snap("3"), target: snap("5") }],
  ["ahead", list(1, 2), remote(list(1, 2, 3)), undefined, { kind: "diverged", common: snap("2"), remoteOnly: ["s3"] }],
  ["forked", list(1, 2, 5), remote(list(1, 2, 3, 4)), undefined, { kind: "diverged", common: snap("2"), remoteOnly: ["s3", "s4"] }],
  ["the newest here cannot be sent", [...list(1, 2), { ...snap("3"), name: "auto_12:00" }], remote(list(1)), undefined, { kind: "incremental", base: snap("1"), target: snap("2") }],
  ["nothing here can be sent", [{ ...snap("3"), name: "auto_12:00" }], remote(undefined), undefined, { kind: "nothing" }],
  ["the copy got one by hand that cannot be sent", [...list(1, 2), { ...snap("3"), name: "auto_12:00" }], remote(list(1, 2, 3)), undefined, { kind: "up-to-date", target: { ...snap("3"), name: "auto_12:00" } }],
  ["and is behind by now", [...list(1, 2), { ...snap("3"), name: "auto_12:00" }, snap("4")], remote(list(1, 2, 3)), undefined, { kind: "incremental", base: { ...snap("3"), name: "auto_12:00" }, target: snap("4") }],
  ["strangers", list(1, 2), remote(list(8, 9)), undefined, { kind: "no-common" }],
  ["an empty dataset there", list(1), remote([]), undefined, { kind: "no-common" }],
])("%s", (_name, local, there, from, expected) => {
  expect(decide(local, there, from)).toEqual(expected);
});

test("on the way to the newest every copy gets what is held, and what a person wants kept", () => {
  const local = list(1, 2, 3, 4, 5, 6).map((item) => ({ ...item, userrefs: item.guid === "3" ? 1 : 0 }));
  const decision = { kind: "incremental" as const, base: snap("1"), target: snap("6") };
  const sent = (wanted: string[]): string[] => stepsOf("p/u", local, decision, new Set(wanted)).map(({ base, target }) => `${base?.guid}>${target.guid}`);
  expect(sent([])).toEqual(["1>3", "3>6"]);
  expect(sent(["s5", "s1", "gone"])).toEqual(["1>3", "3>5", "5>6"]);
  local[2] = { ...local[2]!, name: "auto_12:00" };
  expect(sent([])).toEqual(["1>6"]);
});

test("names never matter", () => {
  const renamed = list(1, 2).map((item) => ({ ...item, name: "other" }));
  expect(decide(list(1, 2, 3), remote(renamed), undefined)).toMatchObject({ kind: "incremental", base: { guid: "2" } });
});

test("property: whatever was pruned on either side, if the common newest of the replica is here, it is the base; an increment never starts where the replica does not end", () => {
  const scenario = fc.record({ count: fc.integer({ min: 1, max: 30 }), common: fc.integer({ min: 1, max: 30 }), remoteTail: fc.integer({ min: 0, max: 3 }), keepHere: fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }), keepThere: fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }) });
  fc.assert(
    fc.property(scenario, ({ count, common, remoteTail, keepHere, keepThere }) => {
      const shared = Math.min(common, count);
      const local = list(...Array.from({ length: count }, (_, i) => i + 1)).filter((_, i) => i + 1 === shared || i + 1 === count || keepHere[i] === true);
      const there = list(...Array.from({ length: shared }, (_, i) => i + 1)).filter((_, i) => i + 1 === shared || keepThere[i] === true).concat(list(...Array.from({ length: remoteTail }, (_, i) => 1_000 + i)));
      const decision = decide(local, remote(there), undefined);
      if (remoteTail > 0) expect(decision).toMatchObject({ kind: "diverged", common: { guid: String(shared) } });
      else if (shared === count) expect(decision.kind).toBe("up-to-date");
      else expect(decision).toMatchObject({ kind: "incremental", base: { guid: there.at(-1)?.guid }, target: { guid: String(count) } });
    }),
  );
});
