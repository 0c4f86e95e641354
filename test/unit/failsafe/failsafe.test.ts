import { Failsafe } from "../../../daemon/failsafe/failsafe.js";
import { asked, graceMs, heldUnits, promised, promiseMs, refusal } from "../../../daemon/failsafe/plan-failsafe.js";
import { Promises } from "../../../daemon/failsafe/promises.js";
import { planFence } from "../../../daemon/fencer/plan-fence.js";
import { HcError } from "../../../daemon/lib/errors.js";
import { createLogger } from "../../../daemon/lib/log.js";
import { keys, type SessionRecord } from "../../../daemon/lib/records.js";
import { fenceMs, NodeSession } from "../../../daemon/membership/session.js";
import { laterSeal, type Seal } from "../../../daemon/replication/seal.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import type { NodeContext } from "../../../daemon/context.js";
import { randomOf } from "../../support/kill-matrix.js";
import { SimClock } from "../../support/sim-clock.js";
import { StateBuilder } from "../placement/fixture.js";

const log = createLogger("test", { write: () => undefined });

/** n1 is home of sites a (copy on n2), b (copies on n2 and n3) and c (no copy); sessions and promises are the real ones, in simulated time. */
async function setup() {
  const clock = new SimClock();
  const etcd = new MemoryState();
  const picture = new StateBuilder().node("n1").node("n2").node("n3").unit("a", "n1", ["n2"]).unit("b", "n1", ["n2", "n3"]).unit("c", "n1", []).unit("d", "n2", ["n1"]).build();
  const cuts = new Set<string>();
  const ending = new AbortController();
  const orders: { deadlineMs: number; held: ReadonlyMap<string, number> }[] = [];
  const nodes = new Map<string, { store: MemoryStore; session: NodeSession; promises: Promises; seals: Map<string, Seal>; delayMs: number }>();
  for (const name of ["n1", "n2", "n3"]) {
    const store = new MemoryStore(etcd);
    const session = new NodeSession({ node: name, store, clock, log, diskProblem: () => "", fence: { lostGeneration: () => 0, announce: (_generation, deadlineMs, held) => void (name === "n1" && orders.push({ deadlineMs, held })) } });
    const seals = new Map<string, Seal>();
    const promises = new Promises({ host: { node: name }, view: { current: () => picture }, session, clock } as unknown as NodeContext, (unit) => seals.get(unit));
    nodes.set(name, { store, session, promises, seals, delayMs: 0 });
    void session.run(ending.signal);
  }
  const of = (name: string) => nodes.get(name)!;
  const events: string[] = [];
  const peers = {
    call: async (to: string, _method: string, _path: string, body: unknown, { timeoutMs }: { timeoutMs: number }) => {
      const { delayMs, promises } = of(to);
      if (cuts.has(to) || delayMs > timeoutMs) {
        await clock.sleep(timeoutMs);
        throw new HcError("TIMEOUT", `${to} does not answer`);
      }
      await clock.sleep(delayMs / 2);
      const answer = promises.answer(body, "n1");
      await clock.sleep(delayMs / 2);
      return answer;
    },
  };
  const failsafe = new Failsafe({ context: { host: { node: "n1" }, view: { current: () => picture }, peers, clock, log, event: (unit: string, event: string, detail: string) => void events.push(`${unit} ${event} ${detail}`) } as unknown as NodeContext, session: of("n1").session, diskProblem: () => "" });
  void failsafe.run(ending.signal);
  await clock.advance(0);
  const quorum = (there: boolean): void => {
    for (const { store } of nodes.values()) store[there ? "heal" : "cut"]();
  };
  /** What receiver.ts does: refuses, or seals; the error's code or "". */
  const seal = (node: string, unit: string): string => {
    try {
      of(node).promises.assertNone(unit);
    } catch (error) {
      return (error as HcError).code;
    }
    of(node).seals.set(unit, laterSeal(of(node).seals.get(unit), { epoch: 1, generation: 1 }));
    return "";
  };
  return { clock, etcd, picture, of, cuts, ending, failsafe, quorum, events, seal, orders, home: of("n1").session };
}

test("etcd without quorum: what all copies promise goes on, with the same generation when it commits again", async () => {
  const { clock, home, quorum, failsafe, ending, etcd, orders } = await setup();
  await clock.advance(10_000);
  expect(failsafe.rounds).toBe(0);
  quorum(false);
  for (let s = 0; s < 300; s += 1) {
    await clock.advance(1000);
    expect([s, ["site-a", "site-b", "site-c"].filter((unit) => home.owns(unit))]).toEqual([s, ["site-a", "site-b", "site-c"]]);
  }
  expect(home.isLive()).toBe(false);
  expect(home.owns("site-d")).toBe(false);
  expect(failsafe.problem()).toContain("3 unit(s) at home on n1 go on");
  expect(orders.at(-1)!.held.size).toBe(3);
  quorum(true);
  await clock.advance(2000);
  expect(home.isLive()).toBe(true);
  expect((JSON.parse(etcd.get(keys.session("n1"))!.value) as SessionRecord).generation).toBe(1);
  expect(failsafe.problem()).toBe("");
  ending.abort();
});

test("a copy that stops answering: its units end within 5 s of the last question, the others go on; when it answers again they may go on", async () => {
  const { clock, home, quorum, cuts, ending, events } = await setup();
  await clock.advance(3000);
  quorum(false);
  await clock.advance(20_000);
  cuts.add("n3");
  await clock.advance(fenceMs);
  expect([home.owns("site-a"), home.owns("site-b"), home.owns("site-c")]).toEqual([true, false, true]);
  expect(events.filter((event) => event.startsWith("site-b promise-missing")).length).toBe(1);
  await clock.advance(30_000);
  cuts.delete("n3");
  await clock.advance(2000);
  expect(home.owns("site-b")).toBe(true);
  ending.abort();
});

test("a home that alone is cut off from etcd gets no promise: it is replaced, not held", async () => {
  const { clock, home, of, ending, failsafe } = await setup();
  await clock.advance(3000);
  of("n1").store.cut();
  await clock.advance(5000);
  expect([home.owns("site-a"), home.owns("site-b")]).toEqual([false, false]);
  // nobody else has a copy of it, and nobody can promote it
  expect(home.owns("site-c")).toBe(true);
  expect(failsafe.problem()).toContain("etcd commits on n2");
  ending.abort();
});

test("a promise and a seal exclude each other; a new process of a copy does not know what the one before has promised", async () => {
  const { clock, home, quorum, ending, seal, cuts } = await setup();
  expect(seal("n2", "site-a")).toBe("PROMISED"); // just started
  await clock.advance(graceMs);
  quorum(false);
  await clock.advance(6000);
  expect(home.owns("site-a")).toBe(true);
  expect(seal("n2", "site-a")).toBe("PROMISED");
  cuts.add("n2");
  await clock.advance(promiseMs);
  expect(seal("n2", "site-a")).toBe("");
  expect(home.owns("site-a")).toBe(false);
  cuts.delete("n2");
  await clock.advance(5000);
  expect(home.owns("site-a")).toBe(false);
  ending.abort();
});

test("the disks are not reached, or hcd starts anew without etcd: nothing is held", async () => {
  const { clock, picture, quorum, ending } = await setup();
  await clock.advance(3000);
  quorum(false);
  const fresh = new NodeSession({ node: "n1", store: { get: () => Promise.reject(new Error("no quorum")) } as never, clock, log, diskProblem: () => "" });
  const asks: string[] = [];
  const context = { host: { node: "n1" }, view: { current: () => picture }, peers: { call: async (node: string) => {
    asks.push(node);
    throw new Error("asked");
  } }, clock, log, event: () => undefined } as unknown as NodeContext;
  await new Failsafe({ context, session: fresh, diskProblem: () => "" }).step();
  const standing = { generation: 1, isStanding: () => true, silentMs: () => 3000, hold: () => Promise.reject(new Error("held")) };
  await new Failsafe({ context, session: standing, diskProblem: () => "the pool does not answer" }).step();
  expect(asks).toEqual([]);
  ending.abort();
});

test("which units are held, whom to ask, and who refuses", () => {
  const state = new StateBuilder().node("n1").node("n2").unit("a", "n1", ["n2"]).unit("old", "n1", ["n2"], { homeGeneration: 0 }).unit("new", "n1", [], { state: "creating" })
    .unit("going", "n1", ["n2"], { move: { id: "m", target: "n3", phase: "stopping" } as never }).unit("moving", "n1", ["n2"], { move: { id: "m", target: "n3", phase: "preparing" } as never }).unit("other", "n2", ["n1"]).build();
  const units = heldUnits(state, "n1", 1);
  expect(units).toEqual([{ unit: "site-a", epoch: 1, holders: ["n2"] }, { unit: "site-moving", epoch: 1, holders: ["n2", "n3"] }]);
  expect([...asked(units)]).toEqual([["n2", [{ unit: "site-a", epoch: 1 }, { unit: "site-moving", epoch: 1 }]], ["n3", [{ unit: "site-moving", epoch: 1 }]]]);
  const yes = { granted: new Set(["site-a", "site-moving"]), why: () => "" };
  expect(promised(units, new Map([["n2", yes]]))).toEqual({ held: ["site-a"], missing: new Map([["site-moving", "n3: no answer"]]) });
  const asking = { unit: "site-a", epoch: 1, from: "n1", generation: 1 };
  expect(refusal(state, "n2", asking, undefined)).toBe("");
  expect(refusal(state, "n2", { ...asking, epoch: 2 }, undefined)).toContain("its record says n1, epoch 1");
  expect(refusal(state, "n2", { ...asking, from: "n3" }, undefined)).toContain("its record says n1");
  expect(refusal(state, "n2", { ...asking, unit: "site-z" }, undefined)).toContain("no record");
  expect(refusal(state, "n2", asking, { epoch: 1, generation: 1 })).toContain("has sealed");
  expect(refusal(state, "n2", asking, { epoch: 1, generation: 0 })).toBe("");
  const dead = { ...state, sessions: new Map([["n1", { revision: "1", value: { version: 1 as const, node: "n1", generation: 1, counter: 3, dead: true as const } }]]) };
  expect(refusal(dead, "n2", asking, undefined)).toContain("declared dead");
  expect(heldUnits(dead, "n1", 1)).toEqual([]);
});

test("the fencer ends single units at their own deadlines, and all at the last one", () => {
  const unit = (name: string, deadlineMs?: number) => ({ unit: name, dataset: `hpool/hc/${name}`, mountpoint: `/hc/${name}`, ...(deadlineMs === undefined ? {} : { deadlineMs }) });
  const order = { version: 1 as const, bootId: "b", generation: 3, deadlineMs: 9000, units: [unit("site-a", 5000), unit("site-b", 9000), unit("site-c")] };
  expect(planFence(order, undefined, 4990)).toEqual({ do: "wait", ms: 10 });
  expect(planFence(order, undefined, 5000)).toEqual({ do: "part", units: [order.units[0]] });
  expect(planFence(order, undefined, 9000)).toMatchObject({ do: "fence", begin: true });
});

test("60 seeds: where a copy was sealed, the home owns the unit no more, whatever is cut, slow or back", async () => {
  const seen = { held: 0, promised: 0, sealed: 0 };
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = randomOf(seed);
    const { clock, of, home, cuts, quorum, seal, ending, etcd } = await setup();
    const sealed = new Set<string>();
    await clock.advance(graceMs);
    for (let step = 0; step < 80 && home.generation === 1; step += 1) {
      const what = random();
      const node = random() < 0.5 ? "n2" : "n3";
      if (what < 0.12) quorum(random() < 0.4);
      else if (what < 0.2) of(node).store[random() < 0.5 ? "cut" : "heal"]();
      else if (what < 0.35) if (random() < 0.5) cuts.add(node); else cuts.delete(node);
      else if (what < 0.45) of(node).delayMs = random() * 1200;
      else if (what < 0.65 && home.silentMs() >= promiseMs) {
        // the order of things: first its death is written, then copies are sealed
        const found = etcd.get(keys.session("n1"))!;
        etcd.txn([], [{ put: found.key, value: JSON.stringify({ ...(JSON.parse(found.value) as SessionRecord), dead: true }) }]);
        for (const unit of node === "n2" ? ["site-a", "site-b"] : ["site-b"]) if (seal(node, unit) === "") sealed.add(unit); else seen.promised += 1;
        seen.sealed += sealed.size;
      }
      for (let part = 0; part < 9; part += 1) {
        await clock.advance(random() * 100);
        if (home.generation !== 1) break; // another session takes units by a transaction of its own
        for (const unit of sealed) expect([seed, unit, home.owns(unit)]).toEqual([seed, unit, false]);
        if (home.owns("site-b") && !home.isLive()) seen.held += 1;
      }
    }
    ending.abort();
    await clock.advance(0);
  }
  expect(Math.min(seen.held, seen.promised, seen.sealed)).toBeGreaterThan(30);
}, 60_000);
