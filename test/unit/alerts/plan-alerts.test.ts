import { openLimit, keptLimit, nextDelivery, planAlerts, undelivered } from "../../../daemon/alerts/plan-alerts.js";
import type { AlertRecord } from "../../../daemon/lib/records.js";
import { AlertWorld, startMs } from "./picture.js";

const names = (count: number): string[] => Array.from({ length: count }, (_, at) => `s${String(at + 1).padStart(3, "0")}`);
const quiet = { began: [], ended: [] };

test("a healthy cluster says nothing", () => {
  expect(new AlertWorld().sites(names(5), "n1", "n2").pass(3_600)).toEqual(quiet);
});

describe("a node dies", () => {
  test("with 200 sites: one alert when all of them serve, one message when it is back", () => {
    const world = new AlertWorld().sites(names(200), "n2", "n1");
    world.pass(10);
    world.die("n2");
    expect(world.pass(6)).toEqual(quiet);
    world.failover(names(120), "n2", "n1", 3);
    world.failover(["s001"], "n2", "n1", 9);
    expect(world.pass(5)).toEqual(quiet);
    world.failover(names(200).slice(120), "n2", "n3", 4);
    expect(world.pass(1_700)).toEqual({ began: ["n2 died: its 200 sites run on n1, n3 now, at most 9 s of writes are missing"], ended: [] });
    const [alert] = world.open();
    expect(alert).toMatchObject({ severity: "warning", kind: "node-down", told: { "ops/mail": { state: "" } } });
    expect(alert?.detail).toContain("Now on n1: s001, s002, ");
    expect(alert?.detail).toContain(" and 100 more.");
    expect(alert?.detail).toContain("At most 9 s of writes are missing (s001)");
    expect(alert?.detail).toContain("200 sites have one copy left");
    expect(alert?.detail).toContain("etcd has 2 of 3 voters: one more loss");
    world.comeBack("n2");
    for (const name of names(200)) world.builder.confirmed(world.record(name).home, name, ["n2"]);
    for (const name of names(200)) world.builder.observed(world.record(name).home, name, { epoch: 2, replicas: { n2: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 0, error: "" } } });
    expect(world.pass(59)).toEqual(quiet);
    expect(world.pass(3_600)).toEqual({ began: [], ended: ["n2 died: its 200 sites run on n1, n3 now, at most 9 s of writes are missing | n2 is back. It lasted 29 min."] });
  });
  test("and some of its sites stay down: told after two minutes, by name and reason, and not again as sites that are down", () => {
    const world = new AlertWorld().sites(["a", "b", "c"], "n2", "n1");
    world.waits.set("site-c", "its policy is manual: `hc promote c` brings it back");
    world.die("n2");
    world.failover(["a"], "n2", "n1", 5);
    world.failover(["b"], "n2", "n1", 5, false);
    expect(world.pass(119)).toEqual(quiet);
    expect(world.pass(600)).toEqual({ began: ["n2 died: 2 of its 3 sites are not served, the others run on n1, at most 5 s of writes are missing"], ended: [] });
    const [alert] = world.open();
    expect(alert).toMatchObject({ severity: "critical", command: "hc why c", covers: ["node-down/n2", "unit-down/site-c", "unit-down/site-b"] });
    expect(alert?.detail).toContain("Not served: c: its policy is manual");
    expect(alert?.detail).toContain("Not served yet: b, starting on n1.");
    // the node comes back, c with it; b goes on failing: now it is a site that is down
    world.comeBack("n2");
    world.builder.unit("c", "n2", ["n1"], { homeGeneration: 2 }).confirmed("n2", "c", ["n1"]);
    world.builder.unit("a", "n1", ["n2"], { epoch: 2, ...failoverOf(world, "a") }).observed("n1", "a", { epoch: 2, replicas: { n2: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 0, error: "" } } });
    const after = world.pass(300);
    expect(after.ended).toEqual([expect.stringContaining("n2 is back")]);
    expect(after.began).toEqual(["b has been down for 2 min on n1"]);
  });
  test("with no site at home there, and in a cluster where nothing else can take copies: one alert", () => {
    const world = new AlertWorld().sites(["a"], "n1", "n2");
    world.die("n2");
    // n3 is drained: no other place for the copy until n2 is back
    const state = world.builder.build();
    (state.nodes.get("n3") as { value: { role: string } }).value.role = "witness";
    world.builder.unit("a", "n1", ["n2"]);
    expect(world.pass(4_000).began).toEqual(["n2 died: no site was at home there"]);
  });
  test("where its copies could be made elsewhere and are not, that is news after half an hour", () => {
    const world = new AlertWorld().sites(["a", "b"], "n1", "n2");
    world.die("n2");
    expect(world.pass(1_799).began).toEqual(["n2 died: no site was at home there"]);
    expect(world.pass(60).began).toEqual(["2 sites have had only one copy for 30 min"]);
  });
  test("and is back before anybody was told: the failover is told all the same, once", () => {
    const world = new AlertWorld().sites(["a"], "n2", "n1");
    world.die("n2");
    world.pass(2);
    world.failover(["a"], "n2", "n1", 7);
    world.comeBack("n2");
    world.builder.observed("n1", "a", { epoch: 2, replicas: { n2: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 0, error: "" } } });
    const seen = world.pass(1_200);
    expect(seen.began).toEqual(["n2 died and is back: its site runs on n1 now, at most 7 s of writes are missing"]);
    expect(seen.ended).toHaveLength(1);
    expect(world.pass(3_600)).toEqual(quiet);
  });
  test("who is fenced by a person is no news to that person", () => {
    const world = new AlertWorld().sites(["a"], "n2", "n1");
    world.fences.set("n2", { revision: "1", value: { version: 1, node: "n2", reason: "disk", atMs: startMs } });
    world.die("n2");
    world.failover(["a"], "n2", "n1", 0);
    (world.record("a").failover as { fenced?: boolean }).fenced = true;
    world.builder.observed("n1", "a", { epoch: 2, replicas: { n3: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 0, error: "" } } });
    world.builder.unit("a", "n1", ["n3"], { epoch: 2, ...failoverOf(world, "a") });
    expect(world.pass(3_600)).toEqual(quiet);
  });
  test("two at once are two causes", () => {
    const world = new AlertWorld().sites(["a"], "n2", "n1");
    world.die("n2");
    world.die("n3");
    world.failover(["a"], "n2", "n1", 1);
    expect(world.pass(60).began.sort()).toEqual(["n2 died: its site runs on n1 now, at most 1 s of writes are missing", "n3 died: no site was at home there"]);
  });
});
const failoverOf = (world: AlertWorld, name: string): { failover?: NonNullable<ReturnType<AlertWorld["record"]>["failover"]> } => {
  const { failover } = world.record(name);
  return failover === undefined ? {} : { failover };
};

describe("sites that are down", () => {
  const down = (world: AlertWorld, names: readonly string[], home = "n1"): void => {
    for (const name of names) world.builder.observed(home, name, { state: "failed", error: "php died\nno  memory", replicas: { n2: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 0, error: "" } } });
  };
  test("on one node come as one alert, though they did not go down in the same second; one that follows an hour later is another", () => {
    const world = new AlertWorld().sites(["a", "b", "c", "d"], "n1", "n2");
    down(world, ["a"]);
    world.pass(30);
    down(world, ["b", "c"]);
    const first = world.pass(200);
    expect(first.began).toEqual(["3 sites of 1 customer have been down for 2 min on n1"]);
    expect(world.open()[0]).toMatchObject({ severity: "critical", command: "hc why a", covers: ["unit-down/site-a", "unit-down/site-b", "unit-down/site-c"] });
    expect(world.open()[0]?.detail).toContain("a (customer acme): failed: php died no memory");
    world.pass(3_600);
    down(world, ["d"]);
    expect(world.pass(200).began).toEqual(["d has been down for 2 min on n1"]);
    world.builder.confirmed("n1", "d", ["n2"]);
    expect(world.pass(100).ended).toEqual([expect.stringContaining("d has been down")]);
  });
  test("for less than two minutes are nobody's business, however often", () => {
    const world = new AlertWorld().sites(["a"], "n1", "n2");
    for (let time = 0; time < 20; time += 1) {
      down(world, ["a"]);
      expect(world.pass(100)).toEqual(quiet);
      world.builder.confirmed("n1", "a", ["n2"]);
      expect(world.pass(30)).toEqual(quiet);
    }
  });
  test("that flap: what comes back within the hour must be over twice as long each time", () => {
    const world = new AlertWorld().sites(["a"], "n1", "n2");
    const told: string[] = [];
    for (let minute = 0; minute < 12 * 60; minute += 5) {
      down(world, ["a"]);
      told.push(...world.pass(150).began);
      world.builder.confirmed("n1", "a", ["n2"]);
      told.push(...world.pass(150).began);
    }
    // 60 s and 120 s fit into the pause, 240 s does not: the third stays open
    expect(told).toHaveLength(3);
    expect(world.open()).toMatchObject([{ flaps: 2 }]);
  });
  test("the node whose silence nobody can judge ends and begins nothing", () => {
    const world = new AlertWorld().sites(["a"], "n1", "n2");
    down(world, ["a"]);
    world.pass(130);
    expect(world.open()).toHaveLength(1);
    world.alive.delete("n1"); // silent, not declared dead
    expect(world.pass(59)).toEqual(quiet);
    world.alive.add("n1");
    expect(world.pass(100)).toEqual(quiet);
  });
});

describe("the rest", () => {
  test("a pool: degraded is a warning, faulted or full is critical; what its node says nothing of stays", () => {
    const world = new AlertWorld();
    const pool = (health: string, free = "900000"): void => void Object.assign(world.state().observedNodes.get("n3")?.pool as object, { health, freeBytes: free });
    pool("DEGRADED");
    expect(world.pass(61).began).toEqual(["n3: pool hpool is DEGRADED"]);
    expect(world.open()[0]).toMatchObject({ severity: "warning", command: "hc ssh n3 zpool status -v" });
    world.die("n3");
    expect(world.pass(200)).toEqual({ began: ["n3 died: no site was at home there"], ended: [] });
    world.comeBack("n3");
    pool("ONLINE", "10000");
    expect(world.pass(70).ended).toEqual([expect.stringContaining("n3 died")]);
    expect(world.open()).toMatchObject([{ kind: "pool" }]);
    pool("ONLINE");
    expect(world.pass(70).ended).toEqual([expect.stringContaining("The pool is well again")]);
  });
  test("quorum: an etcd that is ill on a living node", () => {
    const world = new AlertWorld();
    Object.assign(world.state().observedNodes.get("n2")?.etcd as object, { healthy: false });
    expect(world.pass(61).began).toEqual(["etcd has 2 of 3 voters (n2 missing): one more loss and nothing can be changed or failed over"]);
    Object.assign(world.state().observedNodes.get("n2")?.etcd as object, { healthy: true });
    expect(world.pass(61).ended).toEqual([expect.stringContaining("etcd can lose a voter again")]);
  });
  test("replication behind its limit, by the node that is behind", () => {
    const world = new AlertWorld().sites(["a", "b"], "n1", "n2");
    for (const name of ["a", "b"]) world.builder.confirmed("n1", name, ["n2"], 301);
    expect(world.pass(61).began).toEqual(["2 copies on n2 are more than 5 min behind"]);
    for (const name of ["a", "b"]) world.builder.confirmed("n1", name, ["n2"], 2);
    expect(world.pass(61).ended).toEqual([expect.stringContaining("in step again")]);
  });
  test("a copy that may be further behind than the limit is told when it is beyond its site's wish", () => {
    const world = new AlertWorld().sites(["a", "b"], "n1", "n2");
    for (const name of ["a", "b"]) world.builder.site(name, { replication: { rpoS: name === "a" ? 3_600 : 60 } }).confirmed("n1", name, ["n2"], 301);
    expect(world.pass(61).began).toEqual(["the copy of b on n2 is more than 5 min behind"]);
    world.builder.confirmed("n1", "b", ["n2"], 2);
    expect(world.pass(61).ended).toEqual([expect.stringContaining("in step again")]);
    world.builder.confirmed("n1", "a", ["n2"], 3_601);
    expect(world.pass(61).began).toEqual(["the copy of a on n2 is more than 5 min behind"]);
  });
  test("one that fails is told at the limit, whatever its site's wish", () => {
    const world = new AlertWorld().sites(["a"], "n1", "n2");
    world.builder.site("a", { replication: { rpoS: 86_400 } }).observed("n1", "a", { replicas: { n2: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 301, error: "n2 refuses" } } });
    expect(world.pass(61).began).toEqual(["the copy of a on n2 is more than 5 min behind"]);
  });
  test("a site that was only ever wanted once has no copy to lose", () => {
    const world = new AlertWorld();
    world.builder.site("a", { replicas: 1 }).unit("a", "n1", []).confirmed("n1", "a", []);
    expect(world.pass(4_000)).toEqual(quiet);
  });
});

describe("another leader", () => {
  test("tells nothing twice, ends what the one before began, and counts on by its notes", () => {
    const world = new AlertWorld().sites(["a"], "n2", "n1");
    world.die("n2");
    world.failover(["a"], "n2", "n1", 1);
    expect(world.pass(10).began).toHaveLength(1);
    world.newLeader("without notes");
    expect(world.pass(60)).toEqual(quiet);
    world.comeBack("n2");
    world.pass(50);
    world.newLeader("without notes");
    expect(world.pass(100).ended).toHaveLength(1);
  });
  test.each([["with its notes", 21], ["without notes", 81]] as const)("%s", (notes, seconds) => {
    const world = new AlertWorld().sites(["a"], "n1", "n2");
    world.builder.observed("n1", "a", { state: "failed", replicas: { n2: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 0, error: "" } } });
    world.pass(100);
    world.newLeader(notes);
    expect(world.pass(20)).toEqual(quiet);
    world.pass(seconds - 20 - 1);
    expect(world.pass(notes === "with its notes" ? 1 : 60).began).toEqual(["a has been down for 2 min on n1"]);
  });
});

describe("bounds", () => {
  const base = { conditions: { found: new Map(), unknown: new Set<string>() }, since: new Map(), clear: new Map(), receivers: [], clearS: 60, describe: () => ({ severity: "warning" as const, title: "t", detail: "", command: "", also: [] }), ended: () => "over" };
  const record = (id: number, more: Partial<AlertRecord> = {}): AlertRecord => ({ version: 1, id: `pool.x.${id}`, kind: "pool", group: `pool/x${id}`, severity: "warning", sinceMs: 1, firedAtMs: 1_000 + id, resolvedAtMs: 0, title: `t${id}`, detail: "", resolution: "", command: "", covers: [`pool/x${id}`], all: false, flaps: 0, told: {}, ...more });
  const mapOf = (records: AlertRecord[]): Map<string, { value: AlertRecord; revision: string }> => new Map(records.map((value) => [value.id, { value, revision: "7" }]));
  test("no more than a hundred are open; what is left out is counted", () => {
    const found = new Map(Array.from({ length: openLimit + 5 }, (_, at) => [`pool/x${at}`, { key: `pool/x${at}`, kind: "pool" as const, group: `pool/x${at}`, holdS: 0, subject: "", text: "" }]));
    const plan = planAlerts({ ...base, conditions: { found, unknown: new Set() }, records: new Map(), atMs: 5_000 });
    expect([plan.writes.length, plan.suppressed]).toEqual([openLimit, 5]);
  });
  test("one that names too many stands for its group", () => {
    const found = new Map(Array.from({ length: 1_500 }, (_, at) => [`unit-down/s${at}`, { key: `unit-down/s${at}`, kind: "unit-down" as const, group: "unit-down/n1", holdS: 0, subject: "", text: "" }]));
    const first = planAlerts({ ...base, conditions: { found, unknown: new Set() }, records: new Map(), atMs: 5_000 });
    expect(first.writes).toMatchObject([{ record: { all: true, covers: { length: 1_000 } } }]);
    const next = planAlerts({ ...base, conditions: { found, unknown: new Set() }, records: mapOf([first.writes[0]?.record as AlertRecord]), atMs: 6_000 });
    expect(next.writes).toEqual([]);
  });
  test("what is over is kept a month, and at most a hundred", () => {
    const over = Array.from({ length: keptLimit + 3 }, (_, at) => record(at, { resolvedAtMs: 2_000 + at }));
    const plan = planAlerts({ ...base, records: mapOf(over), atMs: 10_000 });
    expect(plan.writes.map(({ id, record: kept }) => [id, kept])).toEqual([2, 1, 0].map((at) => [`pool.x.${at}`, undefined]));
    expect(planAlerts({ ...base, records: mapOf([record(1, { resolvedAtMs: 2_000 })]), atMs: 2_001 + 30 * 86_400_000 }).writes).toHaveLength(1);
  });
  test("a receiver that is new is told what is open, and not what is over", () => {
    const plan = planAlerts({ ...base, conditions: { found: new Map([["pool/x1", { key: "pool/x1", kind: "pool" as const, group: "pool/x1", holdS: 0, subject: "", text: "" }]]), unknown: new Set() }, records: mapOf([record(1), record(2, { resolvedAtMs: 3_000 })]), receivers: ["ops/mail"], atMs: 4_000 });
    expect(plan.writes).toMatchObject([{ id: "pool.x.1", record: { told: { "ops/mail": { state: "" } } } }]);
  });
  test("deliveries: oldest first; one that was over before it was told is told once; a day later it is given up", () => {
    const told = (state: "" | "firing" | "resolved"): Partial<AlertRecord> => ({ told: { r: { state, atMs: 1 } } });
    const all = [record(3, told("")), record(1, { ...told("firing") }), record(2, { ...told("firing"), resolvedAtMs: 5_000 }), record(4, { ...told(""), resolvedAtMs: 6_000 }), record(5)];
    expect(nextDelivery(all, "r", 10_000)).toEqual({ id: "pool.x.2", receiver: "r", state: "resolved" });
    expect(nextDelivery(all.filter(({ title }) => title !== "t2"), "r", 10_000)).toEqual({ id: "pool.x.3", receiver: "r", state: "firing" });
    expect(nextDelivery([all[3] as AlertRecord], "r", 10_000)).toEqual({ id: "pool.x.4", receiver: "r", state: "resolved" });
    expect(nextDelivery([all[3] as AlertRecord], "r", 6_001 + 86_400_000)).toMatchObject({ state: "given-up" });
    expect(nextDelivery(all, "unknown", 10_000)).toBeUndefined();
    expect(undelivered(all, "r")).toEqual({ count: 3, sinceMs: 1_003 });
  });
});
