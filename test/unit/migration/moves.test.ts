import type { LocalDataset } from "../../../daemon/agent/model.js";
import type { NodeRecord, UnitRecord } from "../../../daemon/lib/records.js";
import { handedOver, judge, stopSeen, withoutMove } from "../../../daemon/migration/mover.js";
import { makeMoveId, OperationBook, operationOf, parseMoveId } from "../../../daemon/migration/operations.js";
import { checkMove } from "../../../daemon/migration/plan-move.js";
import { buildRoutes } from "../../../daemon/proxy/routes.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { emptyPicture } from "../../../daemon/state/apply.js";

const runtime = { platform: "linux" as const, php: "8.2" };
const move = { id: "mv.site-wiki.n1.3.n2.0123abcd", target: "n2", phase: "stopping" as const, reason: "test" };
const record: UnitRecord = { version: 1, unit: "site-wiki", kind: "site", name: "wiki", home: "n1", homeGeneration: 4, epoch: 3, epochStartGuid: "1", replicas: ["n2", "n3"], state: "live", runtime, origin: { template: "php", version: "1", guid: "2" }, move };

describe("records of a move", () => {
  it("hands over by one change: home, epoch, replicas, no move", () => {
    const next = handedOver(record, move, "77");
    expect(next).toMatchObject({ home: "n2", epoch: 4, homeGeneration: 0, epochStartGuid: "77", replicas: ["n3", "n1"] });
    expect(next).not.toHaveProperty("move");
    expect(handedOver({ ...record, replicas: ["n3"] }, move, "77").replicas).toEqual(["n3", "n1"]);
  });
  it("says since which epoch nothing was lost: a chain of planned moves, which any other change of home breaks", () => {
    const once = handedOver(record, move, "77");
    expect(once.handed).toEqual({ epoch: 4, since: 3 });
    expect(handedOver({ ...once, move }, move, "78").handed).toEqual({ epoch: 5, since: 3 });
    expect(handedOver({ ...once, epoch: 9, move }, move, "79").handed).toEqual({ epoch: 10, since: 9 });
    const since = (value: UnitRecord): number | undefined => buildRoutes({ ...emptyPicture.state, units: new Map([["site-wiki", { value, revision: "1" }]]) }, "n1", 4, 80).units["site-wiki"]?.since;
    expect([since(record), since(once), since({ ...once, epoch: 5 })]).toEqual([undefined, 3, undefined]);
  });
  it("tells the workers under which uid a site runs, at its home alone", () => {
    const document = { kind: "site", name: "wiki", spec: { customer: "acme", hostnames: ["wiki.example"] } } as never;
    const state: ClusterState = { ...emptyPicture.state, units: new Map([["site-wiki", { value: record, revision: "1" }]]), desired: new Map([["site/wiki", { value: document, revision: "1" }]]), customers: new Map([["acme", { value: { version: 1, name: "acme", uid: 20_001, gid: 20_001, user: "hc-acme" }, revision: "1" }]]) };
    expect(["n1", "n2"].map((node) => buildRoutes(state, node, 4, 80).units["site-wiki"]?.uid)).toEqual([20_001, undefined]);
    expect(buildRoutes({ ...state, customers: new Map() }, "n1", 4, 80).units["site-wiki"]).not.toHaveProperty("uid");
  });
  it("undoes by taking the move out and nothing else", () => {
    expect(withoutMove(record)).toEqual({ ...record, move: undefined });
    expect("move" in withoutMove(record)).toBe(false);
  });
  it("is told from what others have made of the record", () => {
    expect(judge(record, "n1", 3, move)).toBe("ours");
    expect(judge(handedOver(record, move, "7"), "n1", 3, move)).toBe("handed");
    expect(judge(withoutMove(record), "n1", 3, move)).toBe("lost");
    expect(judge({ ...record, move: { ...move, id: "another" } }, "n1", 3, move)).toBe("lost");
    expect(judge({ ...record, state: "deleting" }, "n1", 3, move)).toBe("lost");
    expect(judge({ ...record, home: "n3", epoch: 4 }, "n1", 3, move)).toBe("lost");
    expect(judge(undefined, "n1", 3, move)).toBe("lost");
  });
});

describe("the stop of the source", () => {
  const seen = (value: UnitRecord, revision: string, mounted: boolean, service: "active" | "inactive") => ({ record: { value, revision }, local: { mounted } as LocalDataset, service });
  it("is seen when the agent has stopped and unmounted what the announced record says", () => {
    expect(stopSeen(seen(record, "20", true, "active"), "20", false)).toBe("waits");
    expect(stopSeen(seen(record, "20", false, "active"), "20", false)).toBe("waits");
    expect(stopSeen(seen(record, "20", false, "inactive"), "20", true)).toBe("waits");
    expect(stopSeen(seen(record, "20", false, "inactive"), "20", false)).toBe("stopped");
  });
  it("is not seen in a picture from before the move, which names none: the site runs on", () => {
    expect(stopSeen(seen(withoutMove(record), "18", true, "active"), "20", false)).toBe("waits");
    expect(stopSeen(seen({ ...record, move: { ...move, phase: "presync" } }, "19", true, "active"), "20", false)).toBe("waits");
  });
  it("is of no use when another write has ended the move, or the unit is gone", () => {
    expect(stopSeen(seen(withoutMove(record), "21", true, "active"), "20", false)).toBe("gone");
    expect(stopSeen(undefined, "20", false)).toBe("gone");
  });
});

describe("operations", () => {
  it("have ids that tell the move", () => {
    const id = makeMoveId({ unit: "site-a-b", source: "n-1", epoch: 12, target: "n2" });
    expect(parseMoveId(id)).toEqual({ unit: "site-a-b", source: "n-1", epoch: 12, target: "n2" });
    for (const bad of ["", "mv", "mv.a.b.c.d.e", "site-wiki-1-wish", `${id}.x`]) expect(() => parseMoveId(bad)).toThrow(/no operation/);
  });
  it("are told from the record alone", () => {
    const { id } = move;
    expect(operationOf(id, record, false)).toMatchObject({ state: "running", phase: "stopping" });
    const handed = handedOver(record, move, "7");
    expect(operationOf(id, handed, false)).toMatchObject({ state: "running", phase: "starting" });
    expect(operationOf(id, handed, true)).toMatchObject({ state: "done" });
    expect(operationOf(id, withoutMove(record), true)).toMatchObject({ state: "failed" });
    expect(operationOf(id, undefined, true)).toMatchObject({ state: "failed" });
    expect(operationOf(makeMoveId({ unit: "site-wiki", source: "n1", epoch: 3, target: "n1" }), record, true)).toMatchObject({ state: "done" });
  });
  it("are kept in bounded number, running ones longest", () => {
    const book = new OperationBook(3);
    for (let index = 0; index < 10; index += 1) book.set({ id: `o${index}`, kind: "move", unit: "u", state: index === 0 ? "running" : "done", phase: "", detail: "", error: "" });
    expect(book.get("o0")).toBeDefined();
    expect(book.get("o9")).toBeDefined();
    expect(book.get("o5")).toBeUndefined();
  });
});

describe("may a unit move", () => {
  const node = (name: string, more: Partial<NodeRecord> = {}): [string, { value: NodeRecord; revision: string }] => [name, { revision: "1", value: { version: 1, node: name, addresses: [], zone: `z-${name}`, role: "node", ports: { http: 1, peer: 2, control: 3 }, hcd: { version: "", sha256: "" }, runtime, ...more } }];
  const pool = (freeBytes: string) => ({ pool: { name: "p", dataset: "p/hc", guid: "1", health: "ONLINE", sizeBytes: "1", freeBytes } });
  const state = (change: { record?: Partial<UnitRecord>; placement?: object; free?: string; nodes?: [string, { value: NodeRecord; revision: string }][] } = {}): ClusterState => {
    const { move: _move, ...still } = record;
    return {
      ...emptyPicture.state,
      units: new Map([["site-wiki", { revision: "1", value: { ...still, ...change.record } }]]),
      nodes: new Map(change.nodes ?? [node("n1"), node("n2"), node("n3")]),
      desired: new Map([["site/wiki", { revision: "1", value: { version: 1, kind: "site", name: "wiki", origin: "git", spec: { placement: { prefer: [], require: [], avoid: [], pin: "", acrossZones: false, ...change.placement } } as never } }]]),
      observedNodes: new Map([["n2", pool(change.free ?? "10000000000") as never]]),
      observedUnits: new Map([["n1", new Map([["site-wiki", { usedBytes: "2000000000" } as never]])]]),
    };
  };
  const alive = (): boolean => true;
  it("yes, and no need when it is there", () => {
    expect(checkMove(state(), "site-wiki", "n2", alive)).toBe(true);
    expect(checkMove(state(), "site-wiki", "n1", alive)).toBe(false);
  });
  it.each<[string, () => unknown, string]>([
    ["an unknown unit", () => checkMove(state(), "site-x", "n2", alive), "NOT_FOUND"],
    ["an unknown node", () => checkMove(state(), "site-wiki", "n9", alive), "INVALID_INPUT"],
    ["a dead node", () => checkMove(state(), "site-wiki", "n2", (name) => name !== "n2"), "NOT_READY"],
    ["a pin", () => checkMove(state({ placement: { pin: "n1" } }), "site-wiki", "n2", alive), "IMPOSSIBLE_CHANGE"],
    ["a required zone", () => checkMove(state({ placement: { require: ["z-n3"] } }), "site-wiki", "n2", alive), "IMPOSSIBLE_CHANGE"],
    ["another runtime", () => checkMove(state({ nodes: [node("n1"), node("n2", { runtime: { platform: "freebsd", php: "8.2" } })] }), "site-wiki", "n2", alive), "IMPOSSIBLE_CHANGE"],
    ["a witness", () => checkMove(state({ nodes: [node("n1"), node("n2", { role: "witness" })] }), "site-wiki", "n2", alive), "IMPOSSIBLE_CHANGE"],
    ["too little space", () => checkMove(state({ free: "1000000000" }), "site-wiki", "n2", alive), "LIMIT_EXCEEDED"],
    ["a move that runs", () => checkMove(state({ record: { move } }), "site-wiki", "n3", alive), "CONFLICT"],
    ["a unit that is being restored", () => checkMove(state({ record: { restore: { id: "r", epoch: record.epoch, snapshot: "s", before: "", reason: "" } } }), "site-wiki", "n2", alive), "CONFLICT"],
    ["a unit that is being made", () => checkMove(state({ record: { state: "creating" } }), "site-wiki", "n2", alive), "NOT_READY"],
    ["a unit that is being deleted", () => checkMove(state({ record: { state: "deleting" } }), "site-wiki", "n2", alive), "CONFLICT"],
  ])("no: %s", (_what, act, code) => {
    expect(act).toThrow(expect.objectContaining({ code }));
  });
  it("to where a pin or a required zone wants it", () => {
    expect(checkMove(state({ placement: { pin: "n2" } }), "site-wiki", "n2", alive)).toBe(true);
    expect(checkMove(state({ placement: { require: ["z-n2"] } }), "site-wiki", "n2", alive)).toBe(true);
  });
});
