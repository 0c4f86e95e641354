import { errorCode } from "../../daemon/lib/errors.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import { ReplicationCluster } from "../support/replication-cluster.js";
import { SimClock } from "../support/sim-clock.js";

/**
 * Three nodes, several units, seeded faults, simulated time. After every step:
 * 1. the newest snapshot of every replica exists at the unit's home (common ground is never pruned);
 * 2. what a replica has acknowledged it still has, or something newer of the same history;
 * 3. snapshots of one guid have one content, wherever they lie;
 * 4. a receive, a prune or a change of direction has destroyed nothing at a home: its files are what was written.
 * After healing, every replica catches up by itself, and nothing is kept of any cut stream.
 */
const root = "hpool/hc";
const names = ["n1", "n2", "n3"];
const never = new AbortController().signal;
const seeds = process.env["HC_SOAK"] === "1" ? 200 : 12;

function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Simulation {
  public readonly clock = new SimClock();
  // everything is thinned out within seconds, so that pruning races with everything else
  public readonly cluster = new ReplicationCluster(root, this.clock, { retention: { allMs: 5_000, maxRecent: 3, hourlyMs: 10_000, dailyMs: 10_000, weeklyMs: 10_000 }, pruneMs: 700, templateMs: 900, verifyMs: 20_000 });
  public readonly zfs = new Map<string, FakeZfs>();
  /** What each unit's files should be at its home. */
  public readonly truth = new Map<string, Map<string, string>>();
  /** "unit>node" → content digests acknowledged, oldest first. */
  public readonly acked = new Map<string, string>();
  public readonly digests = new Map<string, string>();
  public readonly trace: string[] = [];
  public moves = 0;
  private counter = 0;
  /** `resumable`: nodes whose zfs can receive in parts. */
  public constructor(public readonly random: () => number, private readonly resumable: readonly string[]) {}

  public pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.random() * items.length)] as T;
  }
  public of(name: string): FakeZfs {
    return this.zfs.get(name) as FakeZfs;
  }
  public home(unit: string): string {
    return this.cluster.units.get(unit)?.value.home ?? "";
  }
  public async begin(): Promise<void> {
    for (const name of names) {
      const zfs = createFakeZfs({ seed: name, resumable: this.resumable.includes(name), nowMs: () => this.clock.wallMs() });
      await zfs.create(root, {});
      this.zfs.set(name, zfs);
      this.cluster.addNode(name, zfs);
      await this.cluster.start(name);
    }
    const first = this.of("n1");
    await first.create(`${root}/tmpl-php`, {});
    await first.mount(`${root}/tmpl-php`);
    first.write(`${root}/tmpl-php`, "app", "a".repeat(500));
    await first.unmount(`${root}/tmpl-php`);
    await first.snapshot([`${root}/tmpl-php@1`]);
    const guid = (await first.snapshots(`${root}/tmpl-php`))[0]?.guid ?? "";
    this.cluster.putTemplate("php", "1", guid, "n1");
    for (const unit of ["site-a", "site-b", "site-c"]) {
      await first.clone(`${root}/tmpl-php@1`, `${root}/${unit}`, { "hybridcluster:unit": unit });
      await first.mount(`${root}/${unit}`);
      await first.snapshot([`${root}/${unit}@1-20300101T000000.000Z-n1`]);
      this.truth.set(unit, new Map([["app", "a".repeat(500)]]));
      this.cluster.putUnit({ unit, home: "n1", replicas: unit === "site-c" ? ["n2"] : ["n2", "n3"], origin: { template: "php", version: "1", guid } });
    }
    this.cluster.fault = () => {
      const dice = this.random();
      if (dice < 0.12) return { cutAtByte: Math.floor(this.random() * 900) };
      if (dice < 0.18) return { flipByte: Math.floor(this.random() * 900) };
      if (dice < 0.3) return { loseAnswer: true };
      return undefined;
    };
  }
  private write(unit: string): void {
    const home = this.home(unit);
    this.counter += 1;
    const [file, text] = [`f${Math.floor(this.random() * 4)}`, String(this.counter).repeat(1 + Math.floor(this.random() * 30))];
    this.of(home).write(`${root}/${unit}`, file, text);
    this.truth.get(unit)?.set(file, text);
  }
  private async move(unit: string): Promise<void> {
    const record = this.cluster.units.get(unit)?.value;
    const from = record?.home ?? "";
    const target = this.pick(record?.replicas ?? []);
    if (record === undefined || !this.cluster.node(from).up || !this.cluster.node(target).up) return;
    const source = this.cluster.replication(from);
    await this.during(source.pause(unit));
    await this.of(from).unmount(`${root}/${unit}`);
    try {
      await this.during(source.snapshotNow(unit, never));
      await this.during(source.sendNow(unit, target, never));
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      await this.of(from).mount(`${root}/${unit}`); // the way back: the home stays
      source.resume(unit);
      this.trace.push(`move of ${unit} to ${target} undone: ${(error as Error).message}`);
      return;
    }
    this.cluster.putUnit({ unit, home: target, replicas: [...record.replicas.filter((node) => node !== target), from], epoch: record.epoch + 1 });
    await this.of(target).set(`${root}/${unit}`, { readonly: "off", "hybridcluster:epoch": String(record.epoch + 1), "hybridcluster:home": target });
    await this.of(target).mount(`${root}/${unit}`);
    source.resume(unit);
    this.moves += 1;
  }
  /** Time goes on while something is awaited. */
  private async during<T>(act: Promise<T>): Promise<T> {
    let done = false;
    const outcome = act.then((value) => ({ value }), (error: unknown) => ({ error })).finally(() => { done = true; });
    for (let i = 0; i < 2_000 && !done; i += 1) await this.clock.advance(50);
    const seen = await outcome;
    if ("error" in seen) throw seen.error;
    return seen.value;
  }
  public async step(): Promise<void> {
    const dice = this.random();
    const node = this.pick(names);
    const unit = this.pick([...this.truth.keys()]);
    const [a, b] = [this.pick(names), this.pick(names)];
    if (dice < 0.5) {
      if (this.cluster.node(this.home(unit)).up) this.write(unit);
    } else if (dice < 0.58) {
      this.trace.push(`crash ${node}`);
      await this.cluster.stop(node);
    } else if (dice < 0.72) {
      for (const name of names) if (!this.cluster.node(name).up) await this.cluster.start(name);
    } else if (dice < 0.77) this.cluster.cuts.add(`${a}>${b}`);
    else if (dice < 0.84) this.cluster.cuts.clear();
    else if (dice < 0.9) await this.crashBeforeAck(node);
    else {
      this.trace.push(`move ${unit}`);
      await this.move(unit);
    }
    await this.clock.advance(Math.floor(this.random() * 3_000));
  }
  /** The receiver dies between the receive and its acknowledgement. */
  private async crashBeforeAck(node: string): Promise<void> {
    if (!this.cluster.node(node).up) return;
    let received = "";
    this.of(node).onOperation = (operation, name) => {
      if (operation === "receive") received = name;
      else if (received !== "" && operation === "snapshots" && name === received) throw new Error("killed");
    };
    await this.clock.advance(2_000);
    await this.cluster.stop(node);
    this.of(node).onOperation = undefined;
    await this.cluster.start(node);
  }

  public async check(): Promise<void> {
    for (const [unit, files] of this.truth) {
      const home = this.home(unit);
      const dataset = `${root}/${unit}`;
      expect(Object.fromEntries(this.of(home).files(dataset))).toEqual(Object.fromEntries(files));
      const here = await this.of(home).snapshots(dataset);
      for (const node of names) {
        const there = await this.of(node).snapshots(dataset).catch(() => []);
        for (const snapshot of there) {
          const digest = this.of(node).digest(`${dataset}@${snapshot.name}`);
          expect(this.digests.get(snapshot.guid) ?? digest).toBe(digest);
          this.digests.set(snapshot.guid, digest);
        }
        const newest = there.at(-1);
        if (node === home || newest === undefined) continue;
        expect(here.map((item) => item.guid)).toContain(newest.guid);
        const acked = this.acked.get(`${unit}>${node}`);
        const position = (guid: string): number => Number(this.order.get(guid) ?? this.order.set(guid, this.order.size).get(guid));
        for (const item of here) position(item.guid);
        if (acked !== undefined) expect(position(newest.guid)).toBeGreaterThanOrEqual(position(acked));
      }
      if (this.cluster.node(home).up)
        for (const [node, report] of Object.entries(this.cluster.replication(home).report().get(unit) ?? {})) if (report.guid !== "") this.acked.set(`${unit}>${node}`, report.guid);
    }
  }
  private readonly order = new Map<string, number>();
}

test.each(Array.from({ length: seeds }, (_, index) => index + 1))("seed %i", async (seed) => {
  // by turns nobody, everybody, and some: a mixed cluster
  const simulation = new Simulation(random(seed * 7919), [[], names, ["n1", "n2"], names][seed % 4] ?? []);
  try {
    await simulation.begin();
    await simulation.check();
    for (let step = 0; step < 60; step += 1) {
      await simulation.step();
      await simulation.check();
    }
    simulation.cluster.fault = undefined;
    simulation.cluster.cuts.clear();
    for (const name of names) if (!simulation.cluster.node(name).up) await simulation.cluster.start(name);
    await simulation.clock.advance(60_000);
    await simulation.check();
    for (const [unit] of simulation.truth) {
      const record = simulation.cluster.units.get(unit)?.value;
      for (const node of record?.replicas ?? []) {
        expect(simulation.of(node).digest(`${root}/${unit}`)).toBe(simulation.of(record?.home ?? "").digest(`${root}/${unit}`));
        expect(simulation.cluster.replication(record?.home ?? "").report().get(unit)?.[node]).toMatchObject({ lagS: 0, error: "" });
        expect((await simulation.of(node).datasets(`${root}/${unit}`))[0]?.origin).toBe(`${root}/tmpl-php@1`);
      }
      for (const node of names) expect([...(await simulation.of(node).partials(root)).keys()]).toEqual([]);
      // bounded, whatever happened
      for (const node of names) expect((await simulation.of(node).snapshots(`${root}/${unit}`).catch(() => [])).length).toBeLessThan(20);
    }
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}\n${simulation.trace.slice(-12).join("\n")}`, { cause: error });
  } finally {
    await simulation.cluster.stopAll();
  }
});
