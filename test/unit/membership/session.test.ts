import { createLogger } from "../../../daemon/lib/log.js";
import { keys, type SessionRecord } from "../../../daemon/lib/records.js";
import { NodeSession } from "../../../daemon/membership/session.js";
import { Liveness } from "../../../daemon/membership/liveness.js";
import { DiskProbe } from "../../../daemon/membership/disk-probe.js";
import { MemoryState, MemoryStore } from "../../../daemon/state/memory-store.js";
import { SimClock } from "../../support/sim-clock.js";
import { StateBuilder } from "../placement/fixture.js";

const log = createLogger("test", { write: () => undefined });
function setup(told: string[] = []) {
  const clock = new SimClock();
  const state = new MemoryState();
  const store = new MemoryStore(state);
  let disk = "";
  const session = new NodeSession({ node: "n1", store, clock, log: createLogger("test", { write: (line) => void told.push(line) }), diskProblem: () => disk });
  const record = (): SessionRecord => JSON.parse(state.get(keys.session("n1"))?.value ?? "null") as SessionRecord;
  return { clock, state, store, session, record, setDisk: (text: string) => (disk = text) };
}

test("a sign of life is committed each second and counts for 5 s from its sending", async () => {
  const { clock, session, record } = setup();
  const ending = new AbortController();
  const running = session.run(ending.signal);
  await clock.advance(0);
  expect(session.isLive()).toBe(true);
  expect(session.generation).toBe(1);
  expect(session.deadlineMs()).toBe(5000);
  await clock.advance(3000);
  expect(record()).toMatchObject({ generation: 1, counter: 4 });
  expect(session.deadlineMs()).toBe(8000);
  ending.abort();
  await running;
});

test("a node that is fenced by order loses its session at the next beat, says why, and lives again when the order is taken back", async () => {
  const { session, state, clock } = setup();
  expect(await session.beat()).toBe(true);
  state.txn([], [{ put: keys.fence("n1"), value: JSON.stringify({ version: 1, node: "n1", reason: "disk errors", atMs: 0 }) }]);
  await clock.advance(1000);
  expect(await session.beat()).toBe(false);
  expect([session.isLive(), session.problem()]).toEqual([false, "fenced by order: disk errors (`hc unfence n1` lets it live again)"]);
  expect(session.silentMs()).toBe(0); // etcd has answered: this is no loss of quorum
  expect(await session.beat()).toBe(false); // no new generation either
  state.txn([], [{ delete: keys.fence("n1") }]);
  expect(await session.beat()).toBe(true);
  expect([session.isLive(), session.generation]).toEqual([true, 2]);
});

test("a sign of life is tried at each member of etcd quickly, then with more patience, and quickly again after an answer", async () => {
  const { session, store } = setup();
  const patience: (number | undefined)[] = [];
  const txn = store.txn.bind(store);
  store.txn = (compare, ops, options) => {
    patience.push(options?.timeoutMs);
    return txn(compare, ops, options);
  };
  expect(await session.beat()).toBe(true);
  store.cut();
  for (let beats = 0; beats < 5; beats += 1) expect(await session.beat()).toBe(false);
  store.heal();
  expect([await session.beat(), await session.beat()]).toEqual([true, true]);
  expect(patience).toEqual([400, 400, 400, 400, 800, 800, 800, 400]);
});

test("without commits the session ends exactly at its deadline, and a later commit does not bring that generation back", async () => {
  const { clock, session, store, record } = setup();
  expect(await session.beat()).toBe(true);
  store.cut();
  await clock.advance(4999);
  expect(await session.beat()).toBe(false);
  expect([session.isLive(), session.silentMs()]).toEqual([true, 4999]);
  await clock.advance(1);
  expect(session.isLive()).toBe(false);
  store.heal();
  expect(await session.beat()).toBe(true);
  expect(session.generation).toBe(2);
  expect(record()).toMatchObject({ generation: 2, counter: 1 });
});

test("a lost answer is not a lost act: the heartbeat that did commit counts, from when it was first sent", async () => {
  const { clock, session, store, record } = setup();
  await session.beat();
  await clock.advance(1000);
  store.loseAnswers(1);
  expect(await session.beat()).toBe(false);
  expect(session.deadlineMs()).toBe(5000);
  await clock.advance(400);
  expect(await session.beat()).toBe(true);
  expect(record()).toMatchObject({ generation: 1, counter: 2 });
  expect(session.deadlineMs()).toBe(6000);
  expect(session.generation).toBe(1);
});

test("a generation that was declared dead never renews", async () => {
  const { session, state, record } = setup();
  await session.beat();
  const found = state.get(keys.session("n1"));
  state.txn([{ key: keys.session("n1"), modRevision: found?.modRevision ?? "" }], [{ put: keys.session("n1"), value: JSON.stringify({ ...record(), dead: true }) }]);
  expect(await session.beat()).toBe(false);
  expect(session.isLive()).toBe(false);
  expect(session.problem()).toContain("declared dead");
  expect(record()).toMatchObject({ generation: 1, dead: true });
  expect(await session.beat()).toBe(true);
  expect(record()).toEqual({ version: 1, node: "n1", generation: 2, counter: 1, by: expect.any(String) });
});

test("of two processes of one node only one holds a live generation", async () => {
  const { clock, session, store, state } = setup();
  await session.beat();
  const other = new NodeSession({ node: "n1", store: new MemoryStore(state), clock, log, diskProblem: () => "" });
  expect(await other.beat()).toBe(true);
  expect(await session.beat()).toBe(false);
  expect(session.isLive()).toBe(false);
  expect(other.isLive()).toBe(true);
  expect(store).toBeDefined();
});

test("no sign of life while the disks are not trusted, and the journal says so once", async () => {
  const told: string[] = [];
  const { clock, session, setDisk, record } = setup(told);
  await session.beat();
  setDisk("the disks do not answer");
  await clock.advance(1000);
  expect(await session.beat()).toBe(false);
  expect(record()).toMatchObject({ counter: 1 });
  expect([session.problem(), session.silentMs()]).toEqual(["the disks do not answer", 0]);
  expect(await session.beat()).toBe(false);
  setDisk("");
  expect(await session.beat()).toBe(true);
  const lines = told.map((line) => JSON.parse(line) as { msg: string; reason?: string }).filter(({ msg }) => msg.includes("disks"));
  expect(lines.map(({ msg, reason }) => [msg, reason])).toEqual([["no sign of life while the disks are not trusted", "the disks do not answer"], ["the disks are trusted again", undefined]]);
});

test("the disk is trusted for 10 s after the beginning of a probe that ended well", async () => {
  const clock = new SimClock();
  let broken: Error | undefined;
  const probe = new DiskProbe("/x", clock, async () => {
    if (broken !== undefined) throw broken;
  });
  expect(probe.problem()).toContain("as long as hcd runs");
  await probe.probe();
  expect(probe.problem()).toBe("");
  broken = new Error("EIO");
  await clock.advance(9999);
  await probe.probe();
  expect(probe.problem()).toBe("");
  await clock.advance(1);
  expect(probe.problem()).toMatch(/10 s.*EIO/);
  // a full pool is no dead one
  broken = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
  await probe.probe();
  expect(probe.problem()).toBe("");
});

test("silence of others counts only while the own session is live", async () => {
  const clock = new SimClock();
  let live = { sinceMs: 0, untilMs: Number.POSITIVE_INFINITY };
  const liveness = new Liveness(clock, () => live);
  const state = new StateBuilder().node("n1").node("n2").build();
  liveness.seen(["n1", "n2"]);
  await clock.advance(2000);
  liveness.seen(["n1"]);
  expect(liveness.silentMs("n2")).toBe(2000);
  live = { sinceMs: 0, untilMs: 2000 };
  await clock.advance(60_000);
  expect(liveness.silentMs("n2")).toBe(2000);
  expect(liveness.isAlive(state, "n2")).toBe(true);
  // alive again: the others are given the whole time once more, whatever was silent before
  live = { sinceMs: 62_000, untilMs: Number.POSITIVE_INFINITY };
  expect(liveness.silentMs("n2")).toBe(0);
  await clock.advance(3999);
  expect(liveness.isAlive(state, "n2")).toBe(true);
  liveness.seen(["n1"]);
  await clock.advance(1);
  expect([...liveness.alive(state)]).toEqual(["n1"]);
  expect(liveness.silentMs("n9")).toBe(Number.POSITIVE_INFINITY);
});

test("the live time has its beginning and its end: a break begins it anew, also of a generation that promises have held", async () => {
  const { clock, session, store } = setup();
  expect(session.live().untilMs).toBe(Number.NEGATIVE_INFINITY);
  await session.beat();
  await clock.advance(4000);
  await session.beat();
  expect(session.live()).toEqual({ sinceMs: 0, untilMs: 9000 });
  store.cut();
  session.hold(1, new Map([["site-a", 60_000]]));
  await clock.advance(20_000);
  expect(session.live()).toEqual({ sinceMs: 0, untilMs: 9000 });
  store.heal();
  await session.beat();
  expect([session.generation, session.live()]).toEqual([1, { sinceMs: 24_000, untilMs: 29_000 }]);
});

describe("a control process that starts while its predecessor's deadline is ahead", () => {
  /** n1 with a generation 1 that committed at 0; then a new process's session over the same etcd. */
  function handover(more: { lostGeneration?: number; deadlineMs?: number } = {}) {
    const before = setup();
    const orders: { generation: number; deadlineMs: number }[] = [];
    const next = new NodeSession({
      node: "n1", store: before.store, clock: before.clock, log, diskProblem: () => "",
      fence: { lostGeneration: () => more.lostGeneration ?? 0, announce: (generation, deadlineMs) => void orders.push({ generation, deadlineMs }), predecessor: () => ({ generation: 1, deadlineMs: more.deadlineMs ?? 5000 }) },
    });
    return { ...before, next, orders };
  }

  test("goes on with its generation, so that homes and tables stay as they are", async () => {
    const { session, next, clock, record, orders } = handover();
    await session.beat();
    await clock.advance(3000);
    expect(next.isLive()).toBe(false); // not before a commit of its own
    expect(await next.beat()).toBe(true);
    expect([next.isLive(), next.isInherited, next.generation, next.deadlineMs(), record().counter, orders]).toEqual([true, true, 1, 8000, 2, [{ generation: 1, deadlineMs: 8000 }]]);
    expect(next.live().sinceMs).toBe(3000); // others' silence counts from here
    await clock.advance(1000);
    expect(await next.beat()).toBe(true);
    expect(record()).toMatchObject({ generation: 1, counter: 3 });
  });

  test("and when an answer is lost on the way", async () => {
    const { session, next, store, clock, record } = handover();
    await session.beat();
    await clock.advance(2000);
    store.loseAnswers(1);
    expect(await next.beat()).toBe(false);
    await clock.advance(400);
    expect(await next.beat()).toBe(true);
    expect([next.generation, next.isInherited, record().counter, next.deadlineMs()]).toEqual([1, true, 3, 7400]);
  });

  test.each([
    ["when the deadline has passed", {}, 5000, undefined],
    ["when the fencer has ended that generation", { lostGeneration: 1 }, 1000, undefined],
    ["when it was declared dead", {}, 1000, { dead: true }],
    ["when etcd knows another one", {}, 1000, { generation: 7 }],
  ] as const)("takes a generation of its own %s", async (_name, more, afterMs, change) => {
    const { session, next, state, clock, record } = handover(more);
    await session.beat();
    if (change !== undefined) state.txn([], [{ put: keys.session("n1"), value: JSON.stringify({ ...record(), ...change }) }]);
    await clock.advance(afterMs);
    expect(await next.beat()).toBe(true);
    expect(next.generation).toBe(change !== undefined && "generation" in change ? 8 : 2);
    expect([next.isInherited, record().generation]).toEqual([false, next.generation]);
  });

  test("a commit that is seen after the deadline does not bring it back", async () => {
    const { session, next, store, clock } = handover();
    await session.beat();
    await clock.advance(4900);
    store.loseAnswers(1);
    expect(await next.beat()).toBe(false); // it did commit, nobody heard of it
    await clock.advance(200);
    expect(next.isLive()).toBe(false);
    expect(await next.beat()).toBe(true);
    expect([next.generation, next.isInherited]).toEqual([2, false]);
  });

  test("two of them at once: one goes on, the other one takes a generation of its own and ends it", async () => {
    const { session, next, clock } = handover();
    await session.beat();
    expect(await next.beat()).toBe(true);
    await clock.advance(1000);
    expect(await session.beat()).toBe(false);
    expect([session.isLive(), next.isLive()]).toEqual([false, true]);
    expect(await session.beat()).toBe(true);
    expect(session.generation).toBe(2);
    await clock.advance(1000);
    expect(await next.beat()).toBe(false);
    expect(next.isLive()).toBe(false);
  });
});
