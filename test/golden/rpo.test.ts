import type { SiteSpec } from "../../daemon/lib/documents.js";
import { specSchemas } from "../../daemon/lib/documents.js";
import { validate } from "../../daemon/lib/schema.js";
import { isDue, rpoOf } from "../../daemon/replication/rpo.js";
import { StateBuilder } from "../unit/placement/fixture.js";

const day = 86_400;
test.each<[string, number, number, boolean]>([
  ["the default, at the very next look", 10, 0, true],
  ["the default, a second later", 10, 1_000, true],
  ["less than can be done", 1, 0, true],
  ["a little more than the default", 11, 1_000, false],
  ["a little more than the default, due", 11, 1_100, true],
  ["five minutes, just written", 300, 0, false],
  ["five minutes, nearly", 300, 29_999, false],
  ["five minutes, due", 300, 30_000, true],
  ["a day, nearly", day, 8_639_999, false],
  ["a day, due", day, 8_640_000, true],
])("%s: rpoS %i, written %i ms ago", (_what, rpoS, ageMs, due) => {
  for (const nowMs of [0, 5, 1e9]) expect(isDue(nowMs - ageMs, nowMs, rpoS)).toBe(due);
});

describe("whose wish it is", () => {
  const cluster = (rpoS: number): StateBuilder => new StateBuilder().document("cluster", "eu", { redundancy: 2, nodes: ["n1"], settings: { txgTimeoutS: 1, rpoS, trashDays: 1, etcd: { heartbeatMs: 100, electionMs: 1000 } } });
  const of = (builder: StateBuilder, unit = "site-a"): number => rpoOf(builder.build())(unit);
  test("the site's own, else the cluster's", () => {
    expect(of(cluster(40).site("a", { replication: { rpoS: 300 } }).unit("a", "n1", ["n2"]))).toBe(300);
    expect(of(cluster(40).site("a", { replication: { rpoS: 1 } }).unit("a", "n1", ["n2"]))).toBe(1);
    expect(of(cluster(40).site("a").unit("a", "n1", ["n2"]))).toBe(40);
  });
  test("a document that is not there says nothing: the cluster's, and without one the default", () => {
    expect(of(cluster(40).unit("a", "n1", ["n2"]))).toBe(40);
    expect(of(cluster(40), "site-b")).toBe(40);
    expect(of(new StateBuilder().unit("a", "n1", ["n2"]))).toBe(10);
    expect(of(new StateBuilder())).toBe(10);
  });
});

test.each<[string, object | undefined, string | undefined]>([
  ["none, as in documents of versions before", undefined, undefined],
  ["the least", { rpoS: 1 }, undefined],
  ["the most", { rpoS: day }, undefined],
  ["nothing missing at all", { rpoS: 0 }, "replication.rpoS"],
  ["more than a day", { rpoS: day + 1 }, "replication.rpoS"],
  ["half a second more", { rpoS: 10.5 }, "replication.rpoS"],
  ["a text", { rpoS: "10" }, "replication.rpoS"],
  ["a wish for nothing", {}, "replication.rpoS"],
  ["something else", { rpoS: 10, rto: 10 }, "replication.rto"],
])("in a document: %s", (_what, replication, wrong) => {
  const site = new StateBuilder().site("a").build().desired.get("site/a")?.value.spec as SiteSpec;
  expect(validate(specSchemas.site, { ...site, ...(replication === undefined ? {} : { replication }) }).map(({ property }) => property)).toEqual(wrong === undefined ? [] : [wrong]);
});
