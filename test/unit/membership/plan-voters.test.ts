import { defaultPorts, type Member } from "../../../daemon/lib/node-config.js";
import type { RawMember } from "../../../daemon/membership/etcd-commands.js";
import { effectiveVoters, memberNode, memberToRemove, planSeat, removalProblem, type SeatFacts, spareFor } from "../../../daemon/membership/plan-voters.js";
import { randomOf } from "../../support/kill-matrix.js";

const member = (node: string, zone = "a", role: "node" | "witness" = "node"): Member => ({ node, addresses: [`10.0.0.${node.slice(1)}`], zone, role, ports: defaultPorts });
const four = ["n1", "n2", "n3", "n4"].map((node) => member(node));
const configured = ["n1", "n2", "n3"];
const facts = (more: Partial<SeatFacts> = {}): SeatFacts => ({ configured, members: four, seats: {}, removed: new Set(), drained: new Set(), alive: new Set(["n1", "n2", "n4"]), voting: new Set(["n1", "n2"]), downMs: () => 600_000, replaceAfterMs: 600_000, ...more });

describe("who votes", () => {
  test.each<[string, Record<string, string>, Member[], string[]]>([
    ["as the program says", {}, four, ["n1", "n2", "n3"]],
    ["n4 sits where n3 was", { n3: "n4" }, four, ["n1", "n2", "n4"]],
    ["nobody sits there: an odd number of voters is left", { n3: "" }, four, ["n1"]],
    ["the first seat is empty", { n1: "" }, four, ["n2"]],
    ["two seats are empty", { n1: "", n2: "" }, four, ["n3"]],
    ["whoever sat there left the cluster", { n3: "n4" }, four.slice(0, 3), ["n1", "n2", "n3"]],
  ])("%s", (_name, seats, members, voters) => expect(effectiveVoters({ configured, members, seats })).toEqual(voters));
  test("a node that the program made a voter itself sits in its own seat only", () => expect(effectiveVoters({ configured: ["n1", "n3", "n4"], members: four, seats: { n3: "n4" } })).toEqual(["n1", "n3", "n4"]));
  test("a seat of a node that votes by the program no more counts for nothing", () => expect(effectiveVoters({ configured: ["n1", "n2", "n4"], members: four, seats: { n3: "n4" } })).toEqual(["n1", "n2", "n4"]));
});

describe("the next seat that is given away", () => {
  test.each<[string, Partial<SeatFacts>, object | undefined]>([
    ["a voter that was away for the set time", {}, { seats: { n3: "n4" }, seat: "n3", from: "n3", to: "n4" }],
    ["not before that", { downMs: () => 599_999 }, undefined],
    ["never, when the program says so", { replaceAfterMs: 0 }, undefined],
    ["a voter whose etcd alone is gone", { alive: new Set(["n1", "n2", "n3", "n4"]) }, { seats: { n3: "n4" }, seat: "n3", from: "n3", to: "n4" }],
    ["three nodes, no spare", { members: four.slice(0, 3), alive: new Set(["n1", "n2"]) }, undefined],
    ["the spare is off", { alive: new Set(["n1", "n2"]) }, undefined],
    ["the spare is being emptied", { drained: new Set(["n4"]) }, undefined],
    ["no majority without it: nothing is changed", { voting: new Set(["n1"]) }, undefined],
    ["the seat's own node is back when the one that sat there dies", { seats: { n3: "n4" }, alive: new Set(["n1", "n2", "n3"]) }, { seats: {}, seat: "n3", from: "n4", to: "n3" }],
    ["all vote", { voting: new Set(configured), alive: new Set(configured) }, undefined],
    ["taken out: at once, while it still votes", { removed: new Set(["n3"]), voting: new Set(configured), alive: new Set(["n1", "n2", "n3", "n4"]), downMs: () => 0 }, { seats: { n3: "n4" }, seat: "n3", from: "n3", to: "n4" }],
    ["taken out, and no spare", { removed: new Set(["n3"]), members: four.slice(0, 3), alive: new Set(configured), voting: new Set(configured), downMs: () => 0 }, { seats: { n3: "" }, seat: "n3", from: "n3", to: "" }],
    ["an empty seat, and no spare: once is enough", { seats: { n3: "" }, removed: new Set(["n3"]), members: four.slice(0, 3), alive: new Set(configured), voting: new Set(["n1"]), downMs: () => 0 }, undefined],
    ["an empty seat is taken by a node that comes", { seats: { n3: "" }, removed: new Set(["n3"]), voting: new Set(["n1"]), downMs: () => 0 }, { seats: { n3: "n4" }, seat: "n3", from: "", to: "n4" }],
    ["one of two is removed with its vote: the other one gets it", { configured: ["n1"], members: four.slice(0, 2), alive: new Set(["n1", "n2"]), voting: new Set(["n1"]), removed: new Set(["n1"]), downMs: () => 0 }, { seats: { n1: "n2" }, seat: "n1", from: "n1", to: "n2" }],
  ])("%s", (_name, more, change) => expect(planSeat(facts(more))).toEqual(change));
  test("a spare in a zone without a voter is better, a node better than a witness", () => {
    const members = [member("n1", "a"), member("n2", "b"), member("n3", "c"), member("n4", "a"), member("n5", "c", "witness"), member("n6", "c")];
    expect(spareFor({ ...facts({ members }), alive: new Set(members.map(({ node }) => node)) }, "n3")).toBe("n6");
  });
  test("the order of members does not matter, and a change never leaves the voters without a majority", () => {
    for (let seed = 1; seed <= 500; seed += 1) {
      const random = randomOf(seed);
      const members = Array.from({ length: 1 + Math.floor(random() * 6) }, (_, at) => member(`n${at + 1}`, random() < 0.5 ? "a" : "b"));
      const names = members.map(({ node }) => node);
      const some = (chance: number): Set<string> => new Set(names.filter(() => random() < chance));
      const alive = some(0.8);
      const seatsOf = names.length < 3 ? names.slice(0, 1) : names.slice(0, 3);
      const input = facts({ configured: seatsOf, members, alive, voting: new Set([...some(0.8)].filter((node) => alive.has(node))), removed: some(0.2), drained: some(0.1), seats: random() < 0.3 ? { [seatsOf[0] as string]: names.at(-1) as string } : {} });
      const change = planSeat(input);
      expect(planSeat({ ...input, members: [...members].reverse() })).toEqual(change);
      if (change === undefined) continue;
      const before = effectiveVoters(input);
      const after = effectiveVoters({ ...input, seats: change.seats });
      expect(before.filter((node) => input.voting.has(node)).length).toBeGreaterThanOrEqual(Math.floor(before.length / 2) + 1);
      expect(after.length % 2).toBe(1);
      expect(after).not.toContain(change.from);
      expect(change.to === "" || alive.has(change.to)).toBe(true);
    }
  });
});

describe("members that go", () => {
  const raw = (node: string, more: Partial<RawMember> = {}): RawMember => ({ ID: node.slice(1), name: node, peerURLs: [`https://10.0.0.${node.slice(1)}:2380`], ...more });
  const nodeOf = memberNode(four);
  const all = ["n1", "n2", "n3", "n4"].map((node) => raw(node));
  const judge = (etcd: RawMember[], effective: string[], voting: string[], alive = voting) => memberToRemove({ etcd, nodeOf, effective, alive: new Set(alive), voting: new Set(voting) });
  test("the dead one goes when the new one votes", () => expect(judge(all, ["n1", "n2", "n4"], ["n1", "n2", "n4"])).toEqual({ id: "3", node: "n3" }));
  test("not while the new one only learns", () => expect(judge([raw("n1"), raw("n2"), raw("n3"), raw("n4", { isLearner: true })], ["n1", "n2", "n4"], ["n1", "n2"])).toEqual({ why: "n4 does not vote yet" }));
  test("one that only learned, and lost its seat or died, goes at once: whoever has the seat now could not join beside it", () => {
    const etcd = [raw("n1"), raw("n2"), raw("n3"), raw("n4", { isLearner: true })];
    expect(judge(etcd, ["n1", "n2", "n5"], ["n1", "n2"])).toEqual({ id: "4", node: "n4" });
    expect(judge([raw("n1"), raw("n2", { isLearner: true })], ["n1", "n3"], ["n1"])).toEqual({ id: "2", node: "n2" });
  });
  test("two that go: the dead one first, else those that are left were no majority", () => {
    const three = all.slice(0, 3);
    expect(judge(three, ["n1"], ["n1", "n2"])).toEqual({ id: "3", node: "n3" });
    expect(removalProblem(three, "2", nodeOf, new Set(["n1", "n2"]))).toBe("without it 1 of 2 voters would vote, and 2 are needed");
    expect(judge(three.slice(0, 2), ["n1"], ["n1", "n2"])).toEqual({ id: "2", node: "n2" });
  });
  test("a member that never started is known by its address; a learner may always go", () => {
    expect(nodeOf(raw("n4", { name: "" }))).toBe("n4");
    expect(removalProblem([raw("n1"), raw("n4", { isLearner: true })], "4", nodeOf, new Set())).toBe("");
  });
  test("nobody is too many", () => expect(judge(all.slice(0, 3), configured, configured)).toBeUndefined());
});
