import type { NodeContext } from "../../daemon/context.js";
import { possibleLossS } from "../../daemon/failover/possible-loss.js";
import type { ObservedNode, ObservedUnit, UnitRecord } from "../../daemon/lib/records.js";
import { LagBook } from "../../daemon/replication/lag.js";
import { Counters } from "../../daemon/replication/metrics.js";
import { Snapshotter } from "../../daemon/replication/snapshotter.js";
import { SimClock } from "../support/sim-clock.js";

const record = (unit: string): UnitRecord => ({ unit, home: "n1", homeGeneration: 1, epoch: 1, replicas: ["n2"] }) as UnitRecord;

/** A node's snapshots over simulated time, confirmed as soon as they are made; who writes when is the test's. */
class Node {
  public readonly clock = new SimClock();
  public readonly lag = new LagBook(() => this.clock.monotonicMs());
  /** Seconds from the start at which snapshots were made, by unit. */
  public readonly made = new Map<string, number[]>();
  /** Units with something written that zfs tells of. */
  public readonly dirty = new Set<string>();
  public looks = 0;
  public readonly snapshotter: Snapshotter;
  private readonly startMs = this.clock.monotonicMs();
  private readonly newest = new Map<string, { name: string; atMs: number }>();
  public constructor(private readonly rpoS: Record<string, number>) {
    for (const unit of Object.keys(rpoS)) this.newest.set(unit, { name: "0", atMs: this.clock.wallMs() });
    const zfs = {
      written: async () => {
        this.looks += 1;
        return new Map(Object.keys(rpoS).map((unit) => [`hpool/hc/${unit}`, this.dirty.has(unit) ? "4096" : "0"]));
      },
      snapshot: async (names: string[]) => {
        for (const [unit, name] of names.map((full) => full.slice("hpool/hc/".length).split("@") as [string, string])) {
          this.dirty.delete(unit);
          this.newest.set(unit, { name, atMs: this.clock.wallMs() });
          this.made.set(unit, [...(this.made.get(unit) ?? []), this.seconds()]);
        }
      },
      snapshots: async (dataset: string) => [{ guid: "1", createtxg: "1", userrefs: 0, ...this.newest.get(dataset.slice("hpool/hc/".length)) }],
    };
    const confirm = (unit: string): void => this.lag.confirmed(unit, "n2", { guid: `guid of ${this.newest.get(unit)?.name ?? ""}`, snapshot: this.newest.get(unit)?.name ?? "" }, this.clock.wallMs());
    const context = { host: { node: "n1" }, cluster: { dataset: "hpool/hc" }, zfs, session: { generation: 1, owns: () => true }, clock: this.clock, log: { debug: () => undefined } } as unknown as NodeContext;
    this.snapshotter = new Snapshotter(context, { lag: this.lag, counters: new Counters(), isPaused: () => false, rpo: () => (unit) => this.rpoS[unit] ?? 10, record, made: confirm, failed: (_unit, error) => { throw error; } });
    for (const unit of Object.keys(rpoS)) confirm(unit);
  }
  public seconds(): number {
    return Math.round((this.clock.monotonicMs() - this.startMs) / 1_000);
  }
  public lagOf(unit: string): number {
    return this.lag.report().get(unit)?.["n2"]?.lagS ?? -1;
  }
  /** One look a second, as start.ts has it. */
  public async pass(seconds: number, write: (node: Node) => void = () => undefined, each: (node: Node) => void = () => undefined): Promise<void> {
    for (let at = 0; at < seconds; at += 1) {
      write(this);
      await this.clock.advance(1_000);
      await this.snapshotter.roundIfDue(Object.keys(this.rpoS).map(record), 1_000, () => true);
      each(this);
    }
  }
}
const gaps = (times: readonly number[] = []): number[] => times.slice(1).map((time, at) => time - (times[at] as number));

test("written each second: by default each look makes a snapshot, with an rpoS of 300 there are some 30 s between two, and the lag tells of them", async () => {
  const node = new Node({ "site-usual": 10, "site-slow": 300 });
  const lags: number[] = [];
  await node.pass(300, ({ dirty }) => void dirty.add("site-usual").add("site-slow"), () => {
    expect(node.lagOf("site-usual")).toBe(0);
    lags.push(node.lagOf("site-slow"));
  });
  expect(node.looks).toBe(300);
  expect(node.made.get("site-usual")).toHaveLength(300);
  expect(node.made.get("site-slow")?.length).toBeGreaterThanOrEqual(9);
  for (const gap of gaps(node.made.get("site-slow"))) expect(Math.abs(gap - 30)).toBeLessThanOrEqual(1);
  // it grows from a snapshot to the next: past 10 s by steps of 10, never too small, so that a report does not differ each second
  expect([...new Set(lags.filter((lagS) => lagS > 10))].sort()).toEqual([20, 30]);
  for (const [at, lagS] of lags.slice(1).entries()) expect(lagS === 0 || lagS >= (lags[at] as number)).toBe(true);
});

test("one write after a quiet time waits its time; the looks do not rest meanwhile, and it is snapshotted when it is due", async () => {
  const node = new Node({ "site-slow": 300 });
  await node.pass(60);
  const [quiet, began] = [node.looks, node.seconds()];
  expect(quiet).toBeLessThan(35);
  node.dirty.add("site-slow");
  await node.pass(35);
  const [made] = node.made.get("site-slow") ?? [];
  expect((made as number) - began).toBeGreaterThanOrEqual(27); // it may have been written since the look before, up to 3 s earlier
  expect((made as number) - began).toBeLessThanOrEqual(31);
  expect(node.looks - quiet).toBeGreaterThanOrEqual(29);
  expect([node.made.get("site-slow")?.length, node.lagOf("site-slow")]).toEqual([1, 0]);
});

test("who asks for a snapshot has it at once, and the time begins anew", async () => {
  const node = new Node({ "site-slow": 300, "site-other": 300 });
  const write = ({ dirty }: Node): void => void dirty.add("site-slow").add("site-other");
  await node.pass(10, write);
  expect(node.made.size).toBe(0);
  await node.snapshotter.now(record("site-slow"));
  await node.snapshotter.together([{ unit: "site-other", name: node.snapshotter.nameFor(record("site-other")) }]);
  expect([node.made.get("site-slow"), node.made.get("site-other"), node.lagOf("site-slow"), node.lagOf("site-other")]).toEqual([[10], [10], 0, 0]);
  await node.pass(35, write);
  expect(node.made.get("site-slow")).toEqual([10, 40]);
});

test("a wish that changes counts at the next look", async () => {
  const wish = { "site-slow": 86_400 };
  const node = new Node(wish);
  await node.pass(60, ({ dirty }) => void dirty.add("site-slow"));
  expect(node.made.size).toBe(0);
  wish["site-slow"] = 10;
  await node.pass(1);
  expect(node.made.get("site-slow")).toEqual([61]);
});

test("a snapshot of somebody else's takes nothing off what the replicas lack: ours follows when it is due", async () => {
  const node = new Node({ "site-slow": 300 });
  node.dirty.add("site-slow");
  await node.pass(10);
  node.dirty.clear();
  await node.pass(5);
  expect(node.lagOf("site-slow")).toBeGreaterThan(13);
  await node.pass(20);
  expect([node.made.get("site-slow"), node.lagOf("site-slow")]).toEqual([[30], 0]);
  await node.pass(60);
  expect(node.made.get("site-slow")).toHaveLength(1);
});

test("a home that dies while a write waits: what may be missing counts from that write, and not from the last look", async () => {
  const node = new Node({ "site-slow": 300 });
  const snapshotMs = node.clock.wallMs();
  await node.pass(20);
  const writtenMs = node.clock.wallMs();
  node.dirty.add("site-slow");
  for (let at = 0; at < 25; at += 1) {
    await node.pass(1);
    const lastAliveMs = node.clock.wallMs();
    const home = { replicas: node.lag.report().get("site-slow") } as ObservedUnit;
    const lossS = possibleLossS({ node: "n2", last: { guid: "1", atMs: snapshotMs }, home, homeNode: { unitsAtMs: node.snapshotter.lookedAtWallMs } as ObservedNode, lastAliveMs });
    expect(lossS).toBeGreaterThanOrEqual((lastAliveMs - writtenMs) / 1_000);
    expect(lossS).toBeLessThanOrEqual((lastAliveMs - writtenMs) / 1_000 + 21); // 7 s that nobody can see, looks that rest, and a lag that is told in steps of 10 s
  }
  expect(node.made.size).toBe(0);
});
