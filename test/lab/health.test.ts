
import { runProbe } from "../../cli/probe/run-probe.js";
import type { Status, StatusUnit } from "../../daemon/lib/status.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { HcProject } from "../support/hc-project.js";
import { judgeLedger, LedgerClient, ledgerContent, readLedger } from "../support/ledger.js";

// A node that lives and does not do its work: local repair first, another node only when that does not help; a node without its disks is no node.
jest.setTimeout(300_000);
const nodes = ["n1", "n2", "n3"];
const host = "ledger.localhost";
let project: HcProject;
let address: Record<string, string>;

const status = (): Promise<Status> => project.status();
const eventually = <T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> => project.eventually(what, withinMs, look, [["status"], ["why", "ledger"]], nodes);
const inside = (node: string, line: string): Promise<string> => project.inside(node, line);
const unitWhen = (what: string, withinMs: number, fits: (unit: StatusUnit) => boolean): Promise<StatusUnit> => eventually(what, withinMs, async () => {
  const unit = (await status()).units.find(({ id }) => id === "site-ledger");
  return unit !== undefined && fits(unit) ? unit : undefined;
});
const inStep = (): Promise<StatusUnit> => unitWhen("the ledger serves, its replica is in step", 90_000, ({ state, replicas }) => state === "serving" && replicas.length === 1 && replicas.every((one) => one.state === "replica" && one.lagSeconds !== null && one.lagSeconds < 10));
const why = async (): Promise<string> => (await project.hc(["why", "ledger"])).stdout;
const clientAt = (node: string, run: string): LedgerClient => new LedgerClient({ address: address[node] as string, host, name: run });
async function acknowledgedMore(client: LedgerClient, withinMs: number): Promise<void> {
  const before = client.acknowledged.length;
  await eventually("another record is acknowledged", withinMs, async () => (client.acknowledged.length > before + 3 ? true : undefined));
}

beforeAll(async () => {
  project = new HcProject(`health-${process.pid}`);
  project.wish.sites = { ledger: { content: ledgerContent, quota: "256M" } };
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
  address = Object.fromEntries((await status()).nodes.map(({ name, address: at }) => [name, at]));
}, 400_000);
afterAll(async () => {
  await closeConnections();
  expect(await project.remove()).toBe(0);
});

test.each([
  { what: "a web server", at: (home: string) => nodes.find((node) => node !== home) as string, of: "pgrep -x apache2", event: "web-server-restarted", withinMs: 60_000 },
  { what: "a proxy worker", at: (home: string) => home, of: "pgrep -f '[h]cd.cjs worker' | head -1", event: "proxy-restarted", withinMs: 40_000 },
])("$what that hangs is started anew, and nothing moves", async ({ at, of, event, withinMs }) => {
  const before = await inStep();
  const client = clientAt(at(before.home), event);
  await acknowledgedMore(client, 20_000);
  await inside(before.home, `kill -STOP $(${of})`);
  await eventually("it was started anew", withinMs, async () => ((await project.hc(["events"])).stdout.includes(event) ? true : undefined));
  await acknowledgedMore(client, 30_000);
  await client.stop();
  const after = await inStep();
  expect([after.home, after.epoch]).toEqual([before.home, before.epoch]);
});

test("a control process that is killed, and proxy workers that an upgrade replaces one by one, fail no request", async () => {
  const { home } = await inStep();
  const workers = async (): Promise<string[]> => (await inside(home, "pgrep -f '[h]cd.cjs worker'")).trim().split("\n").sort();
  const [before, stop] = [await workers(), new AbortController()];
  const probe = runProbe({ urls: [new URL(`http://${host}/?wait=100`)], to: Object.values(address), clients: 12, rate: 40, seconds: 0, timeoutMs: 40_000, status: 200, write: true, insecure: false }, stop.signal, () => undefined);
  await inside(home, "kill -KILL $(systemctl show -p MainPID --value hcd.service)");
  await inStep();
  expect(await workers()).toEqual(before);
  // another place of the same build is another build to hcd
  await inside(home, "lib=/usr/local/lib/hybridcluster; now=$(basename $(dirname $(grep -o '[^ \"]*hcd.cjs' /etc/systemd/system/hcd.service | head -1))); cp -a $lib/$now $lib/other && sed -i \"s#/$now/hcd.cjs#/other/hcd.cjs#\" /etc/systemd/system/hcd.service && systemctl daemon-reload && systemctl restart hcd");
  await eventually("all workers are of the new build", 150_000, async () => {
    const [all, old] = [await workers(), (await inside(home, "pgrep -f '[o]ther/hcd.cjs worker' || true")).trim().split("\n").sort()];
    return all.length === before.length && all.join() === old.join() && !all.some((pid) => before.includes(pid)) ? true : undefined;
  });
  stop.abort();
  const { urls: [seen] } = await probe;
  expect(seen).toMatchObject({ failed: 0, failures: [], writes: { lost: [], doubled: [], disordered: [] } });
  expect((await project.hc(["events"])).stdout.match(/proxy-restarted/g) ?? []).toHaveLength(1); // of the test before
});

test.each([
  ["that somebody unmounts", "zfs unmount -f hpool/hc/site-ledger"],
  ["that zfs-fuse dies under", "kill -KILL $(pgrep -x zfs-fuse)"],
])("a dataset %s is mounted again, its container started anew upon it, and nothing moves", async (_what, line) => {
  const before = await inStep();
  const client = clientAt(nodes.find((node) => node !== before.home) as string, `mount${line.length}`);
  await acknowledgedMore(client, 20_000);
  await inside(before.home, line);
  await acknowledgedMore(client, 60_000);
  const outcomes = await client.stop();
  const after = await inStep();
  expect(after.home).toBe(before.home);
  expect(judgeLedger(outcomes, (await readLedger(address[after.home] as string, host)) ?? [])).toMatchObject({ violations: [], lost: [] });
});

test("a site that its home cannot start moves in order to its copy, and says why", async () => {
  const before = await inStep();
  const client = clientAt(nodes.find((node) => node !== before.home) as string, "start");
  await acknowledgedMore(client, 20_000);
  // php-fpm is gone on this node: neither supervisor nor hcd can bring it back
  await inside(before.home, "for file in /usr/sbin/php-fpm*; do mv $file $file.away; done; kill -KILL $(pgrep -f '[p]hp-fpm: master')");
  const after = await unitWhen("another home serves it", 200_000, ({ home, state }) => home !== before.home && state === "serving");
  expect(after.epoch).toBe(before.epoch + 1);
  await acknowledgedMore(client, 30_000);
  const outcomes = await client.stop();
  expect(await why()).toContain(`${before.home} could not keep it running`);
  expect((await project.hc(["events"])).stdout).toContain("unfit-here");
  // a planned move: nothing that was acknowledged is missing
  expect(judgeLedger(outcomes, (await readLedger(address[after.home] as string, host)) ?? []).lost).toEqual([]);
  await inside(before.home, "for file in /usr/sbin/php-fpm*.away; do mv $file ${file%.away}; done");
  const settled = await inStep();
  expect(settled.home).toBe(after.home); // no way back by itself
});

test("a node that reaches etcd and not its disks loses its units, and is a copy again when they answer", async () => {
  const before = await inStep();
  const client = clientAt(nodes.find((node) => node !== before.home) as string, "disks");
  await acknowledgedMore(client, 20_000);
  const began = Date.now();
  await inside(before.home, "kill -STOP $(pgrep -x zfs-fuse)");
  try {
    const after = await unitWhen("a copy is home", 60_000, ({ home, state }) => home !== before.home && state === "serving");
    expect(after.epoch).toBeGreaterThan(before.epoch);
    await acknowledgedMore(client, 30_000);
    process.stderr.write(`disks gone: served elsewhere after ${Math.round((Date.now() - began) / 100) / 10} s\n`);
  } finally {
    await inside(before.home, "kill -CONT $(pgrep -x zfs-fuse)");
  }
  await client.stop();
  const settled = await inStep();
  expect(settled.replicas.map(({ node }) => node)).toEqual([before.home]);
});

test("a home that renews and that nobody reaches is relieved, and let in again when it is reached", async () => {
  const before = await inStep();
  const other = before.replicas[0]?.node as string;
  const client = clientAt(other, "unreachable");
  await acknowledgedMore(client, 20_000);
  // what others ask of it is never answered; etcd, and what it asks itself, go on
  const rules = (what: string): string => [4430, 4431].flatMap((port) => ["ip", "ip -6"].map((ip) => `${ip} rule ${what} pref ${port} ipproto 6 sport ${port} blackhole`)).join("; ");
  await inside(before.home, rules("add"));
  try {
    const after = await unitWhen("a copy that can be reached is home", 90_000, ({ home, state }) => home !== before.home && state === "serving");
    expect(after.epoch).toBeGreaterThan(before.epoch);
    await acknowledgedMore(client, 30_000);
    expect((await project.hc(["events"])).stdout).toContain("most nodes cannot reach it");
  } finally {
    await inside(before.home, rules("del"));
  }
  await client.stop();
  await eventually("its fence ends by itself", 150_000, async () => ((await status()).nodes.find(({ name }) => name === before.home)?.alive === true ? true : undefined));
  expect((await inStep()).replicas.map(({ node }) => node)).toEqual([before.home]);
});
