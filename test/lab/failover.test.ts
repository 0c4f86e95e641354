
import { delay } from "../../daemon/lib/abort.js";
import type { Status, StatusUnit } from "../../daemon/lib/status.js";
import type { Lab } from "../../providers/lab/lab.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import type { StashAnswer } from "../../daemon/replication/stash-routes.js";
import type { StashDiff } from "../../daemon/vault/stash-desk.js";
import { inflict } from "../chaos/inflict.js";
import { HcProject, stepText } from "../support/hc-project.js";
import { judgeLedger, LedgerClient, ledgerContent, type Outcome, readLedger } from "../support/ledger.js";

// Must hold 1–4 of self-healing, each once: the benchmark and the chaos runner do them many times.
jest.setTimeout(300_000);
const nodes = ["n1", "n2", "n3"] as const;
const host = "ledger.localhost";
let project: HcProject;
let lab: Lab;
let address: Record<string, string>;

const status = (): Promise<Status> => project.status();
/** What a person would look at. */
const eventually = <T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> => project.eventually(what, withinMs, look, [["status"], ["why", "ledger"]], nodes);
const inside = (node: string, line: string): Promise<string> => project.inside(node, line);
const pidOf = async (node: string): Promise<number> => lab.pid(await lab.node(node)) as number;
const guidsOf = async (node: string): Promise<string[]> => (await inside(node, "zfs list -H -d 1 -t snapshot -o guid -s createtxg hpool/hc/site-ledger")).split("\n");
const stashesOf = async (node: string): Promise<string[]> => (await inside(node, "zfs list -H -d 1 -t filesystem -o name hpool/hc/stash 2>/dev/null || true")).split("\n").filter((name) => name.startsWith("hpool/hc/stash/"));
const inStep = (): Promise<StatusUnit> => eventually("the ledger serves, its replica is in step", 90_000, async () => {
  const unit = (await status()).units.find(({ id }) => id === "site-ledger");
  return unit?.state === "serving" && unit.replicas.length === 1 && unit.replicas.every(({ state, lagSeconds }) => state === "replica" && lagSeconds !== null && lagSeconds < 10) ? unit : undefined;
});
const clientsAt = (names: readonly string[], run: string): LedgerClient[] => names.map((name) => new LedgerClient({ address: address[name] as string, host, name: `${run}-${name}` }));
const stopAll = async (clients: readonly LedgerClient[]): Promise<Outcome[]> => (await Promise.all(clients.map((client) => client.stop()))).flat();
/** Seconds of writes that the newest failover said may be missing. */
async function reportedLossS(epoch: number): Promise<number> {
  const { stdout } = await project.hc(["why", "ledger"]);
  const said = new RegExp(`epoch ${epoch}, from .*; at most ([0-9]+) s of writes are missing`).exec(stdout);
  if (said === null) throw new Error(`no failover to epoch ${epoch} in the history:\n${stdout}`);
  return Number(said[1]);
}

beforeAll(async () => {
  project = new HcProject(`failover-${process.pid}`);
  project.wish.sites = { ledger: { content: ledgerContent, quota: "256M" } };
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
  lab = project.lab();
  address = Object.fromEntries((await status()).nodes.map(({ name, address: at }) => [name, at]));
}, 400_000);
afterAll(async () => {
  await closeConnections();
  expect(await project.remove()).toBe(0);
});

test("the home loses power under load: served elsewhere, nothing lost beyond what was reported, and back as a replica by increments", async () => {
  const before = await inStep();
  const others = nodes.filter((node) => node !== before.home);
  const clients = clientsAt(others, "kill");
  await eventually("records are acknowledged", 20_000, async () => (clients.every(({ acknowledged }) => acknowledged.length > 20) ? true : undefined));
  const common = await guidsOf(before.replicas[0]!.node);
  const killedMs = Date.now();
  expect((await project.hc(["lab", "kill", before.home])).code).toBe(0);
  await eventually("records are acknowledged at the new home", 60_000, async () => (clients.some(({ acknowledged }) => acknowledged.some(({ epoch }) => epoch > before.epoch)) ? true : undefined));
  const outcomes = await stopAll(clients);
  const after = await eventually("it serves at its replica", 30_000, async () => (await status()).units.find(({ id, state, home }) => id === "site-ledger" && state === "serving" && home === before.replicas[0]?.node));
  expect(after.epoch).toBe(before.epoch + 1);
  const verdict = judgeLedger(outcomes, (await readLedger(address[after.home] as string, host)) ?? []);
  expect(verdict.violations).toEqual([]);
  const lossS = await reportedLossS(after.epoch);
  expect(verdict.lost.filter(({ endMs }) => endMs < killedMs - lossS * 1000)).toEqual([]);
  // the old home comes back
  expect((await project.hc(["lab", "start", before.home])).code).toBe(0);
  const healed = await inStep();
  expect(healed).toMatchObject({ home: after.home, epoch: after.epoch, replicas: [{ node: before.home }] });
  expect((await guidsOf(before.home)).some((guid) => common.includes(guid))).toBe(true);
});

test("the home is cut off under load: never two writers, its tail is in the stash, and it is a replica again by increments", async () => {
  const before = await inStep();
  const others = nodes.filter((node) => node !== before.home);
  const clients = [...clientsAt(others, "cut"), new LedgerClient({ address: "127.0.0.1", host, name: `cut-inside-${before.home}`, inside: await pidOf(before.home) })];
  await eventually("records are acknowledged on both sides", 20_000, async () => (clients.every(({ acknowledged }) => acknowledged.length > 20) ? true : undefined));
  const common = await guidsOf(before.replicas[0]!.node);
  const inStash = (await stashesOf(before.home)).length;
  const cutMs = Date.now();
  expect((await project.hc(["lab", "cut", before.home])).code).toBe(0);
  await eventually("records are acknowledged at the new home", 60_000, async () => (clients.some(({ acknowledged }) => acknowledged.some(({ epoch }) => epoch > before.epoch)) ? true : undefined));
  await delay(3_000); // both sides go on asking: what is looked for is that nothing happens
  const outcomes = await stopAll(clients);
  expect((await project.hc(["lab", "heal", before.home])).code).toBe(0);
  const after = await inStep();
  expect(after).toMatchObject({ home: before.replicas[0]?.node, epoch: before.epoch + 1, replicas: [{ node: before.home }] });
  const verdict = judgeLedger(outcomes, (await readLedger(address[after.home] as string, host)) ?? []);
  expect(verdict.violations).toEqual([]);
  const lossS = await reportedLossS(after.epoch);
  expect(verdict.lost.filter(({ endMs }) => endMs < cutMs - lossS * 1000)).toEqual([]);
  // the cut-off side has acknowledged records until its deadline; they are lost to the site, and kept
  const tail = outcomes.filter(({ id, status: code, error, endMs }) => id.startsWith("cut-inside") && code === 200 && error === "" && endMs > cutMs + 500);
  expect(tail.length).toBeGreaterThan(0);
  const stashed = (await stashesOf(before.home)).slice(inStash);
  expect(stashed).toHaveLength(1);
  const kept = await inside(before.home, `zfs set mountpoint=/mnt ${stashed[0]}; zfs mount ${stashed[0]} && cat $(find /mnt -name ledger.txt); zfs unmount ${stashed[0]}`);
  expect(verdict.lost.filter(({ id }) => !kept.includes(` ${id}\n`) && !kept.endsWith(` ${id}`)).filter(({ endMs }) => endMs < cutMs + 3_000)).toEqual([]);
  expect((await guidsOf(before.home)).some((guid) => common.includes(guid))).toBe(true);
});

test("a control process that is stopped for 20 s loses its units and gets them back only by a person", async () => {
  const before = await inStep();
  const clients = clientsAt(nodes, "stop");
  await eventually("records are acknowledged", 20_000, async () => (clients.every(({ acknowledged }) => acknowledged.length > 20) ? true : undefined));
  const pid = await inside(before.home, "systemctl show -p MainPID --value hcd.service");
  const stoppedMs = Date.now();
  await inside(before.home, `kill -STOP ${pid}`);
  await eventually("records are acknowledged at the new home", 60_000, async () => (clients.some(({ acknowledged }) => acknowledged.some(({ epoch }) => epoch > before.epoch)) ? true : undefined));
  await eventually("20 s are over", 30_000, async () => (Date.now() - stoppedMs > 20_000 ? true : undefined));
  await inside(before.home, `kill -CONT ${pid}`);
  await delay(5_000);
  const outcomes = await stopAll(clients);
  const after = await inStep();
  expect(after).toMatchObject({ home: before.replicas[0]?.node, epoch: before.epoch + 1, replicas: [{ node: before.home }] });
  const verdict = judgeLedger(outcomes, (await readLedger(address[after.home] as string, host)) ?? []);
  expect(verdict.violations).toEqual([]);
  const lossS = await reportedLossS(after.epoch);
  expect(verdict.lost.filter(({ endMs }) => endMs < stoppedMs - lossS * 1000)).toEqual([]);
});

test("what lies in the stash is listed, and destroyed only by a person's word", async () => {
  const { stashes, unreachable } = await project.json<StashAnswer>(["stash", "list"]);
  expect(unreachable).toEqual([]);
  const lying = (await Promise.all(nodes.map(stashesOf))).flat().map((name) => name.replace("hpool/hc/stash/", ""));
  expect(stashes.map(({ id }) => id).sort()).toEqual(lying.sort());
  expect(stashes.length).toBeGreaterThan(0);
  for (const { unit, common, usedBytes } of stashes) expect([unit, common, Number(usedBytes) > 0]).toEqual(["site-ledger", expect.stringMatching(/^[0-9]+-2/), true]);
  // what was written last may lie in an intent log that only a mount replays: of the node that lost its power, of the one that was cut off
  const diffs = await Promise.all(stashes.map(({ id }) => project.json<StashDiff>(["stash", "diff", id])));
  for (const diff of diffs) expect(diff).toMatchObject({ complete: true, unread: 0 });
  expect(diffs.flatMap(({ differences }) => differences.map(({ path }) => path))).toContainEqual(expect.stringContaining("ledger.txt"));
  const ids = stashes.map(({ id }) => id);
  expect((await project.hc(["stash", "discard", ...ids])).code).toBe(4);
  expect((await project.hc(["stash", "discard", "--yes", ...ids])).code).toBe(0);
  expect((await project.hc(["stash", "list"])).stdout).toBe("The stash is empty.\n");
  await inStep();
});

test("a site whose policy is manual waits for a person, says so, and comes back by hc promote", async () => {
  project.wish.sites = { ledger: { content: ledgerContent, quota: "256M", failover: { policy: "manual" } } };
  expect((await project.operate("up")).done.map(stepText)).toEqual(["update Site ledger (failover)"]);
  const before = await inStep();
  const tooEarly = await project.hc(["promote", "ledger"]);
  expect([tooEarly.code, tooEarly.stderr]).toEqual([4, expect.stringContaining("was not declared dead")]);
  expect((await project.hc(["lab", "kill", before.home])).code).toBe(0);
  await eventually("hc why says what it waits for", 40_000, async () => ((await project.hc(["why", "ledger"])).stdout.includes("its policy is manual: `hc promote ledger` brings it back") ? true : undefined));
  expect((await status()).units[0]).toMatchObject({ home: before.home, epoch: before.epoch, state: "down" });
  const promotedBy = await project.hc(["promote", "ledger"]);
  expect([promotedBy.stderr, promotedBy.stdout]).toEqual(["", `site-ledger is at home on ${before.replicas[0]?.node}, epoch ${before.epoch + 1}.\n`]);
  await eventually("it answers", 30_000, () => readLedger(address[before.replicas[0]?.node as string] as string, host));
  expect((await project.hc(["lab", "start", before.home])).code).toBe(0);
  expect(await inStep()).toMatchObject({ home: before.replicas[0]?.node, replicas: [{ node: before.home }] });
});

test("a node that is drained is empty afterwards, and takes sites again when it is undrained", async () => {
  const before = await inStep();
  const clients = clientsAt(nodes, "drain");
  const drained = await project.hc(["node", "drain", before.home]);
  expect([drained.code, drained.stdout]).toEqual([0, `${before.home} is empty.\n`]);
  const away = await inStep();
  expect([away.home, away.replicas.map(({ node }) => node)]).not.toContain(before.home);
  expect([away.home, ...away.replicas.map(({ node }) => node)].sort()).toEqual(nodes.filter((node) => node !== before.home));
  // nobody counts on it any more: the node puts it away by itself
  await eventually("its copy is gone from the disk", 20_000, async () => ((await inside(before.home, "zfs list -H -o name hpool/hc/site-ledger 2>/dev/null || true")) === "" ? true : undefined));
  expect((await status()).nodes.filter(({ drained: marked }) => marked).map(({ name }) => name)).toEqual([before.home]);
  expect((await project.hc(["node", "undrain", before.home])).code).toBe(0);
  expect((await status()).nodes.some(({ drained: marked }) => marked)).toBe(false);
  const verdict = judgeLedger(await stopAll(clients), (await readLedger(address[away.home] as string, host)) ?? []);
  expect([verdict.violations, verdict.lost]).toEqual([[], []]);
  expect((await project.hc(["move", "ledger", "--to", before.home])).code).toBe(0);
});

test("a node that is fenced by order owns nothing until it is unfenced; its site is served elsewhere", async () => {
  project.wish.sites = { ledger: { content: ledgerContent, quota: "256M" } };
  expect((await project.operate("up")).done.map(stepText)).toEqual(["update Site ledger (failover)"]);
  const before = await inStep();
  const fenced = await project.hc(["fence", before.home, "--reason", "it misbehaves"]);
  expect([fenced.stderr, fenced.stdout]).toEqual(["", `${before.home} is fenced; 1 of its 1 sites are served elsewhere.\n`]);
  expect(await inside(before.home, "zfs get -H -o value mounted hpool/hc/site-ledger")).toBe("no");
  const seen = await status();
  expect(seen.units[0]).toMatchObject({ home: before.replicas[0]?.node, epoch: before.epoch + 1, state: "serving" });
  expect(seen.attention.map(({ what }) => what).join()).toContain(`node ${before.home} is fenced: it misbehaves`);
  expect((await project.hc(["fence", before.replicas[0]!.node])).code).toBe(4);
  expect((await project.hc(["unfence", before.home])).code).toBe(0);
  expect(await inStep()).toMatchObject({ home: before.replicas[0]?.node, replicas: [{ node: before.home }] });
});

test("etcd without quorum: sites go on by the promise of their copies; one whose copy dies too is stopped; nothing moves when the quorum is back", async () => {
  const before = await inStep();
  const replica = before.replicas[0]!.node;
  const other = nodes.find((node) => node !== before.home && node !== replica)!;
  const sessions = (): Promise<string> => inside(before.home, "journalctl -u hcd -o cat --no-pager | grep -c 'session started'");
  const sessionsBefore = await sessions();
  const clients = clientsAt([before.home, other], "quorum");
  const acknowledged = (): { endMs: number; epoch: number }[] => clients.flatMap((client) => client.acknowledged).sort((a, b) => a.endMs - b.endMs);
  await eventually("records are acknowledged", 20_000, async () => (clients.every((client) => client.acknowledged.length > 20) ? true : undefined));
  const goOn = [await inflict(lab, { kind: "pause-etcd", node: replica, peer: "", seconds: 0 }), await inflict(lab, { kind: "pause-etcd", node: other, peer: "", seconds: 0 })];
  const stoppedMs = Date.now();
  await eventually("25 s are over", 30_000, async () => (Date.now() - stoppedMs > 25_000 ? true : undefined));
  const during = acknowledged().filter(({ endMs }) => endMs > stoppedMs - 1000);
  const gap = during.reduce((longest, { endMs }, at) => Math.max(longest, endMs - (during[at - 1]?.endMs ?? endMs)), 0);
  expect([gap < 3000, during.at(-1)!.endMs > stoppedMs + 23_000, gap]).toEqual([true, true, gap]);
  const seen = await status();
  expect(seen.attention[0]).toMatchObject({ severity: "critical", what: expect.stringContaining("etcd does not commit (no quorum") });
  expect([seen.units[0]?.state, seen.nodes.every(({ alive }) => alive)]).toEqual(["serving", true]);
  for (const go of goOn.splice(0)) await go();
  await eventually("etcd commits again", 30_000, async () => ((await status()).attention.some(({ what }) => what.includes("no quorum")) ? undefined : true));
  // the same sign of life went on: no new session, so no new start
  expect(await sessions()).toBe(sessionsBefore);
  // once more, and now the copy dies: 5 s after its last promise nothing is served any more
  for (const node of [replica, other]) goOn.push(await inflict(lab, { kind: "pause-etcd", node, peer: "", seconds: 0 }));
  const againMs = Date.now();
  // past the deadline of its last sign of life: by promises alone
  await eventually("it goes on by promises", 30_000, async () => (acknowledged().at(-1)!.endMs > againMs + 7_000 ? true : undefined));
  const killedMs = Date.now();
  expect((await project.hc(["lab", "kill", replica])).code).toBe(0);
  await eventually("the site is ended on its home", 20_000, async () => ((await inside(before.home, "zfs get -H -o value mounted hpool/hc/site-ledger")) === "no" ? true : undefined));
  expect(acknowledged().at(-1)!.endMs).toBeLessThan(killedMs + 8_000);
  expect(acknowledged().at(-1)!.endMs).toBeGreaterThan(killedMs + 1_000);
  for (const go of goOn.slice(1)) await go();
  await eventually("it serves again where it was", 30_000, async () => (acknowledged().at(-1)!.endMs > killedMs + 10_000 ? true : undefined));
  expect((await project.hc(["lab", "start", replica])).code).toBe(0);
  expect(await inStep()).toMatchObject({ home: before.home, epoch: before.epoch });
  const verdict = judgeLedger(await stopAll(clients), (await readLedger(address[before.home] as string, host)) ?? []);
  expect([verdict.violations, verdict.lost]).toEqual([[], []]);
});
