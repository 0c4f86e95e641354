import { createLogger } from "../../daemon/lib/log.js";
import { keys, type LeaderRecord } from "../../daemon/lib/records.js";
import { Leader } from "../../daemon/membership/leader.js";
import { Liveness } from "../../daemon/membership/liveness.js";
import { NodeSession } from "../../daemon/membership/session.js";
import type { NodeContext } from "../../daemon/context.js";
import { Planner } from "../../daemon/placement/planner.js";
import { MemoryState, MemoryStore } from "../../daemon/state/memory-store.js";
import { WatchedView } from "../../daemon/state/view.js";
import { SimClock } from "../support/sim-clock.js";

const log = createLogger("test", { write: () => undefined });
const names = ["n1", "n2", "n3"];

/** mulberry32: the same seed gives the same run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

class SimNode {
  public readonly store: MemoryStore;
  public readonly session: NodeSession;
  public readonly leader: Leader;
  public readonly planner: Planner;
  private readonly ending = new AbortController();
  /** ms that this node's watch lags behind at most; changed by the faults. */
  public lagMs = 30;
  public slowMs = 20;
  public constructor(public readonly name: string, state: MemoryState, clock: SimClock, dice: () => number) {
    this.store = new MemoryStore(state, { clock, requestMs: () => dice() * this.slowMs, answerMs: () => dice() * this.slowMs, watchMs: () => dice() * this.lagMs });
    const { store } = this;
    const view = new WatchedView(store, log);
    this.session = new NodeSession({ node: name, store, clock, log, diskProblem: () => "" });
    const liveness = new Liveness(clock, () => this.session.live());
    view.onSession((nodes) => liveness.seen(nodes));
    this.leader = new Leader({ node: name, store, view, session: this.session, liveness, clock, log });
    this.planner = new Planner({ context: { store, view, clock, log, event: () => undefined } as unknown as NodeContext, leader: this.leader, liveness });
    const { signal } = this.ending;
    void view.start(signal).then(() => Promise.all([this.leader.run(signal), this.planner.run(signal)]));
    void this.session.run(signal);
  }
  public kill(): void {
    this.ending.abort();
    this.store.cut();
  }
}

/** Three nodes, one etcd, seeded cuts, kills, restarts and lost answers; what must hold is looked at after each step. */
async function simulate(seed: number): Promise<{ elections: number; customers: number; faults: number }> {
  const dice = random(seed);
  const clock = new SimClock();
  const state = new MemoryState();
  const nodes = new Map(names.map((name) => [name, new SimNode(name, state, clock, dice)]));
  const cut = new Set<string>();
  const generations = new Map<string, number>();
  const owners = new Map<number, string>(); // uid → customer, for all time
  const leaders = new Map<number, string>(); // term → node
  let faults = 0;
  let customers = 0;
  const pick = (): string => names[Math.floor(dice() * names.length)] as string;
  const check = (): void => {
    const sure = [...nodes.values()].filter((node) => {
      const guard = node.leader.guard();
      return guard !== undefined && state.get(keys.leader)?.modRevision === guard.modRevision;
    });
    expect(sure.length).toBeLessThanOrEqual(1); // whose guarded writes would succeed
    const leader = state.get(keys.leader);
    if (leader !== undefined) {
      const record = JSON.parse(leader.value) as LeaderRecord;
      expect(leaders.get(record.term) ?? record.node).toBe(record.node);
      leaders.set(record.term, record.node);
    }
    for (const item of state.list("/hc/session/").items) {
      const record = JSON.parse(item.value) as { node: string; generation: number };
      expect(record.generation).toBeGreaterThanOrEqual(generations.get(record.node) ?? 0);
      generations.set(record.node, record.generation);
    }
    for (const item of state.list("/hc/customer/").items) {
      const record = JSON.parse(item.value) as { uid: number; name: string };
      expect(owners.get(record.uid) ?? record.name).toBe(record.name);
      owners.set(record.uid, record.name);
    }
    for (const [name, node] of nodes) {
      // fenced by its own clock: a live session never outlives 5 s without a commit that it knows of
      if (node.session.isLive()) expect(node.session.deadlineMs() - clock.monotonicMs()).toBeLessThanOrEqual(5000);
      if (cut.has(name)) expect(node.session.deadlineMs()).toBeLessThanOrEqual(clock.monotonicMs() + 5000);
    }
  };
  for (let step = 0; step < 80; step += 1) {
    const act = dice();
    const name = pick();
    const node = nodes.get(name) as SimNode;
    if (act < 0.12) {
      node.store.cut();
      cut.add(name);
      faults += 1;
    } else if (act < 0.3) {
      node.store.heal();
      cut.delete(name);
    } else if (act < 0.38) {
      node.kill();
      nodes.set(name, new SimNode(name, state, clock, dice));
      cut.delete(name);
      faults += 1;
    } else if (act < 0.48) {
      node.store.loseAnswers(1 + Math.floor(dice() * 3));
      faults += 1;
    } else if (act < 0.56) {
      node.lagMs = dice() < 0.5 ? 30 : 3000;
      node.slowMs = dice() < 0.7 ? 20 : 700;
      faults += 1;
    } else if (act < 0.8) {
      const customer = `c${Math.floor(dice() * 12)}`;
      const key = keys.desired("customer", customer);
      if (state.get(key) === undefined) state.txn([], [{ put: key, value: JSON.stringify({ version: 1, kind: "customer", name: customer, origin: "git", spec: { displayName: "", contact: "" } }) }]);
      else state.txn([], [{ delete: key }]);
      // two at once, so that a planner with an old picture would give one number twice
      state.txn([], [{ put: keys.desired("customer", `d${step}`), value: JSON.stringify({ version: 1, kind: "customer", name: `d${step}`, origin: "git", spec: { displayName: "", contact: "" } }) }]);
    }
    await clock.advance(Math.floor(dice() * 3000));
    check();
  }
  for (const node of nodes.values()) {
    node.store.heal();
    [node.lagMs, node.slowMs] = [30, 20];
  }
  cut.clear();
  await clock.advance(40_000);
  check();
  // all well again: somebody leads, everybody lives, and the plan is carried out
  expect([...nodes.values()].every((node) => node.session.isLive())).toBe(true);
  expect([...nodes.values()].filter((node) => node.leader.isLeader())).toHaveLength(1);
  const desired = state.list("/hc/desired/customer/").items.map((item) => item.key.split("/").at(-1));
  const active = state.list("/hc/customer/").items.map((item) => JSON.parse(item.value) as { name: string; deleted?: boolean }).filter((record) => record.deleted !== true).map((record) => record.name);
  expect(active.sort()).toEqual([...desired].sort());
  customers = owners.size;
  for (const node of nodes.values()) node.kill();
  return { elections: leaders.size, customers, faults };
}

const seeds = Array.from({ length: Number(process.env["HC_SEEDS"] ?? 20) }, (_, number) => number + 1);
test.each(seeds)("sessions, election and planner under faults, seed %i", async (seed) => {
  const seen = await simulate(seed);
  expect(seen.elections).toBeGreaterThanOrEqual(1);
});
test("the faults do reach the mechanism: over the seeds there are re-elections", async () => {
  const seen = await Promise.all([101, 102, 103].map(simulate));
  expect(seen.reduce((sum, one) => sum + one.elections, 0)).toBeGreaterThan(6);
  expect(seen.every((one) => one.faults > 5 && one.customers > 3)).toBe(true);
});
