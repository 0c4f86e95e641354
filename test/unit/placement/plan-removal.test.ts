import { defaultPorts, type Member } from "../../../daemon/lib/node-config.js";
import type { RemovalRecord } from "../../../daemon/lib/records.js";
import { planCluster } from "../../../daemon/placement/plan-cluster.js";
import { type RemovalFacts, removalRefusal, removalState } from "../../../daemon/placement/plan-removal.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { StateBuilder } from "./fixture.js";

const names = ["n1", "n2", "n3", "n4"];
const members: Member[] = names.map((node) => ({ node, addresses: [], zone: "", role: "node", ports: defaultPorts }));
const base = (redundancy = 2): StateBuilder => {
  const builder = new StateBuilder().cluster(names, redundancy).customer("acme").template("php").site("wiki");
  for (const node of names) builder.node(node);
  return builder;
};
const removal = (node: string, dead = false): ReadonlyMap<string, { value: RemovalRecord; revision: string }> => new Map([[node, { value: { version: 1, node, dead, reason: "", atMs: 0 }, revision: "5" }]]);
const facts = (state: ClusterState, node: string, more: Partial<RemovalFacts> = {}): RemovalFacts => ({ state, node, members, configured: ["n1", "n2", "n3"], alive: new Set(names), voting: new Set(["n1", "n2", "n3"]), ...more });
const dying = (state: ClusterState, node: string): ClusterState => ({ ...state, sessions: new Map(state.sessions).set(node, { value: { version: 1, node, generation: 1, counter: 1, dead: true }, revision: "7" }) });
const refused = (given: RemovalFacts, dead = false): string => {
  const said = removalRefusal(given, dead);
  return said === undefined ? "" : `${said.code}: ${said.why}`;
};

describe("a node is taken out", () => {
  const state = (): ClusterState => base().unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]).build();
  const without = (...gone: string[]): Set<string> => new Set(names.filter((node) => !gone.includes(node)));
  test.each<[string, RemovalFacts, boolean, RegExp]>([
    ["when it lives and others can take what it has", facts(state(), "n3"), false, /^$/],
    ["a voter, when another node takes its vote", facts(state(), "n1"), false, /^$/],
    ["a name that is none", facts(state(), "n9"), false, /^NOT_FOUND: There is no node "n9"; nodes are n1, n2, n3, n4/],
    ["one that gives no sign of life", facts(state(), "n3", { alive: without("n3"), voting: new Set(["n1", "n2"]) }), false, /^NOT_READY: n3 gives no sign of life.*--dead/],
    ["dead, while it lives", facts(state(), "n3"), true, /^CONFLICT: n3 lives/],
    ["dead, before it was declared so", facts(state(), "n3", { alive: without("n3"), voting: new Set(["n1", "n2"]) }), true, /^CONFLICT: n3 was not declared dead yet/],
    ["dead, and declared so", facts(dying(state(), "n3"), "n3", { alive: without("n3"), voting: new Set(["n1", "n2"]) }), true, /^$/],
    ["dead, with a site that is still at home there", facts(dying(state(), "n1"), "n1", { alive: without("n1"), voting: new Set(["n2", "n3"]) }), true, /^CONFLICT: site-wiki is still at home on n1: `hc why wiki`/],
    ["when fewer nodes would be left than copies are wanted", facts(base(4).unit("wiki", "n1", ["n2"]).build(), "n3"), false, /^CONFLICT: the Cluster wants 4 copies .* and 3 nodes would be left: lower it in the program first/],
    ["the only living one that takes sites", facts(base(1).build(), "n1", { alive: new Set(["n1"]), voting: new Set(["n1"]), configured: ["n1"] }), false, /^CONFLICT: n1 is the only living node/],
    ["a voter without which there is no majority", facts(state(), "n1", { alive: without("n3", "n4"), voting: new Set(["n1"]) }), false, /^CONFLICT: n1 votes in etcd, .*n1 of n1, n2, n3 vote now/],
  ])("%s", (_name, given, dead, wanted) => expect(refused(given, dead)).toMatch(wanted));
});

test("how far it is: what is still there, its vote, its member of etcd; then it is done", () => {
  const trash = { "site-wiki-surplus-n3-20300101T000000Z": ["n3"], "site-old-20300101T000000Z": ["n1", "n3"] };
  const builder = base().site("shop").unit("wiki", "n3", ["n1"]).confirmed("n3", "wiki", ["n1"]).unit("shop", "n1", ["n3"]).confirmed("n1", "shop", ["n3"]);
  for (const [id] of Object.entries(trash)) builder.trash(id, "site-x", 1, 9e15);
  const state: ClusterState = { ...builder.build(), removals: removal("n3") };
  for (const [id, nodes] of Object.entries(trash)) (state.trash.get(id)?.value as { nodes: string[] }).nodes = nodes;
  expect(removalState(facts(state, "n3"), names, { "site-shop": "1 of 2 copies have no node to be on" })).toEqual({
    node: "n3", ordered: true, dead: false, homes: ["site-wiki"], copies: ["site-shop"], trash: ["site-old-20300101T000000Z"], votes: true, member: true, done: false,
    waitsFor: ["1 site at home there (site-wiki)", "1 copy (site-shop)", "1 old copy to be destroyed", "its vote in etcd to go to another node", "site-shop: 1 of 2 copies have no node to be on"],
  });
  const empty: ClusterState = { ...base().unit("wiki", "n1", ["n2"]).build(), removals: removal("n3"), voters: { value: { version: 1, seats: { n3: "n4" } }, revision: "9" } };
  expect(removalState(facts(empty, "n3"), names, {})).toMatchObject({ votes: false, member: true, done: false, waitsFor: ["its member of etcd to go"] });
  expect(removalState(facts(empty, "n3"), ["n1", "n2", "n4"], {})).toMatchObject({ done: true, waitsFor: [] });
  expect(removalState(facts({ ...empty, removals: new Map() }, "n3"), ["n1", "n2", "n4"], {}).done).toBe(false);
});

describe("what it leaves behind", () => {
  const surplus = "site-wiki-surplus-n3-20300101T000000Z";
  const with_ = (dead: boolean, nodes: string[], id = surplus, confirmed = true): ClusterState => {
    const builder = base().unit("wiki", "n1", ["n2"]).trash(id, "site-wiki", 1, 9e15);
    const state: ClusterState = { ...(confirmed ? builder.confirmed("n1", "wiki", ["n2"]) : builder.observed("n1", "wiki")).build(), removals: removal("n3", dead) };
    (state.trash.get(id)?.value as { nodes: string[] }).nodes = nodes;
    return state;
  };
  const ops = (state: ClusterState, alive = names) => planCluster({ state, alive: new Set(alive), gone: new Set(), atMs: 1 }).writes.filter(({ key }) => key.startsWith("/hc/trash/") || key.startsWith("/hc/removed/")).map((write) => write.ops[0]);
  test("an old copy is destroyed at once when all others are in step, not before", () => {
    expect(ops(with_(false, ["n3"]))).toEqual([{ put: `/hc/trash/${surplus}`, value: expect.stringContaining('"purge":true') }]);
    expect(ops(with_(false, ["n3"], surplus, false))).toEqual([]);
  });
  test("the trash of deleted sites is left to a person while it lives", () => expect(ops(with_(false, ["n3"], "site-old-20300101T000000Z"))).toEqual([]));
  test("one that never comes back is waited for by no trash", () => {
    expect(ops(with_(true, ["n3"]), ["n1", "n2", "n4"])).toEqual([{ delete: `/hc/trash/${surplus}` }]);
    expect(ops(with_(true, ["n1", "n3"], "site-old-20300101T000000Z"), ["n1", "n2", "n4"])).toEqual([{ put: "/hc/trash/site-old-20300101T000000Z", value: expect.stringContaining('"nodes":["n1"]') }]);
  });
  test("the order itself goes when the node has left and nothing names it; for a dead one it stays, and keeps it out", () => {
    const left = (dead: boolean): ClusterState => {
      const state = { ...base().cluster(["n1", "n2", "n4"]).unit("wiki", "n1", ["n2"]).confirmed("n1", "wiki", ["n2"]).build(), removals: removal("n3", dead) };
      (state.sessions as Map<string, unknown>).delete("n3");
      return state;
    };
    expect(ops(left(false), ["n1", "n2", "n4"])).toEqual([{ delete: "/hc/removed/n3" }]);
    expect(ops(left(true), ["n1", "n2", "n4"])).toEqual([]);
  });
});
