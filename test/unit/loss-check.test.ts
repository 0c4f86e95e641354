import { lossText } from "../../cli/commands/node-check.js";
import { checkLoss } from "../../daemon/lib/loss-check.js";
import type { Status, StatusNode, StatusUnit } from "../../daemon/lib/status.js";

const node = (name: string, more: Partial<StatusNode> = {}): StatusNode => ({
  name, address: "", addresses: [], alive: true, zone: "", role: "node", mayBeLost: true, drained: false, removing: false, hcd: { version: "", sha256: "" }, pool: null, memory: { totalBytes: 0, availableBytes: 0 },
  etcd: { role: "voter", healthy: true, fsyncMs: null }, runtime: "", lastSeenS: 0, ...more,
});
const unit = (name: string, home: string, copies: Record<string, number | null>, more: Partial<StatusUnit> = {}): StatusUnit => ({
  id: `site-${name}`, kind: "site", name, origin: "git", home, epoch: 1, state: "serving", hostnames: [], usedBytes: "0", quota: "", error: "",
  replicas: Object.entries(copies).map(([at, lagSeconds]) => ({ node: at, lagSeconds, snapshot: "", state: "replica" })), ...more,
});
const three = [node("n1"), node("n2"), node("n3")];
const check = (units: StatusUnit[], nodes: StatusNode[] = three, name = "n1") => checkLoss({ nodes, units } as Pick<Status, "nodes" | "units">, name);

test("a node that is none", () => expect(check([], three, "n9")).toBeUndefined());
test("what has a copy in step moves, with the seconds that may be missing", () => expect(check([unit("a", "n1", { n2: 3 }), unit("b", "n2", { n3: 1 })])).toEqual({ node: "n1", ok: true, quorum: { ok: true, why: "" }, moves: [{ unit: "site-a", forS: 10, missingS: 10, why: "served on n2" }], down: [], lastCopy: [] }));
test.each<[string, StatusUnit, string]>([
  ["no copy at all", unit("a", "n1", {}), "it has no other copy"],
  ["a copy that never confirmed anything", unit("a", "n1", { n2: null }), "no other copy is alive and in step"],
  ["a copy that fails", unit("a", "n1", {}, { replicas: [{ node: "n2", lagSeconds: 1, snapshot: "", state: "failing" }] }), "no other copy is alive and in step"],
  ["a copy too far behind", unit("a", "n1", { n2: 80 }), "the best copy, on n2, is 80 s behind, and up to 87 s of writes may be missing, more than maxLossS (60): `hc promote a` accepts that"],
  ["a person has to decide", unit("a", "n1", { n2: 0 }, { failover: { policy: "manual", maxLossS: 60 } }), "its policy is manual: `hc promote a` brings it back on n2"],
])("down until somebody acts: %s", (_name, one, why) => expect(check([one])).toMatchObject({ ok: false, moves: [], down: [{ unit: "site-a", forS: null, why }] }));
test("with policy force any lag moves; the nearest copy counts", () => {
  expect(check([unit("a", "n1", { n2: 500 }, { failover: { policy: "force", maxLossS: 60 } })])).toMatchObject({ ok: true, moves: [{ missingS: 507 }] });
  expect(check([unit("a", "n1", { n2: 500, n3: 2 })])).toMatchObject({ ok: true, moves: [{ missingS: 9, why: "served on n3" }] });
});
test("etcd: two of three voters are enough, one is not, and without it nothing fails over", () => {
  const nodes = [node("n1"), node("n2", { alive: false, etcd: { role: "voter", healthy: false, fsyncMs: null } }), node("n3")];
  expect(check([unit("a", "n1", { n3: 0 })], nodes)).toMatchObject({ ok: false, quorum: { ok: false, why: "1 of 3 voters of etcd would be left, and 2 are needed" }, down: [{ why: "without etcd's quorum nothing fails over" }] });
  expect(check([], nodes, "n2")).toMatchObject({ ok: true }); // it is lost already
  expect(check([], [node("n1"), node("n2", { etcd: { role: "client", healthy: true, fsyncMs: null } })])).toMatchObject({ ok: false, quorum: { why: expect.stringContaining("only voter") } });
  expect(check([], [...three, node("n4", { etcd: { role: "client", healthy: true, fsyncMs: null } })], "n4")).toMatchObject({ ok: true });
});
test("a copy there of what is at home elsewhere is no hindrance, and told when it is the last one", () => {
  expect(check([unit("a", "n2", { n1: 0 }), unit("b", "n2", { n1: 0, n3: 0 })])).toMatchObject({ ok: true, lastCopy: ["site-a"] });
  const dead = [node("n1"), node("n2", { alive: false, etcd: { role: "client", healthy: false, fsyncMs: null } }), node("n3"), node("n4")];
  expect(check([unit("a", "n2", { n1: 0 })], dead)).toMatchObject({ ok: false, down: [{ unit: "site-a" }] }); // its home is away: this is all there is
});
test("in words", () => {
  const text = lossText(check([unit("a", "n1", {}), unit("b", "n1", { n2: 1 }), unit("c", "n2", { n1: 0 })]) as NonNullable<ReturnType<typeof check>>);
  expect(text).toBe("n1 must not be lost now:\n  down until it is back, or a person acts (1):\n    site-a: it has no other copy\n1 site would be served elsewhere after about 10 s, with at most 8 s of writes missing; none are after `hc node drain n1`.\n1 site elsewhere would have no other copy until one is made: site-c.\n");
});
