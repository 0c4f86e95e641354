import type { FenceRecord, ObservedUnit, UnitRecord } from "../../../daemon/lib/records.js";
import { type PlanInput, planCluster, type PlannedWrite } from "../../../daemon/placement/plan-cluster.js";
import { markedUntilMs } from "../../../daemon/placement/plan-relief.js";
import { failingCopies, hardToReach, Reach } from "../../../daemon/placement/reach.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { StateBuilder } from "./fixture.js";

const nodes = ["n1", "n2", "n3"];
const base = (): StateBuilder => new StateBuilder().node("n1").node("n2").node("n3").cluster(nodes).customer("acme").template("php").site("wiki");
const led = (state: ClusterState, leader = "n2"): ClusterState => ({ ...state, leader: { value: { version: 1, node: leader, generation: 1, term: 1 }, revision: "1" } });
const plan = (state: ClusterState, more: Partial<PlanInput> = {}) => planCluster({ state, alive: new Set(nodes), gone: new Set(), atMs: 1e9, ...more });
const put = <T>(writes: readonly PlannedWrite[], key: string): T | undefined => {
  const op = writes.find((write) => write.key === key)?.ops[0];
  return op !== undefined && "put" in op ? (JSON.parse(op.value) as T) : undefined;
};
const confirmed = (lags: Record<string, number>, error = "") => Object.fromEntries(Object.entries(lags).map(([node, lagS]) => [node, { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS, error }]));

describe("a unit that cannot be kept running at its home", () => {
  const troubled = (count: number, more: Partial<UnitRecord> = {}, state: "failed" | "serving" | "starting" | "stopped" = "failed", spanS = 60) =>
    base().unit("wiki", "n1", ["n2", "n3"], more).observed("n1", "wiki", { state, trouble: { count, spanS, last: "check: 0 no answer" }, replicas: confirmed({ n2: 9, n3: 1 }) });
  test("is left to the agent's own tries first", () => expect(plan(troubled(4).site("wiki", { replicas: 3 }).build())).toEqual({ writes: [], moves: [], problems: {} }));
  test("also for a minute when many are in trouble at once: after a failover of hundreds first tries come too early", () => {
    const many = (count: number, spanS: number): number => {
      const builder = base();
      for (let at = 0; at < count; at += 1) builder.site(`s${at}`, { replicas: 3 }).unit(`s${at}`, "n1", ["n2", "n3"]).observed("n1", `s${at}`, { state: "failed", trouble: { count: 9, spanS, last: "check" }, replicas: confirmed({ n2: 0, n3: 0 }) });
      return plan(builder.build()).writes.filter(({ event }) => event?.event === "unfit-here").length;
    };
    expect([many(3, 5), many(4, 5), many(4, 60)]).toEqual([3, 0, 4]);
  });
  test("then the node is marked, with why, and nothing is moved in the same breath", () => {
    const { writes, moves } = plan(troubled(5).site("wiki", { replicas: 3 }).build());
    expect(put<UnitRecord>(writes, "/hc/unit/site-wiki")?.unfit).toEqual([{ node: "n1", atMs: 1e9, times: 1, why: "check: 0 no answer" }]);
    expect(writes[0]?.event).toEqual({ unit: "site-wiki", event: "unfit-here", detail: "n1 cannot keep it running (time 1): check: 0 no answer" });
    expect(moves).toEqual([]);
  });
  test("one that falls again and again is no better for being up in between", () => expect(put<UnitRecord>(plan(troubled(7, {}, "serving").build()).writes, "/hc/unit/site-wiki")?.unfit).toHaveLength(1));
  test("then it moves in order to the copy that is least behind", () => {
    const marked = troubled(6, { unfit: [{ node: "n1", atMs: 1e9 - 1000, times: 1, why: "x" }] }).site("wiki", { replicas: 3 });
    expect(plan(marked.build()).moves).toEqual([{ unit: "site-wiki", to: "n3", reason: "n1 cannot keep it running" }]);
    expect(plan(marked.build(), { alive: new Set(["n1", "n2"]) }).moves).toEqual([expect.objectContaining({ to: "n2" })]);
  });
  test("never to a node that could not keep it running either within the hour: it stays, and a person is told", () => {
    const mark = (node: string, atMs: number) => ({ node, atMs, times: 1, why: "x" });
    const both = troubled(6, { unfit: [mark("n3", 1e9 - 3_000_000), mark("n2", 1e9 - 1000), mark("n1", 1e9 - 500)] }).site("wiki", { replicas: 3 });
    expect(plan(both.build())).toMatchObject({ moves: [], problems: { "site-wiki": expect.stringMatching(/n1 cannot keep it running .*no other copy can be asked now/) } });
    expect(plan(both.build(), { atMs: 1e9 + 700_000 }).moves).toEqual([expect.objectContaining({ to: "n3" })]);
  });
  test("what fails everywhere moves less and less often: a mark lasts an hour, then two, at most a day", () => {
    expect([1, 2, 3, 9].map((times) => markedUntilMs({ node: "n1", atMs: 0, times, why: "" }) / 3_600_000)).toEqual([1, 2, 4, 24]);
    const again = plan(troubled(5, { unfit: [{ node: "n1", atMs: 1e9 - 4_000_000, times: 1, why: "x" }] }).build());
    expect(put<UnitRecord>(again.writes, "/hc/unit/site-wiki")?.unfit).toEqual([expect.objectContaining({ node: "n1", times: 2, atMs: 1e9 })]);
  });
  test("not while it moves, is restored or stands still in order, and never away from its pin", () => {
    expect(plan(troubled(9, { move: { id: "m", target: "n2", phase: "presync", reason: "" } }).build()).writes).toEqual([]);
    expect(plan(troubled(9, {}, "stopped").site("wiki", { replicas: 3 }).build()).writes).toEqual([]);
    const pinned = troubled(9, { unfit: [{ node: "n1", atMs: 1e9, times: 1, why: "x" }] }).site("wiki", { replicas: 3, placement: { pin: "n1" } });
    expect(plan(pinned.build())).toMatchObject({ moves: [], problems: { "site-wiki": expect.stringContaining("placement.pin") } });
  });
  test("not to a copy that is not in step", () => {
    const state = base().site("wiki", { replicas: 2 }).unit("wiki", "n1", ["n2"], { unfit: [{ node: "n1", atMs: 1e9, times: 1, why: "x" }] }).observed("n1", "wiki", { state: "failed", trouble: { count: 9, spanS: 90, last: "" }, replicas: confirmed({ n2: 0 }, "no route") });
    expect(plan(state.build()).moves).toEqual([]);
  });
});

describe("a home that most cannot reach", () => {
  const homed = (...broken: string[]) => base().site("wiki", { replicas: 3 }).unit("wiki", "n1", ["n2", "n3"]).confirmed("n1", "wiki", ["n2", "n3"]).links(...broken);
  const away = { unreachable: new Set(["n1"]), steady: new Set(["n2", "n3"]) };
  test("is one that more than half of the other living nodes do not list; of two nodes nobody knows", () => {
    expect([...hardToReach(homed("n2→n1", "n3→n1").build(), new Set(nodes))]).toEqual(["n1"]);
    expect([...hardToReach(homed("n2→n1").build(), new Set(nodes))]).toEqual([]);
    expect([...hardToReach(homed("n2→n1", "n3→n1").build(), new Set(["n1", "n2"]))]).toEqual([]);
  });
  test("is relieved by a planned move where leader, home and copy reach each other", () => {
    expect(plan(led(homed("n3→n1").build(), "n2"), away).moves).toEqual([{ unit: "site-wiki", to: "n2", reason: "most nodes cannot reach n1" }]);
    expect(plan(led(homed("n2→n1", "n3→n1").build(), "n1"), away)).toMatchObject({ moves: [], writes: [expect.objectContaining({ key: "/hc/fence/n1" })] });
  });
  test("else it is fenced, by a record that the leader itself takes back", () => {
    const { writes, moves } = plan(led(homed("n2→n1", "n3→n1").build()), away);
    expect(moves).toEqual([]);
    expect(put<FenceRecord>(writes, "/hc/fence/n1")).toEqual({ version: 1, node: "n1", reason: "most nodes cannot reach it", atMs: 1e9, auto: true });
    expect(writes[0]?.compare).toEqual([{ key: "/hc/fence/n1", modRevision: "0" }]);
  });
  test("it is not fenced while something there has no other copy that can be reached", () => {
    const alone = homed("n2→n1", "n3→n1").site("solo", { replicas: 1 }).unit("solo", "n1", []).build();
    expect(plan(led(alone), away)).toMatchObject({ writes: [], problems: { "site-wiki": expect.stringContaining("1 units there have no other copy") } });
  });
  test("nobody is fenced when the copies cannot be reached either", () => expect(plan(led(homed("n2→n1", "n3→n1").build()), { unreachable: new Set(nodes), steady: new Set() }).writes).toEqual([]));
  test("the fence ends when most have reached the node for a minute; a person's stays", () => {
    const fences = (auto: boolean) => ({ ...led(homed().build()), fences: new Map([["n1", { value: { version: 1, node: "n1", reason: "x", atMs: 0, ...(auto ? { auto } : {}) }, revision: "77" }]]) });
    expect(plan(fences(true), { alive: new Set(["n2", "n3"]), steady: new Set(["n1"]) }).writes).toEqual([expect.objectContaining({ ops: [{ delete: "/hc/fence/n1" }], compare: [{ key: "/hc/fence/n1", modRevision: "77" }] })]);
    expect(plan(fences(true), { alive: new Set(["n2", "n3"]), steady: new Set() }).writes).toEqual([]);
    expect(plan(fences(false), { alive: new Set(["n2", "n3"]), steady: new Set(["n1"]) }).writes).toEqual([]);
  });
  test("the leader counts from when it saw it first, and anew after a better moment", () => {
    const reach = new Reach();
    const look = (state: ClusterState, atMs: number): string[] => [...reach.look(state, new Set(nodes), atMs).unreachable];
    const bad = homed("n2→n1", "n3→n1").build();
    expect(look(homed().build(), -20_000)).toEqual([]);
    expect([look(bad, 0), look(bad, 3_999), look(bad, 4_000), look(homed().build(), 5_000), look(bad, 6_000), look(bad, 9_999)]).toEqual([[], [], ["n1"], [], [], []]);
  });
  test("a node that was dead has time to be found again: it is not fenced for the time in which it could not answer", () => {
    const reach = new Reach();
    const bad = homed("n2→n1", "n3→n1").build();
    const look = (alive: readonly string[], atMs: number): string[] => [...reach.look(bad, new Set(alive), atMs).unreachable];
    expect([look(nodes, 0), look(["n2", "n3"], 20_000), look(nodes, 60_000), look(nodes, 74_999), look(nodes, 75_000)]).toEqual([[], [], [], [], ["n1"]]);
  });
});

describe("a copy that gets nothing although both nodes live", () => {
  const broken = () => base().unit("wiki", "n1", ["n2"]).observed("n1", "wiki", { replicas: confirmed({ n2: 400 }, "connect ETIMEDOUT") });
  test("counts from when it was seen, and only while both live", () => {
    expect([...failingCopies(broken().build(), new Set(nodes))]).toEqual(["site-wiki/n2"]);
    expect([...failingCopies(broken().build(), new Set(["n1", "n3"]))]).toEqual([]);
    const reach = new Reach();
    const look = (atMs: number): number => reach.look(broken().build(), new Set(nodes), atMs).broken.size;
    expect([look(0), look(299_999), look(300_000)]).toEqual([0, 0, 1]);
  });
  test("is made again elsewhere; the old one stays named until the new one is confirmed and it works again", () => {
    expect(put<UnitRecord>(plan(broken().build(), { broken: new Set(["site-wiki/n2"]) }).writes, "/hc/unit/site-wiki")?.replicas).toEqual(["n2", "n3"]);
    const both = (error: string) => base().unit("wiki", "n1", ["n2", "n3"]).observed("n1", "wiki", { replicas: { ...confirmed({ n2: 400 }, error), ...confirmed({ n3: 0 }) } }).build();
    expect(plan(both("connect ETIMEDOUT"), { broken: new Set(["site-wiki/n2"]) }).writes).toEqual([]);
    expect(put<UnitRecord>(plan(both("")).writes, "/hc/unit/site-wiki")?.replicas).toHaveLength(1);
  });
});

describe("a node that was added", () => {
  const four = () => {
    const built = new StateBuilder().node("n1").node("n2").node("n3").node("n4").cluster([...nodes, "n4"]).customer("acme").template("php");
    for (let at = 0; at < 9; at += 1) {
      const [home, copy] = [nodes[at % 3] as string, nodes[(at + 1) % 3] as string];
      built.site(`s${at}`).unit(`s${at}`, home, [copy]).confirmed(home, `s${at}`, [copy]);
    }
    return built;
  };
  const alive = new Set([...nodes, "n4"]);
  const replicasAfter = (state: ClusterState): Map<string, UnitRecord> => new Map([...state.units].map(([id, { value }]) => [id, value]));
  test("gets copies, two at a time, and the rest waits until those are confirmed", () => {
    const { writes } = plan(four().build(), { alive });
    expect(writes.map(({ key }) => key)).toEqual(["/hc/unit/site-s0", "/hc/unit/site-s1"]);
    expect(put<UnitRecord>(writes, "/hc/unit/site-s0")).toMatchObject({ home: "n1", replicas: ["n2", "n4"] });
    expect(writes[0]?.event?.detail).toBe("copy ordered on n4, for the one on n2: n4 has few");
  });
  test("until copies are even but for what one move makes uneven, and then nothing moves any more; homes stay where they are", () => {
    let state = four().build();
    const homes = [...replicasAfter(state).values()].map(({ home }) => home);
    let rounds = 0;
    for (; rounds < 40; rounds += 1) {
      const { writes } = plan(state, { alive });
      if (writes.length === 0) break;
      const units = new Map(state.units);
      const observed = new Map([...state.observedUnits].map(([node, of]) => [node, new Map(of)]));
      for (const { key } of writes) {
        const record = put<UnitRecord>(writes, key) as UnitRecord;
        units.set(record.unit, { value: record, revision: String(1000 + rounds) });
        const seen = observed.get(record.home)?.get(record.unit) as ObservedUnit;
        // its copies are made before the next round
        observed.get(record.home)?.set(record.unit, { ...seen, replicas: confirmed(Object.fromEntries(record.replicas.map((node) => [node, 0]))) });
      }
      state = { ...state, units, observedUnits: observed };
    }
    expect(rounds).toBeLessThan(20);
    const records = [...replicasAfter(state).values()];
    expect(records.map(({ home }) => home)).toEqual(homes);
    expect(records.every(({ replicas }) => replicas.length === 1)).toBe(true);
    const copies = [...alive].map((node) => records.filter(({ home, replicas }) => home === node || replicas.includes(node)).length);
    expect(Math.max(...copies) - Math.min(...copies)).toBeLessThanOrEqual(2);
  });
  test("nothing is copied for it while a node is away, or where the site wishes its copies elsewhere", () => {
    expect(plan(four().build(), { alive: new Set(["n1", "n2", "n4"]) }).writes).toEqual([]);
    const wished = new StateBuilder().node("n1").node("n2").node("n4").cluster(["n1", "n2", "n4"]).customer("acme").template("php");
    for (let at = 0; at < 4; at += 1) wished.site(`s${at}`, { placement: { prefer: ["n1", "n2"] } }).unit(`s${at}`, "n1", ["n2"]).confirmed("n1", `s${at}`, ["n2"]);
    expect(plan(wished.build(), { alive: new Set(["n1", "n2", "n4"]) }).writes).toEqual([]);
  });
});

describe("a node that is taken out", () => {
  const removed = (dead: boolean, home: string, replicas: string[]): ClusterState => ({ ...base().unit("wiki", home, replicas).confirmed(home, "wiki", replicas).build(), removals: new Map([["n2", { value: { version: 1, node: "n2", dead, reason: "", atMs: 0 }, revision: "9" }]]) });
  test("is emptied as a drained one is", () => {
    expect(plan(removed(false, "n2", ["n1"])).moves).toEqual([expect.objectContaining({ to: "n1" })]);
    expect(put<UnitRecord>(plan(removed(false, "n1", ["n2"])).writes, "/hc/unit/site-wiki")?.replicas).toEqual(["n2", "n3"]);
  });
  test("dead: what it holds is no copy any more, and one is ordered elsewhere", () => expect(put<UnitRecord>(plan(removed(true, "n1", ["n2"]), { alive: new Set(["n1", "n3"]) }).writes, "/hc/unit/site-wiki")?.replicas).toEqual(["n3"]));
});
