import type { UnitRecord } from "../../../daemon/lib/records.js";
import type { Copy } from "../../../daemon/recovery/decide.js";
import type { DiskUnit } from "../../../daemon/recovery/disk-report.js";
import { type AdoptEntry, planAdopt } from "../../../daemon/recovery/plan-adopt.js";
import { copiesOf, planRebuild } from "../../../daemon/recovery/plan-rebuild.js";
import { planUnits } from "../../../daemon/placement/plan-units.js";
import { adoptText } from "../../../cli/commands/adopt-pool.js";
import { StateBuilder } from "../placement/fixture.js";
import { config, disk, line, siteDocument } from "./fixture.js";

const base = (): StateBuilder => new StateBuilder().node("n1").node("n2").node("n3").cluster(["n1", "n2", "n3"]).customer("acme").template("php");
const written = (ops: readonly object[]): Record<string, unknown> => Object.fromEntries((ops as { put: string; value: string }[]).map(({ put, value }) => [put, JSON.parse(value)]));

describe("records rebuilt from the disks", () => {
  const rebuild = (state: StateBuilder, reports: { node: string; units: DiskUnit[] }[]) => planRebuild(state.build(), copiesOf(reports));

  test("a record of a backup gives way to what the disks know, one epoch above all of them; what ran in it is over", () => {
    const state = base().site("shop").unit("shop", "n1", ["n2"], { epoch: 3, move: { id: "m", target: "n3", phase: "presync", reason: "" } });
    const { writes, problems } = rebuild(state, [{ node: "n1", units: [disk("shop", "3a 3b")] }, { node: "n2", units: [disk("shop", "3a 5c", { home: "n2" })] }, { node: "n3", units: [] }]);
    expect(problems).toEqual({});
    expect(writes).toHaveLength(1);
    const record = written(writes[0]!.ops)["/hc/unit/site-shop"] as UnitRecord;
    expect(record).toMatchObject({ home: "n2", homeGeneration: 0, epoch: 6, epochStartGuid: "99", replicas: ["n1"], state: "live" });
    expect(record.move).toBeUndefined();
    expect(writes[0]!.compare).toContainEqual({ key: "/hc/unit/site-shop", modRevision: state.build().units.get("site-shop")!.revision });
  });
  test("the record's own epoch and the trash's count too", () => {
    const state = base().site("shop").unit("shop", "n1", [], { epoch: 9 }).trash("site-shop-20260101T000000Z", "site-shop", 12, 1);
    expect(written(rebuild(state, [{ node: "n1", units: [disk("shop", "3a")] }]).writes[0]!.ops)["/hc/unit/site-shop"]).toMatchObject({ epoch: 13 });
  });
  test("what the backup does not know comes from the dataset: site, customer with its numbers, template", () => {
    const state = new StateBuilder().node("n1").cluster(["n1"]);
    const made = written(rebuild(state, [{ node: "n1", units: [disk("shop", "1a", { config: config(20007) }), disk("blog", "1a", { config: config(20007) })] }]).writes.flatMap(({ ops }) => ops));
    expect(Object.keys(made).sort()).toEqual(["/hc/customer/acme", "/hc/desired/customer/acme", "/hc/desired/site/blog", "/hc/desired/site/shop", "/hc/desired/template/php", "/hc/unit/site-blog", "/hc/unit/site-shop"]);
    expect(made["/hc/customer/acme"]).toMatchObject({ uid: 20007, gid: 20007, user: "hc-acme" });
    expect(made["/hc/unit/site-shop"]).toMatchObject({ epoch: 2, origin: { template: "php", version: "1", guid: "77" }, runtime: { platform: "linux", php: "8.2" } });
  });
  test("of two documents the one of the later revision counts", () => {
    const newer = disk("shop", "3a", { document: siteDocument("shop", { quota: "20G" }), revision: "9999" });
    expect(written(rebuild(base().site("shop").unit("shop", "n1", []), [{ node: "n1", units: [newer] }]).writes[0]!.ops)["/hc/desired/site/shop"]).toMatchObject({ spec: { quota: "20G" } });
    expect(written(rebuild(base().site("shop").unit("shop", "n1", []), [{ node: "n1", units: [{ ...newer, revision: "1" }] }]).writes[0]!.ops)["/hc/desired/site/shop"]).toBeUndefined();
  });
  test("a unit that no disk holds, and one whose dataset says nothing, stay as they are and are told", () => {
    const { writes, problems } = rebuild(base().site("shop").unit("shop", "n1", []), [{ node: "n1", units: [disk("blog", "1a", { document: null })] }]);
    expect(writes).toEqual([]);
    expect(problems).toEqual({ "site-shop": expect.stringContaining("no disk that was reported holds it"), "site-blog": expect.stringContaining("bears no definition") });
  });
});

describe("adopt-pool", () => {
  const adopt = (state: StateBuilder, units: DiskUnit[], more: { others?: { node: string; units: DiskUnit[] }[]; alive?: string[]; lists?: Record<string, string> } = {}): AdoptEntry[] => {
    const copies = copiesOf([{ node: "n1", units }, ...(more.others ?? [])]);
    for (const list of copies.values()) for (const copy of list as Copy[]) copy.list = line(more.lists?.[copy.node] ?? "");
    return planAdopt({ state: state.build(), node: "n1", units, copies, isAlive: (node) => (more.alive ?? ["n1", "n2", "n3"]).includes(node) });
  };
  const one = (entries: AdoptEntry[]): AdoptEntry => entries[0] as AdoptEntry;

  test("a unit that nobody knows: its node becomes home one epoch above, documents are made again", () => {
    const entry = one(adopt(new StateBuilder().node("n1").cluster(["n1"]), [disk("shop", "4a 4b", { home: "old7" })]));
    expect(entry).toMatchObject({ unit: "site-shop", action: "take", epoch: 4, lastAtMs: 1000, owner: null });
    expect(written(entry.write!.ops)["/hc/unit/site-shop"]).toMatchObject({ home: "n1", homeGeneration: 0, epoch: 5, epochStartGuid: "98", replicas: [] });
    expect(entry.write!.compare.find(({ key }) => key === "/hc/unit/site-shop")).toEqual({ key: "/hc/unit/site-shop", modRevision: "0" });
  });
  test("the customer has other numbers here: its files change owner; somebody else has them: the next free ones", () => {
    expect(one(adopt(base(), [disk("shop", "4a", { config: config(20031) })])).owner).toEqual({ from: { uid: 20031, gid: 20031 }, to: { uid: 20000, gid: 20000 } });
    const taken = one(adopt(new StateBuilder().node("n1").customer("other", 20031), [disk("shop", "4a", { config: config(20031) })]));
    expect(taken.owner).toEqual({ from: { uid: 20031, gid: 20031 }, to: { uid: 20032, gid: 20032 } });
    expect(written(taken.write!.ops)["/hc/customer/acme"]).toMatchObject({ uid: 20032 });
  });
  test.each<[string, () => AdoptEntry[], AdoptEntry["action"], string]>([
    ["its home is alive and holds all of it", () => adopt(base().site("shop").unit("shop", "n2", ["n3"], { epoch: 6 }), [disk("shop", "4a 4b")], { others: [{ node: "n2", units: [disk("shop", "4a 4b 6c", { home: "n2" })] }], lists: { n1: "4a 4b", n2: "4a 4b 6c" } }), "keep", "goes to the trash"],
    ["its home is alive, and what lies here went another way", () => adopt(base().site("shop").unit("shop", "n2", ["n3"], { epoch: 6 }), [disk("shop", "4a 4b")], { others: [{ node: "n2", units: [disk("shop", "4a 6c", { home: "n2" })] }], lists: { n1: "4a 4b", n2: "4a 6c" } }), "stash", "another history"],
    ["a later epoch than the record's, and its home lives (it was left out of a recovery)", () => adopt(base().site("shop").unit("shop", "n2", ["n1"], { epoch: 6 }), [disk("shop", "4a 9z")], { others: [{ node: "n2", units: [disk("shop", "4a 6c", { home: "n2" })] }], lists: { n1: "4a 9z", n2: "4a 6c" } }), "stash", "another history"],
    ["its home did not tell what it holds", () => adopt(base().site("shop").unit("shop", "n2", [], { epoch: 6 }), [disk("shop", "4a")]), "blocked", "run it again"],
    ["at home here already", () => adopt(base().site("shop").unit("shop", "n1", ["n2"], { epoch: 4 }), [disk("shop", "4a")]), "keep", "at home here"],
    ["a copy here already", () => adopt(base().site("shop").unit("shop", "n2", ["n1"], { epoch: 4 }), [disk("shop", "4a")]), "keep", "a copy of n2's"],
    ["a new site of that name is being made", () => adopt(base().site("shop").unit("shop", "n2", [], { state: "creating" }), [disk("shop", "4a")]), "blocked", "a new site of that name"],
    ["deleted before it came", () => adopt(base().trash("site-shop-20260101T000000Z", "site-shop", 4, 1), [disk("shop", "4a")]), "keep", "goes to the trash"],
    ["without a snapshot", () => adopt(base(), [disk("shop", "")]), "blocked", "no snapshot"],
    ["without a definition", () => adopt(base(), [disk("shop", "4a", { document: null })]), "blocked", "bears no definition"],
    ["without the customer's numbers", () => adopt(new StateBuilder().node("n1"), [disk("shop", "4a", { config: null })]), "blocked", "hybridcluster:config"],
    ["its host name is another site's now", () => adopt(base().site("other", { hostnames: ["shop.example"] }), [disk("shop", "4a")]), "blocked", "shop.example belongs to the site other"],
    ["another node knows a later epoch", () => adopt(base(), [disk("shop", "4a")], { others: [{ node: "n2", units: [disk("shop", "4a 5b", { home: "n2" })] }] }), "copy", "home n2, epoch 6"],
  ])("%s", (_what, plan, action, why) => {
    const entry = one(plan());
    expect([entry.action, entry.why]).toEqual([action, expect.stringContaining(why)]);
    if (action !== "copy") expect(entry.write).toBeNull();
  });
  test("the pool of a dead home, plugged in here: taken over where it holds more than the living copies, left to failover where it does not", () => {
    const dead = (): StateBuilder => {
      const state = base().site("shop").unit("shop", "n2", ["n3"], { epoch: 4 });
      state.build().sessions.get("n2")!.value.dead = true;
      return state;
    };
    const mine = disk("shop", "4a 4b 4c", { home: "n2" });
    const ahead = one(adopt(dead(), [mine], { alive: ["n1", "n3"], others: [{ node: "n3", units: [disk("shop", "4a 4b", { home: "n2" })] }], lists: { n1: "4a 4b 4c", n3: "4a 4b" } }));
    expect(written(ahead.write!.ops)["/hc/unit/site-shop"]).toMatchObject({ home: "n1", epoch: 5, replicas: ["n3", "n2"] });
    const behind = one(adopt(dead(), [disk("shop", "4a", { home: "n2" })], { alive: ["n1", "n3"], others: [{ node: "n3", units: [disk("shop", "4a 4b", { home: "n2" })] }], lists: { n1: "4a", n3: "4a 4b" } }));
    expect([behind.action, behind.why]).toEqual(["keep", expect.stringContaining("n3's copy is not behind")]);
  });
  test("people are told unit by unit", () => {
    const entries = adopt(base(), [disk("shop", "4a", { config: config(20031) }), disk("blog", "", {})]).map(({ write: _write, ...entry }) => ({ ...entry, error: "" }));
    const text = adoptText({ node: "n1", dataset: "hpool/hc", done: false, entries, silent: [] });
    expect(text).toMatch(/site-blog +0 +- +1000B? +BLOCKED|site-blog +0 +- .*BLOCKED/);
    expect(text).toContain("its files change owner from 20031:20031 to 20000:20000");
  });
});

test("no new site is made beside data of that name; what a deletion left, or a node that is no member, does not count", () => {
  const plan = (state: StateBuilder) => {
    const problems: Record<string, string> = {};
    const writes = planUnits({ state: state.build(), alive: new Set(["n1", "n2", "n3"]), gone: new Set(), atMs: 0 }, problems, []);
    return { writes: writes.length, problem: problems["site-shop"] ?? "" };
  };
  const snapshots = line("4a");
  expect(plan(base().site("shop").observed("n2", "shop", { epoch: 4, snapshots }))).toEqual({ writes: 0, problem: expect.stringContaining("`hc adopt-pool n2` takes it over") });
  expect(plan(base().site("shop").observed("n9", "shop", { epoch: 4, snapshots })).writes).toBe(1);
  expect(plan(base().site("shop").observed("n1", "shop", { epoch: 4, snapshots }).trash("site-shop-20260101T000000Z", "site-shop", 4, 1)).writes).toBe(1);
});
