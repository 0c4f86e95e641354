import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { planCluster, type PlannedWrite } from "../../../daemon/placement/plan-cluster.js";
import { userName } from "../../../daemon/placement/plan-customers.js";
import { runtimes, StateBuilder } from "./fixture.js";

const three = (): StateBuilder => new StateBuilder().node("n1").node("n2").node("n3", { zone: "b" }).cluster(["n1", "n2", "n3"]);
const plan = (state: ClusterState, more: { alive?: string[]; gone?: string[]; atMs?: number } = {}) => planCluster({ state, alive: new Set(more.alive ?? ["n1", "n2", "n3"]), gone: new Set(more.gone ?? []), atMs: more.atMs ?? 1000 });
const written = (writes: readonly PlannedWrite[], key: string): Record<string, unknown> | undefined => {
  const op = writes.find((write) => write.key === key)?.ops[0];
  return op !== undefined && "put" in op ? (JSON.parse(op.value) as Record<string, unknown>) : undefined;
};

describe("customers", () => {
  test("numbers from 20000 up, by name, one each", () => {
    const { writes } = plan(three().document("customer", "b", { displayName: "", contact: "" }).document("customer", "a", { displayName: "", contact: "" }).build());
    expect(written(writes, "/hc/customer/a")).toEqual({ version: 1, name: "a", uid: 20000, gid: 20000, user: "hc-a" });
    expect(written(writes, "/hc/customer/b")).toMatchObject({ uid: 20001 });
  });
  test("a number is never given twice, not even after its customer was deleted; a customer that returns gets its own", () => {
    const gone = three().customer("old", 20004).build();
    (gone.desired as Map<string, unknown>).delete("customer/old");
    const deleted = plan(gone).writes;
    expect(written(deleted, "/hc/customer/old")).toMatchObject({ uid: 20004, deleted: true });
    const after = three().document("customer", "new", { displayName: "", contact: "" }).document("customer", "old", { displayName: "", contact: "" }).build();
    (after.customers as Map<string, unknown>).set("old", { value: { version: 1, name: "old", uid: 20004, gid: 20004, user: "hc-old", deleted: true }, revision: "9" });
    const { writes } = plan(after);
    expect(written(writes, "/hc/customer/new")).toMatchObject({ uid: 20005 });
    expect(written(writes, "/hc/customer/old")).toEqual({ version: 1, name: "old", uid: 20004, gid: 20004, user: "hc-old" });
  });
  test("a customer whose unit is still on its way to the trash keeps its user", () => {
    const state = three().customer("acme").template("php").unit("wiki", "n1", ["n2"], { state: "deleting" }).build();
    (state.desired as Map<string, unknown>).delete("customer/acme");
    expect(plan(state).writes.find((write) => write.key === "/hc/customer/acme")).toBeUndefined();
  });
  test("user names fit a host", () => {
    expect(userName("acme")).toBe("hc-acme");
    const [one, two] = [userName("a".repeat(32)), userName(`${"a".repeat(31)}b`)];
    expect([one.length, two.length]).toEqual([32, 32]);
    expect(one).not.toBe(two);
  });
});

describe("templates", () => {
  test("one living node with a pool builds each, the one with the fewest builds", () => {
    const { writes } = plan(three().node("n1", { pool: false }).document("template", "a", { recipe: "php", version: "1", settings: {} }).document("template", "b", { recipe: "php", version: "1", settings: {} }).build(), { alive: ["n1", "n2", "n3"] });
    expect(written(writes, "/hc/template/a/1")).toMatchObject({ builder: "n2", state: "building", runtime: runtimes.linux });
    expect(written(writes, "/hc/template/b/1")).toMatchObject({ builder: "n3" });
  });
  test("each version is built where those before it are, or are being made: they are one chain", () => {
    const next = (builder: StateBuilder): unknown => written(plan(builder.document("template", "php", { recipe: "php", version: "3", settings: {} }).build()).writes, "/hc/template/php/3");
    expect(next(three().template("php", { version: "1", builder: "n3" }).template("php", { version: "2", builder: "n3", state: "building" }))).toMatchObject({ builder: "n3" });
    const first = three().template("php", { version: "1" }).template("php", { version: "2" });
    expect(next(first.holds("n1", "php@1").holds("n2", "php@1", "php@2").holds("n3", "php@1"))).toMatchObject({ builder: "n2" });
  });
  test("a builder that has been away for long is relieved", () => {
    const state = three().template("php", { state: "building", builder: "n1" }).build();
    expect(plan(state, { alive: ["n2", "n3"] }).writes).toEqual([]);
    expect(written(plan(state, { alive: ["n2", "n3"], gone: ["n1"] }).writes, "/hc/template/php/1")).toMatchObject({ builder: "n2", state: "building" });
  });
  test("a version that nobody wants goes when no unit and no trash comes from it", () => {
    const state = three().template("php", { version: "1" }).template("php", { version: "2" }).build();
    const gone = (of: ClusterState): string[] => plan(of).writes.filter((write) => write.ops.some((op) => "delete" in op)).map((write) => write.key);
    expect(gone(state)).toEqual(["/hc/template/php/1"]);
    const used = three().customer("acme").template("php", { version: "1" }).template("php", { version: "2" }).site("wiki").unit("wiki", "n1", ["n2"]).build();
    expect(gone(used)).toEqual([]);
    expect(gone(three().template("old").trash("t", "site-x", 1, 5000).build())).toEqual([]);
  });
});

describe("units", () => {
  const base = (): StateBuilder => three().customer("acme").template("php");
  test("a site with customer and template ready is placed, guarded by its document", () => {
    const state = base().site("wiki").build();
    const { writes, problems } = plan(state);
    expect(problems).toEqual({});
    expect(writes).toHaveLength(1);
    expect(written(writes, "/hc/unit/site-wiki")).toEqual({
      version: 1, unit: "site-wiki", kind: "site", name: "wiki", home: "n1", homeGeneration: 0, epoch: 1, epochStartGuid: "", replicas: ["n2"], state: "creating",
      runtime: runtimes.linux, origin: { template: "php", version: "1", guid: "77" },
    });
    expect(writes[0]?.compare).toEqual([{ key: "/hc/unit/site-wiki", modRevision: "0" }, { key: "/hc/desired/site/wiki", modRevision: state.desired.get("site/wiki")?.revision }]);
  });
  test("waits for its customer and template, which is no problem; without a node it is one", () => {
    expect(plan(three().customer("acme").template("php", { state: "building" }).site("wiki").build())).toEqual({ writes: [], moves: [], problems: {} });
    expect(plan(base().site("wiki", { placement: { require: ["mars"] } }).build())).toEqual({ writes: [], moves: [], problems: { "site-wiki": expect.stringContaining("mars") } });
  });
  test("takes an epoch above that of every copy in the trash", () => {
    expect(written(plan(base().site("wiki").trash("t1", "site-wiki", 7, 9e15).build()).writes, "/hc/unit/site-wiki")).toMatchObject({ epoch: 8 });
  });
  test("only on nodes with the template's runtime", () => {
    const mixed = new StateBuilder().node("n1", { runtime: runtimes.freebsd }).node("n2").node("n3", { runtime: runtimes.newer }).cluster(["n1", "n2", "n3"]).customer("acme").template("php").site("wiki").build();
    expect(written(plan(mixed).writes, "/hc/unit/site-wiki")).toMatchObject({ home: "n2", replicas: [] });
  });
  test("many sites of one round are spread", () => {
    const many = base();
    for (let number = 0; number < 9; number += 1) many.site(`s${number}`);
    const homes = plan(many.build()).writes.map((write) => (written([write], write.key) as { home: string }).home);
    expect(["n1", "n2", "n3"].map((node) => homes.filter((home) => home === node).length)).toEqual([3, 3, 3]);
  });
  test("without its document a unit goes to deleting; while it moves, it does not", () => {
    expect(written(plan(base().unit("wiki", "n1", ["n2"]).build()).writes, "/hc/unit/site-wiki")).toMatchObject({ state: "deleting", home: "n1", replicas: ["n2"] });
    expect(plan(base().unit("wiki", "n1", ["n2"], { move: { id: "m", target: "n2", phase: "presync", reason: "" } }).build()).writes).toEqual([]);
    expect(plan(base().unit("wiki", "n1", ["n2"], { state: "deleting" }).build()).writes).toEqual([]);
  });
  test("a healthy unit is left alone, also when its home is away, and whatever is merely preferred", () => {
    const state = base().site("wiki", { placement: { prefer: ["n3"], avoid: ["n1"] } }).unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]).build();
    expect(plan(state)).toEqual({ writes: [], moves: [], problems: {} });
    expect(plan(state, { alive: ["n2", "n3"] }).writes).toEqual([]);
  });
  test("more copies are ordered at once, a copy too many goes only when those that stay are confirmed", () => {
    expect(written(plan(base().site("wiki", { replicas: 3 }).unit("wiki", "n1", ["n2"]).build()).writes, "/hc/unit/site-wiki")).toMatchObject({ replicas: ["n2", "n3"] });
    const fewer = base().site("wiki").unit("wiki", "n1", ["n2", "n3"]);
    expect(plan(fewer.build()).writes).toEqual([]);
    expect(written(plan(fewer.confirmed("n1", "wiki", ["n2", "n3"]).build()).writes, "/hc/unit/site-wiki")).toMatchObject({ replicas: ["n3"] });
  });
  test("a node that left the cluster is replaced as a replica", () => {
    const state = new StateBuilder().node("n1").node("n2").node("n3").cluster(["n1", "n3"]).customer("acme").template("php").site("wiki").unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]).build();
    expect(written(plan(state).writes, "/hc/unit/site-wiki")).toMatchObject({ home: "n1", replicas: ["n3"] });
  });
  test("a node that still shows a copy which the record does not name gets none before it has given that up", () => {
    const base = (): StateBuilder => three().customer("acme").template("php").site("wiki", { replicas: 2 }).unit("wiki", "n1", []);
    expect(written(plan(base().build()).writes, "/hc/unit/site-wiki")?.["replicas"]).toEqual(["n2"]);
    expect(written(plan(base().observed("n2", "wiki").build()).writes, "/hc/unit/site-wiki")?.["replicas"]).toEqual(["n3"]);
  });
  test("too few nodes: as many copies as there are nodes, and a problem for people", () => {
    const { writes, problems } = plan(base().site("wiki", { replicas: 3 }).unit("wiki", "n1", ["n2"]).build(), { alive: ["n1", "n2"] });
    expect(writes).toEqual([]);
    expect(problems["site-wiki"]).toContain("1 of 3 copies");
  });
  test("pin and require order a move of a living home, nothing else does", () => {
    const pinned = base().site("wiki", { placement: { pin: "n3" } }).unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]);
    expect(plan(pinned.build()).moves).toEqual([{ unit: "site-wiki", to: "n3", reason: expect.stringContaining("n3") }]);
    expect(plan(pinned.build(), { alive: ["n2", "n3"] }).moves).toEqual([]);
    expect(plan(base().site("wiki", { placement: { require: ["b"] } }).unit("wiki", "n1", ["n3"]).confirmed("n1", "wiki", ["n3"]).build()).moves).toEqual([expect.objectContaining({ to: "n3" })]);
  });
});

test("trash is marked when its time is over, once", () => {
  const state = three().trash("t", "site-x", 1, 500).build();
  expect(written(plan(state).writes, "/hc/trash/t")).toMatchObject({ id: "t", purge: true });
  expect(plan(state, { atMs: 499 }).writes).toEqual([]);
  // the leader's clock has jumped ahead, and no other node's has: they have published at 0
  expect(plan(three().trash("t", "site-x", 1, 1e12).build(), { atMs: 2e12 }).writes).toEqual([]);
});

test("what a unit gets back out of the trash does not expire, and a restore that is ordered meanwhile keeps the mark out; what nobody restores any more does expire", () => {
  const ordered = (node: string, state: "creating" | "live") => three().unit("x", node, [], { state, restoreFrom: "t" }).trash("t", "site-x", 1, 500).build();
  const marks = (state: ClusterState) => plan(state).writes.filter(({ key }) => key === "/hc/trash/t");
  expect([marks(ordered("n2", "creating")), marks(ordered("n1", "live"))]).toEqual([[], []]);
  // the unit lies there already: what is left beside it nobody waits for
  expect(marks(three().unit("x", "n1", [], { state: "live", restoreFrom: "t" }).observed("n1", "x", {}).trash("t", "site-x", 1, 500).build())).toHaveLength(1);
  expect(marks(ordered("n2", "live"))[0]?.compare[1]).toEqual({ key: "/hc/unit/site-x", modRevision: ordered("n2", "live").units.get("site-x")?.revision });
  expect(marks(three().trash("t", "site-x", 1, 500).build())[0]?.compare[1]).toEqual({ key: "/hc/unit/site-x", modRevision: "0" });
});

test("the same picture gives the same plan, whatever the order of its maps", () => {
  const build = (names: string[]): ClusterState => {
    const state = three().customer("acme").template("php");
    for (const name of names) state.site(name);
    return state.build();
  };
  const decided = (state: ClusterState): unknown => plan(state).writes.map((write) => [write.key, write.ops]);
  expect(decided(build(["a", "b", "c", "d"]))).toEqual(decided(build(["d", "b", "a", "c"])));
});

describe("dead nodes", () => {
  const lostPlan = (state: ClusterState, alive: string[], lost: string[]) => planCluster({ state, alive: new Set(alive), gone: new Set(lost), lost: new Set(lost), atMs: 1000 });
  const wiki = (): StateBuilder => three().customer("acme").template("php").site("wiki");
  test("a copy on a lost node is made again elsewhere, and the lost one stays named until its node is back", () => {
    const state = wiki().unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]).build();
    expect(lostPlan(state, ["n1", "n3"], []).writes).toEqual([]);
    expect(written(lostPlan(state, ["n1", "n3"], ["n2"]).writes, "/hc/unit/site-wiki")).toMatchObject({ home: "n1", replicas: ["n2", "n3"] });
    const again = wiki().unit("wiki", "n1", ["n2", "n3"]).confirmed("n1", "wiki", ["n3"]).build();
    expect(lostPlan(again, ["n1", "n3"], ["n2"]).writes).toEqual([]);
    const back = wiki().unit("wiki", "n1", ["n2", "n3"]).confirmed("n1", "wiki", ["n2", "n3"]).build();
    expect(written(lostPlan(back, ["n1", "n2", "n3"], []).writes, "/hc/unit/site-wiki")?.["replicas"]).toHaveLength(1);
  });
  test("where no other node can take the copy, that is told", () => {
    expect(lostPlan(three().customer("acme").template("php").site("wiki", { replicas: 3 }).unit("wiki", "n1", ["n2", "n3"]).build(), ["n1", "n3"], ["n2"]).problems["site-wiki"]).toBe("1 of 3 copies have no node to be on");
  });
  test("a site whose home was declared dead before it was made is made elsewhere, under the next epoch", () => {
    const state = wiki().unit("wiki", "n1", ["n2"], { state: "creating", epochStartGuid: "", homeGeneration: 1 }).build();
    expect(plan(state, { alive: ["n2", "n3"] }).writes).toEqual([]);
    (state.sessions as Map<string, unknown>).set("n1", { value: { version: 1, node: "n1", generation: 1, counter: 1, dead: true }, revision: "77" });
    const made = written(plan(state, { alive: ["n2", "n3"] }).writes, "/hc/unit/site-wiki");
    expect(made).toMatchObject({ state: "creating", epoch: 2, homeGeneration: 0 });
    expect([made?.["home"], made?.["replicas"]]).not.toContain("n1");
  });
});

describe("a node that is being emptied", () => {
  const drained = (state: ClusterState, node: string): ClusterState => ({ ...state, drains: new Map([[node, { value: { version: 1, node, reason: "", atMs: 0 }, revision: "90" }]]) });
  const wiki = (placement: { pin?: string } = {}): StateBuilder => three().customer("acme").template("php").site("wiki", { placement });
  test("gives its sites to nodes that hold a copy, and takes nothing new", () => {
    const state = drained(wiki().unit("wiki", "n1", ["n3"]).confirmed("n1", "wiki", ["n3"]).build(), "n1");
    expect(plan(state).moves).toEqual([{ unit: "site-wiki", to: "n3", reason: "n1 is being emptied" }]);
    expect(written(plan(drained(wiki().build(), "n1")).writes, "/hc/unit/site-wiki")).toMatchObject({ home: "n2", replicas: ["n3"] });
  });
  test("a copy on it is made elsewhere first, and given up when that is confirmed", () => {
    const before = drained(wiki().unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]).build(), "n2");
    expect(written(plan(before).writes, "/hc/unit/site-wiki")).toMatchObject({ home: "n1", replicas: ["n2", "n3"] });
    const unconfirmed = drained(wiki().unit("wiki", "n1", ["n2", "n3"]).confirmed("n1", "wiki", ["n2"]).build(), "n2");
    expect(plan(unconfirmed).writes).toEqual([]);
    const confirmed = drained(wiki().unit("wiki", "n1", ["n2", "n3"]).confirmed("n1", "wiki", ["n2", "n3"]).build(), "n2");
    expect(written(plan(confirmed).writes, "/hc/unit/site-wiki")).toMatchObject({ home: "n1", replicas: ["n3"] });
  });
  test("a site that is pinned to it stays, and that is told", () => {
    const { moves, problems } = plan(drained(wiki({ pin: "n1" }).unit("wiki", "n1", ["n3"]).confirmed("n1", "wiki", ["n3"]).build(), "n1"));
    expect([moves, problems["site-wiki"]]).toEqual([[], expect.stringContaining("n1 is being emptied, and placement.pin")]);
  });
});
