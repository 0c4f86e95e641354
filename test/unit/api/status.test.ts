import type { Member } from "../../../daemon/lib/node-config.js";
import { defaultPorts } from "../../../daemon/lib/node-config.js";
import { validate } from "../../../daemon/lib/schema.js";
import { buildStatus, type StatusFacts } from "../../../daemon/api/status.js";
import { statusSchema } from "../../../daemon/api/status-schema.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { alertDefaults } from "../../../daemon/lib/alerts-spec.js";
import type { AlertRecord } from "../../../daemon/lib/records.js";
import { StateBuilder } from "../placement/fixture.js";

const members: Member[] = ["n1", "n2", "n3"].map((node, at) => ({ node, addresses: [`10.0.0.${at + 1}`], zone: at < 2 ? "a" : "b", role: "node", ports: defaultPorts }));
const facts = (state: ClusterState, more: Partial<StatusFacts> = {}): StatusFacts => ({ cluster: "eu", state, members, voters: ["n1", "n2", "n3"], alive: new Set(["n1", "n2", "n3"]), silentMs: () => 500, atMs: 1_000_000, ...more });
const base = (): StateBuilder => new StateBuilder().node("n1").node("n2").node("n3", { zone: "b" }).cluster(["n1", "n2", "n3"]).customer("acme").template("php").site("wiki");
const healthy = (): StateBuilder => base().unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]);

test("a healthy cluster: ok, each node may be lost, the schema holds", () => {
  const status = buildStatus(facts(healthy().build()));
  expect(validate(statusSchema, status)).toEqual([]);
  expect(status).toMatchObject({ health: "ok", attention: [] });
  expect(status.nodes.map((node) => [node.name, node.alive, node.mayBeLost, node.lastSeenS])).toEqual([["n1", true, true, 1], ["n2", true, true, 1], ["n3", true, true, 1]]);
  expect(status.units).toEqual([expect.objectContaining({ id: "site-wiki", state: "serving", home: "n1", replicas: [{ node: "n2", lagSeconds: 0, snapshot: "s", state: "none" }] })]);
});

test("the home may not be lost while its copy is not confirmed; others may", () => {
  const status = buildStatus(facts(base().unit("wiki", "n1", ["n2"]).observed("n1", "wiki").build()));
  expect(status.nodes.map((node) => node.mayBeLost)).toEqual([false, true, true]);
});

test("with one node away the two that are left hold quorum and data", () => {
  const status = buildStatus(facts(healthy().build(), { alive: new Set(["n1", "n2"]), silentMs: (node) => (node === "n3" ? 90_000 : 300) }));
  expect(status.nodes.map((node) => [node.alive, node.mayBeLost, node.etcd.healthy])).toEqual([[true, false, true], [true, false, true], [false, true, false]]);
  expect(status.health).toBe("critical");
  expect(status.attention[0]).toMatchObject({ severity: "critical", what: expect.stringContaining("n3 gives no sign of life for 90 s"), command: "hc doctor n3" });
  expect(status.attention).toContainEqual(expect.objectContaining({ severity: "warning", what: expect.stringContaining("2 of 3 voters") }));
  expect(validate(statusSchema, status)).toEqual([]);
});

test("a home that is away: the unit is down, with the next command", () => {
  const status = buildStatus(facts(healthy().build(), { alive: new Set(["n2", "n3"]) }));
  expect(status.units[0]).toMatchObject({ state: "down" });
  expect(status.attention).toContainEqual({ severity: "critical", what: "site-wiki is down: its home n1 does not serve it", command: "hc why wiki" });
});

test.each<[string, StateBuilder, string]>([
  ["placed, not made yet", base().unit("wiki", "n1", ["n2"], { state: "creating" }), "creating"],
  ["not placed yet", base(), "creating"],
  ["creation failed", base().unit("wiki", "n1", ["n2"], { state: "creating" }).observed("n1", "wiki", { state: "failed", error: "no space" }), "failed"],
  ["moving", base().unit("wiki", "n1", ["n2"], { move: { id: "m", target: "n2", phase: "presync", reason: "" } }), "moving"],
  ["what its home had told before it was switched off is old", base().unit("wiki", "n1", ["n2"], { homeGeneration: 7 }).observed("n1", "wiki"), "starting"],
  ["home has not reported this epoch", base().unit("wiki", "n1", ["n2"], { epoch: 2 }).observed("n1", "wiki"), "starting"],
  ["on its way to the trash", base().unit("wiki", "n1", ["n2"], { state: "deleting" }), "deleting"],
  ["failed", base().unit("wiki", "n1", ["n2"]).observed("n1", "wiki", { state: "failed", error: "php died" }), "failed"],
])("state of a unit: %s", (_name, builder, state) => {
  const status = buildStatus(facts(builder.build()));
  expect(status.units.map((unit) => unit.state)).toEqual([state]);
  expect(validate(statusSchema, status)).toEqual([]);
});

test("while the cluster recovers no site is called serving: what a restored backup tells of it is long over", () => {
  const state = healthy().build();
  expect(buildStatus(facts(state)).units[0]?.state).toBe("serving");
  const recovery: ClusterState["recovery"] = { value: { version: 1, lineage: 1, state: "recovering", reason: "etcd was restored", node: "n1", atMs: 1, excluded: [], detail: "" }, revision: "1" };
  expect(buildStatus(facts({ ...state, recovery })).units[0]?.state).toBe("down");
});

test("pools, lag, failed templates and problems of nodes need a person", () => {
  const state = base().node("n2", { freeBytes: "20000" }).node("n3", { pool: false }).unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"], 120).template("bad", { state: "failed" }).build();
  (state.observedNodes.get("n1") as { problems: string[] }).problems = ["base services: apache refused"];
  const what = buildStatus(facts(state)).attention.map((item) => `${item.severity}: ${item.what}`);
  expect(what).toEqual(expect.arrayContaining([
    "critical: node n3 has no pool", "critical: pool of n2 is 98 % full", "warning: site-wiki: the copy on n2 is 120 s behind", "warning: n1: base services: apache refused", expect.stringContaining("critical: template bad/1 could not be built"),
  ]));
  expect(what.findIndex((text) => text.startsWith("warning"))).toBeGreaterThan(what.findLastIndex((text) => text.startsWith("critical")) - 1);
});

test("a copy within its site's wish needs nobody, one beyond it does; a wish for less than a minute warns nobody sooner", () => {
  const told = (rpoS: number | undefined, lagS: number): string[] => buildStatus(facts(healthy().site("wiki", rpoS === undefined ? {} : { replication: { rpoS } }).confirmed("n1", "wiki", ["n2"], lagS).build())).attention.map(({ what }) => what);
  expect([told(300, 300), told(300, 301), told(20, 60), told(20, 61), told(undefined, 61)]).toEqual([[], ["site-wiki: the copy on n2 is 301 s behind"], [], ["site-wiki: the copy on n2 is 61 s behind"], ["site-wiki: the copy on n2 is 61 s behind"]]);
});

test("a copy that fails is told as ever; a wish that a failover would not accept by itself is told too", () => {
  const told = (spec: Parameters<ReturnType<typeof healthy>["site"]>[1], error = ""): string[] => buildStatus(facts(healthy().site("wiki", spec).observed("n1", "wiki", { replicas: { n2: { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS: 61, error } } }).build())).attention.map(({ what }) => what);
  expect(told({ replication: { rpoS: 300 } }, "n2 refuses")).toEqual(["site-wiki: the copy on n2 is 61 s behind (n2 refuses)"]);
  const waits = "site-wiki may have 367 s of writes that no copy has (rpoS 3600), more than its failover accepts by itself (maxLossS 60): it would wait for a person; raise the one or lower the other";
  expect([told({ replication: { rpoS: 3_600 } }), told({ replication: { rpoS: 3_600 }, failover: { policy: "safe", maxLossS: 400 } }), told({ replication: { rpoS: 3_600 }, failover: { policy: "force", maxLossS: 0 } })]).toEqual([[waits], [], []]);
});

test("replication that waits for room is told at once, by its own words", () => {
  const state = healthy().build();
  Object.assign(state.observedUnits.get("n1")?.get("site-wiki")?.replicas["n2"] ?? {}, { error: "the pool of n2 is full", paused: true });
  const status = buildStatus(facts(state));
  expect(status.units[0]?.replicas).toMatchObject([{ node: "n2", state: "paused" }]);
  expect(status.attention).toEqual([{ severity: "warning", what: "the pool of n2 is full", command: "hc why wiki" }]);
  expect(status.nodes[0]?.mayBeLost).toBe(false);
  expect(validate(statusSchema, status)).toEqual([]);
});

test("a receiver that takes no alerts needs a person; one that the program no longer names does not", () => {
  const record = (id: string, told: Record<string, { state: "" | "firing"; atMs: number }>, resolvedAtMs = 0): [string, { value: AlertRecord; revision: string }] => [id, { revision: "1", value: { version: 1, id, kind: "pool", group: "pool/n1", severity: "warning", sinceMs: 0, firedAtMs: 400_000, resolvedAtMs, title: "", detail: "", resolution: "", command: "", covers: [], all: false, flaps: 0, told } }];
  const state = { ...healthy().document("alerts", "ops", { webhooks: [{ name: "chat", url: "", headers: {} }], mail: {} as never, ca: "", thresholds: alertDefaults }).build(), alerts: new Map([
    record("a", { "ops/chat": { state: "", atMs: 0 }, "ops/mail": { state: "firing", atMs: 0 }, "old/chat": { state: "", atMs: 0 } }), record("b", { "ops/mail": { state: "firing", atMs: 0 } }, 900_000),
  ]) };
  expect(buildStatus(facts(state)).attention).toEqual([{ severity: "warning", what: "ops/chat takes no alerts: 1 wait for 10 min", command: "hc alerts" }]);
});

test("a single node may never be lost", () => {
  const one = new StateBuilder().node("n1").cluster(["n1"], 1).build();
  expect(buildStatus(facts(one, { members: members.slice(0, 1), voters: ["n1"], alive: new Set(["n1"]) })).nodes[0]?.mayBeLost).toBe(false);
});

test("a missing voter: who takes its vote, or that nobody can", () => {
  const voters = (more: Partial<StatusFacts>, builder = healthy()): string[] => buildStatus(facts(builder.build(), { alive: new Set(["n1", "n2", "n4"]), ...more })).attention.map(({ what }) => what).filter((what) => what.includes("voters"));
  const begin = "etcd has 2 of 3 voters: one more loss and nothing can be changed; ";
  expect(voters({})).toEqual([`${begin}there is no other node that could take the vote of n3`]);
  const four = { members: [...members, { node: "n4", addresses: ["10.0.0.4"], zone: "", role: "node" as const, ports: defaultPorts }] };
  expect(voters(four, healthy().node("n4"))).toEqual([`${begin}another node takes the vote of n3 when it was away for 600 s`]);
  const kept = healthy().node("n4").document("cluster", "eu", { redundancy: 2, nodes: ["n1", "n2", "n3", "n4"], settings: { txgTimeoutS: 1, rpoS: 10, trashDays: 1, etcd: { heartbeatMs: 100, electionMs: 1000, replaceAfterS: 0 } } });
  expect(voters(four, kept)).toEqual([`${begin}the program keeps the vote for n3 (replaceAfterS: 0)`]);
});

test("a node on its way out is told as such, and not as one that is away", () => {
  const state: ClusterState = { ...healthy().build(), removals: new Map([["n3", { value: { version: 1, node: "n3", dead: true, reason: "", atMs: 0 }, revision: "9" }]]) };
  const status = buildStatus(facts(state, { alive: new Set(["n1", "n2"]), voters: ["n1"] }));
  expect(status.nodes[2]).toMatchObject({ removing: true, alive: false, etcd: { role: "client" } });
  expect(status.attention).toEqual([{ severity: "warning", what: expect.stringContaining("n3 is taken out of the cluster"), command: "hc node remove n3" }]);
});
