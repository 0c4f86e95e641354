import { AgentCluster, root } from "../support/agent-cluster.js";
import { SimClock } from "../support/sim-clock.js";
import { randomOf } from "../support/kill-matrix.js";
import { keys } from "../../daemon/lib/records.js";

// Sessions, liveness, election, failover, failsafe, agents, replication and stash of three nodes in one process, in simulated time, with seeded delays and faults. HC_SEEDS=10000 for a long run (HC_FROM=5001: from there), HC_SEED=n for one.
const units = ["site-a", "site-b"];
interface Ack { unit: string; id: string; node: string; epoch: number }

async function simulate(seed: number, clock: SimClock, sum: { held: number }): Promise<{ failovers: number; lost: number; stashed: number }> {
  const random = randomOf(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const delays = randomOf(seed + 1_000_000);
  // mostly a few ms, at times some hundred, seldom longer than a heartbeat's try
  const latencyMs = (): number => {
    const kind = delays();
    return kind < 0.9 ? delays() * 5 : kind < 0.99 ? delays() * 200 : delays() * 900;
  };
  const cluster = new AgentCluster(["n1", "n2", "n3"], { control: true, clock, latencyMs });
  const pause = (ms: number): Promise<void> => clock.sleep(ms);
  await cluster.prepare();
  const acks: Ack[] = [];
  /** Of each fault: what the reachable copies held when it began, and whom it struck. */
  const faults: { node: string; safe: Map<string, ReadonlySet<string>>; from: number }[] = [];
  let writing = true;
  const files = (node: string, name: string): ReadonlyMap<string, string> => {
    try {
      return cluster.machine(node).zfs.files(name);
    } catch {
      return new Map();
    }
  };
  const write = async (): Promise<void> => {
    for (let n = 1; writing; n += 1) {
      for (const unit of units) {
        const takers: string[] = [];
        for (const node of cluster.names) if (await cluster.accepts(node, unit)) takers.push(node);
        // looked at one after the other: only who still accepts at the end accepts at the same moment
        const both: string[] = [];
        for (const node of takers) if (takers.length < 2 || (await cluster.accepts(node, unit))) both.push(node);
        if (both.length > 1 && cluster.record(unit) !== undefined) cluster.violations.push(`${unit} is accepted by ${both.join(" and ")}`);
        const [node] = both;
        if (node === undefined || !(await cluster.accepts(node, unit))) continue;
        const id = `w${n}`;
        cluster.machine(node).zfs.write(`${root}/${unit}`, id, node);
        acks.push({ unit, id, node, epoch: cluster.running.get(node)?.view.current().units.get(unit)?.value.epoch ?? 0 });
      }
      await pause(150);
    }
  };
  const inStep = async (): Promise<boolean> => {
    for (const unit of units) {
      const home = cluster.serves(unit);
      const record = cluster.record(unit);
      if (home === undefined || record === undefined || !(await cluster.accepts(home, unit))) return false;
      const newest = (await cluster.machine(home).zfs.snapshots(`${root}/${unit}`)).at(-1)?.guid;
      for (const node of record.replicas) if ((await cluster.machine(node).zfs.snapshots(`${root}/${unit}`).catch(() => [])).at(-1)?.guid !== newest) return false;
    }
    return true;
  };
  /** Accepted by a node whose sign of life is over: by the promise of its copies. */
  const held = async (unit: string): Promise<boolean> => {
    for (const node of cluster.names) if (cluster.running.get(node)?.session.isLive() === false && (await cluster.accepts(node, unit))) return true;
    return false;
  };
  try {
    for (const name of cluster.names) await cluster.start(name);
    await cluster.declareBase("n1");
    await cluster.until("template built", () => (JSON.parse(cluster.state.get(keys.template("php", "1"))?.value ?? "{}") as { state?: string }).state === "ready");
    await cluster.declareSite("a", "n1", ["n2"]);
    await cluster.declareSite("b", pick(cluster.names), []);
    await cluster.change("site-b", (record) => ({ ...record, replicas: cluster.names.filter((name) => name !== record.home) }));
    await cluster.until("in step at first", inStep, 30_000);
    const writer = write();
    for (let round = 0; round < 3; round += 1) {
      await pause(1_000 + random() * 3_000);
      const home = cluster.record(pick(units))?.home as string;
      const node = random() < 0.75 ? home : pick(cluster.names);
      const kind = pick(["power", "process", "cut", "cut", "power"] as const);
      const safe = new Map<string, ReadonlySet<string>>();
      for (const unit of units) {
        // whoever is left: the copy that is furthest, by its newest snapshot (the writer's home itself when it stays)
        let best: ReadonlySet<string> = new Set();
        for (const other of cluster.names.filter((name) => name !== node)) {
          const last = (await cluster.machine(other).zfs.snapshots(`${root}/${unit}`).catch(() => [])).at(-1);
          const held = last === undefined ? new Set<string>() : new Set([...files(other, `${root}/${unit}@${last.name}`).keys()].filter((name) => name.startsWith("w")));
          if (held.size > best.size) best = held;
        }
        safe.set(unit, best);
      }
      faults.push({ node, safe, from: acks.length });
      if (random() < 0.3) cluster.machine(pick(cluster.names)).store.loseAnswers(1 + Math.floor(random() * 2));
      // etcd is without quorum before the fault, and for a while after it
      const silent = random() < 0.3;
      if (silent) {
        cluster.quorum(false);
        await pause(random() * 9_000);
        for (const unit of units) if (await held(unit)) sum.held += 1;
      }
      if (kind === "cut") cluster.cut(node);
      else if (kind === "power") await cluster.powerCut(node);
      else cluster.kill(node);
      await pause(random() * 25_000);
      if (silent) cluster.quorum(true);
      if (kind === "cut") cluster.heal(node);
      else await cluster.start(node);
      await cluster.until(`in step after fault ${round + 1} (${kind} ${node})`, inStep, 30_000);
    }
    writing = false;
    await writer;
    await cluster.until("in step at last", inStep, 30_000);
    let lost = 0;
    for (const { unit, id, node, epoch } of acks) {
      const home = cluster.record(unit)?.home as string;
      if (files(home, `${root}/${unit}`).has(id)) continue;
      lost += 1;
      const at = acks.findIndex((ack) => ack.unit === unit && ack.id === id);
      // lost only with the node that had taken it, at a fault of that node, and only when no other copy had it when that began
      const excused = faults.some((fault) => fault.node === node && !(fault.safe.get(unit)?.has(id) ?? false) && (faults[faults.indexOf(fault) + 1]?.from ?? acks.length) > at);
      if (!excused) cluster.violations.push(`${unit}: ${id}, taken by ${node} at epoch ${epoch}, is gone from ${home}`);
      // and it is in a stash of the node that had taken it
      const stash = (await cluster.machine(node).zfs.datasets(root)).filter(({ name }) => name.startsWith(`${root}/stash/${unit}-`));
      // (or still in its copy's present, when the new home has written nothing since: the next increment puts it into the stash)
      if (!stash.some(({ name }) => files(node, name).has(id)) && !files(node, `${root}/${unit}`).has(id)) cluster.violations.push(`${unit}: ${id}, taken by ${node} at epoch ${epoch}, is gone and in no stash of it`);
    }
    expect(cluster.violations).toEqual([]);
    const stashed = cluster.events.filter((event) => event.includes(" stashed ")).length;
    return { failovers: cluster.events.filter((event) => event.includes(" failover ")).length, lost, stashed };
  } finally {
    writing = false;
    await cluster.stopAll();
  }
}

const only = process.env["HC_SEED"];
const from = Number(process.env["HC_FROM"] ?? "1");
const seeds = only === undefined ? Array.from({ length: Number(process.env["HC_SEEDS"] ?? "200") }, (_, index) => from + index) : [Number(only)];
test(`${seeds.length} seeds of faults: one writer at any time, nothing lost that another copy held, what is lost is in a stash, every site served in the end`, async () => {
  const failures: string[] = [];
  const sum = { failovers: 0, lost: 0, stashed: 0, held: 0 };
  for (const seed of seeds) {
    const clock = new SimClock();
    try {
      const seen = await clock.drive(simulate(seed, clock, sum), 3_600_000);
      sum.failovers += seen.failovers;
      sum.lost += seen.lost;
      sum.stashed += seen.stashed;
    } catch (error) {
      failures.push(`seed ${seed}: ${(error as Error).message.slice(0, 3000)}`);
    }
  }
  expect(failures).toEqual([]);
  // the faults do reach the mechanism
  if (seeds.length >= 20) expect(Math.min(sum.failovers, sum.lost, sum.stashed, sum.held)).toBeGreaterThan(0);
}, 3_600_000 * 4);
