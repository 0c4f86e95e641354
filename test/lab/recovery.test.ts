import { copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Status, StatusUnit } from "../../daemon/lib/status.js";
import type { AdoptAnswer } from "../../daemon/recovery/adopt.js";
import type { QuorumStatus } from "../../daemon/recovery/quorum-routes.js";
import type { Lab } from "../../providers/lab/lab.js";
import { nodeFolder } from "../../providers/lab/place.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { HcProject, stepText } from "../support/hc-project.js";
import { judgeLedger, LedgerClient, ledgerContent, readLedger } from "../support/ledger.js";

// What docs/recovery.md promises: etcd restored from an old backup mounts no old history, and one pool's disks bring everything back.
jest.setTimeout(300_000); // each takes about a minute and a half
const nodes = ["n1", "n2", "n3"] as const;
const host = "ledger.localhost";
const sites = { ledger: { content: ledgerContent, quota: "256M", placement: { require: ["n1", "n2"] } }, plain: { placement: { require: ["n1", "n2"] } } };
const keep = mkdtempSync(join(tmpdir(), "hc-kept-"));
let project: HcProject;
let lab: Lab;
let address: Record<string, string>;

const status = (): Promise<Status> => project.status();
const quorum = (): Promise<QuorumStatus> => project.json<QuorumStatus>(["quorum", "status"]);
const inside = (node: string, line: string): Promise<string> => project.inside(node, line);
const eventually = <T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> => project.eventually(what, withinMs, () => look().catch(() => undefined), [["status"], ["quorum", "status"], ["why", "ledger"]], nodes);
const inStep = (name: string): Promise<StatusUnit> => eventually(`${name} serves, its replica is in step`, 90_000, async () => {
  const unit = (await status()).units.find(({ id }) => id === `site-${name}`);
  if (unit?.state !== "serving" || unit.replicas.length !== 1 || !unit.replicas.every(({ state, lagSeconds }) => state === "replica" && lagSeconds === 0)) return undefined;
  // a lag is known a moment after the write: the disks tell
  const newest = (node: string): Promise<string> => inside(node, `zfs list -H -d 1 -t snapshot -o name -s createtxg hpool/hc/site-${name} | tail -1`);
  return (await inside(unit.home, `zfs get -Hp -o value written hpool/hc/site-${name}`)) === "0" && (await newest(unit.home)) === (await newest(unit.replicas[0]!.node)) ? unit : undefined;
});
/** The same while it is written to: a copy is never wholly in step then. */
const copied = (name: string): Promise<StatusUnit> => eventually(`${name} serves, its replica follows`, 90_000, async () => {
  const unit = (await status()).units.find(({ id }) => id === `site-${name}`);
  return unit?.state === "serving" && unit.replicas.length === 1 && unit.replicas.every(({ state, lagSeconds }) => state === "replica" && lagSeconds !== null && lagSeconds < 10) ? unit : undefined;
});
async function addresses(): Promise<void> {
  address = Object.fromEntries((await status()).nodes.map(({ name, address: at }) => [name, at]));
}

beforeAll(async () => {
  project = new HcProject(`recovery-${process.pid}`);
  project.wish.sites = sites;
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
  lab = project.lab();
  await addresses();
}, 400_000);
afterAll(async () => {
  await closeConnections();
  rmSync(keep, { recursive: true, force: true });
  expect(await project.remove()).toBe(0);
});

test("etcd restored from a backup of before a failover: nothing mounts the old history, and what was acknowledged since is served at a higher epoch", async () => {
  const before = await inStep("ledger");
  const [was, is] = [before.home, before.replicas[0]!.node];
  const pki = "/var/lib/hybridcluster/etcd-pki";
  await inside("n3", `etcdctl --endpoints https://127.0.0.1:2379 --cacert ${pki}/ca.crt --cert ${pki}/node.crt --key ${pki}/node.key snapshot save /root/etcd.db`);
  // a failover that the backup does not know, while the old home cannot see it
  const clients = nodes.filter((node) => node !== was).map((node) => new LedgerClient({ address: address[node] as string, host, name: `backup-${node}` }));
  expect((await project.hc(["lab", "kill", was])).code).toBe(0);
  await eventually("records are acknowledged at the new home", 60_000, async () => (clients.some(({ acknowledged }) => acknowledged.filter(({ epoch }) => epoch > before.epoch).length > 10) ? true : undefined));
  const asked = await project.hc(["quorum", "recover", "--on", "n3", "--from", "/root/etcd.db"]);
  expect([asked.code, asked.stderr]).toEqual([4, expect.stringContaining("would be thrown away")]);
  const planned = await project.hc(["quorum", "recover", "--on", "n3", "--from", "/root/etcd.db", "--replace"]);
  expect([planned.code, planned.stdout]).toEqual([0, expect.stringContaining("Nothing was changed")]);
  const done = await project.hc(["quorum", "recover", "--on", "n3", "--from", "/root/etcd.db", "--replace", "--yes"]);
  expect([done.stderr, done.code]).toEqual(["", 0]);
  // the node that is the home by the backup, and knows nothing else, comes back first: it must not serve what it has
  await eventually("the recovery waits for the old home alone", 60_000, async () => ((await quorum()).waitsFor.map(({ node }) => node).join() === was ? true : undefined));
  for (const node of [is, "n3"]) expect(await inside(node, "zfs mount | grep -c site-ledger || true")).toBe("0");
  const refused = await project.hc(["move", "ledger", "--to", is]);
  expect(refused.code).not.toBe(0);
  expect((await project.hc(["lab", "start", was])).code).toBe(0);
  const after = await copied("ledger");
  expect([after.home, after.replicas.map(({ node }) => node), after.epoch > before.epoch + 1]).toEqual([is, [was], true]);
  const outcomes = (await Promise.all(clients.map((client) => client.stop()))).flat();
  const verdict = judgeLedger(outcomes, (await readLedger(address["n3"] as string, host)) ?? []);
  expect(verdict.violations).toEqual([]);
  expect(verdict.lost.filter(({ epoch }) => epoch > before.epoch)).toEqual([]);
  const told = await eventually("all three vote again", 60_000, async () => {
    const seen = await quorum();
    return seen.recovery?.state === "done" && seen.voters.every(({ answers, learner }) => answers && !learner) ? seen : undefined;
  });
  expect(told.recovery?.detail).toMatch(/2 units rebuilt from the disks of n1, n2, n3$/);
  expect((await project.hc(["quorum", "status"])).code).toBe(0);
  // the next `up` finds its program as it left it
  expect((await project.operate("up")).done.map(stepText)).toEqual([]);
});

test("all nodes, the state and the project's home are gone: the program and one pool's disks bring the sites back", async () => {
  const before = await inStep("ledger");
  const plain = await inStep("plain");
  const client = new LedgerClient({ address: address["n3"] as string, host, name: "last" });
  await eventually("records are acknowledged", 20_000, async () => (client.acknowledged.length > 10 ? true : undefined));
  await client.stop();
  await inStep("ledger");
  const written = await readLedger(address["n3"] as string, host);
  // the disk of the replica stays; the home, etcd, keys and state are lost
  const kept = before.replicas[0]!.node;
  for (const node of nodes) await lab.kill(node);
  copyFileSync(join(nodeFolder(lab.place.dir, kept), "disks", "d0.img"), join(keep, "d0.img"));
  for (const node of nodes) await lab.destroyNode(node);
  const home = readdirSync(join(project.folder, "home")).find((name) => name.startsWith("hc-project")) as string;
  const passphrase = readFileSync(join(project.folder, "home", home, "passphrase"), "utf8").trim();
  const settings = readFileSync(join(project.folder, "Pulumi.local.yaml"), "utf8"); // in git: what it encrypts is read with the passphrase
  rmSync(project.folder, { recursive: true, force: true });

  project = new HcProject(`again-${process.pid}`);
  project.wish.sites = sites;
  project.env["PULUMI_CONFIG_PASSPHRASE"] = passphrase;
  writeFileSync(join(project.folder, "Pulumi.local.yaml"), settings);
  // new machines, the disk is put into the first
  const program = readFileSync(join(project.folder, "index.js"), "utf8");
  writeFileSync(join(project.folder, "index.js"), `${program.slice(0, program.indexOf("const hosts ="))}`);
  const machines = await project.operate("up");
  if (machines.ran.code !== 0) throw new Error(machines.error);
  lab = project.lab();
  await lab.kill("n1");
  renameSync(join(keep, "d0.img"), join(nodeFolder(lab.place.dir, "n1"), "disks", "d0.img"));
  await lab.start("n1");
  writeFileSync(join(project.folder, "index.js"), program);
  // the lab's nodes import what they find; a machine does not, and `up` never takes a pool over by itself, nor makes one over it
  await inside("n1", "zpool list -H -o name hpool && zpool export hpool");
  const refused = await project.operate("up");
  expect([refused.ran.code, refused.error]).toEqual([1, expect.stringContaining("lies exported on the disks of this host")]);
  await inside("n1", "zpool import -f -d /disks hpool && zfs set hybridcluster:pool=n1-pool hpool/hc");
  const waits = await project.operate("up");
  expect([waits.ran.code, waits.error]).toEqual([1, expect.stringContaining("`hc adopt-pool n1` takes it over")]);
  const plan = await project.json<AdoptAnswer>(["adopt-pool", "n1"]);
  expect(plan.entries.map(({ unit, action, error }) => [unit, action, error])).toEqual([["site-ledger", "take", ""], ["site-plain", "take", ""]]);
  // nothing was made anew beside it
  expect((await status()).units.map(({ id, home, epoch }) => [id, home, epoch])).toEqual([["site-ledger", "", 0], ["site-plain", "", 0]]);
  const adopted = await project.hc(["adopt-pool", "n1", "--yes"]);
  expect([adopted.code, adopted.stdout]).toEqual([0, expect.stringContaining("becomes home")]);
  const up = await project.operate("up");
  expect([up.ran.code, up.error.trim()]).toEqual([0, ""]);
  await addresses();
  const after = await inStep("ledger");
  expect([after.home, after.epoch > before.epoch, (await inStep("plain")).epoch > plain.epoch]).toEqual(["n1", true, true]);
  expect(await readLedger(address["n3"] as string, host)).toEqual(written);
  const again = await project.json<AdoptAnswer>(["adopt-pool", "n1", "--yes"]);
  expect(again.entries.map(({ unit, action }) => [unit, action])).toEqual([["site-ledger", "keep"], ["site-plain", "keep"]]);
  expect((await project.operate("up")).done.map(stepText)).toEqual([]);
});

test("a dead machine's disk, plugged into another node, brings back the site whose only copy it held", async () => {
  project.wish.sites = { ...sites, solo: { content: ledgerContent, quota: "128M", replicas: 1, placement: { prefer: ["n2"] } } };
  expect((await project.operate("up")).ran.code).toBe(0);
  const client = new LedgerClient({ address: address["n3"] as string, host: "solo.localhost", name: "solo" });
  await eventually("records are acknowledged", 20_000, async () => (client.acknowledged.length > 10 ? true : undefined));
  await client.stop();
  const written = await readLedger(address["n3"] as string, "solo.localhost");
  const before = (await status()).units.find(({ id }) => id === "site-solo");
  expect(before?.home).toBe("n2");
  await lab.kill("n2");
  await eventually("hc why says that its only copy is on the dead node", 40_000, async () => ((await project.hc(["why", "solo"])).stdout.includes("its only copy is on n2, which is dead") ? true : undefined));
  const disks = (node: string): string => join(nodeFolder(lab.place.dir, node), "disks");
  copyFileSync(join(disks("n2"), "d0.img"), join(disks("n3"), "d7.img"));
  await inside("n3", "zpool import -f -R /mnt/old -d /disks hpool old");
  const plan = await project.json<AdoptAnswer>(["adopt-pool", "n3", "--from", "old/hc"]);
  expect(plan.entries.filter(({ action }) => action !== "keep").map(({ unit, action, error }) => [unit, action, error])).toEqual([["site-solo", "take", ""]]);
  const done = await project.hc(["adopt-pool", "n3", "--from", "old/hc", "--yes"]);
  expect([done.stdout, done.code, done.stderr]).toEqual([expect.stringContaining("becomes home"), 0, expect.stringContaining("not compared with n2")]);
  const lines = await eventually("it answers with its data", 60_000, () => readLedger(address["n1"] as string, "solo.localhost"));
  expect(lines).toEqual(written);
  expect((await status()).units.find(({ id }) => id === "site-solo")).toMatchObject({ home: "n3", epoch: (before?.epoch ?? 0) + 1 });
  await inside("n3", "zpool export old && rm /disks/d7.img");
  await lab.start("n2");
  await eventually("n2 is back, and serves no old history", 90_000, async () => {
    const seen = await status();
    return seen.nodes.every(({ alive }) => alive) && seen.units.every(({ state }) => state === "serving") && seen.units.find(({ id }) => id === "site-solo")?.home === "n3" ? true : undefined;
  });
});

test("two of three voters are gone: etcd goes on from the third by a person's word, which serves what it holds; those that come back after all join it", async () => {
  const before = await inStep("ledger");
  const alive = await project.hc(["quorum", "recover", "--on", "n1", "--gone", "n2", "--gone", "n3"]);
  expect([alive.code, alive.stderr]).toEqual([4, expect.stringContaining("etcd has its quorum")]);
  const written = await readLedger(address["n3"] as string, host);
  for (const node of ["n2", "n3"]) await lab.kill(node);
  await eventually("there is no quorum", 30_000, async () => ((await quorum()).quorum ? undefined : true));
  const unsaid = await project.hc(["quorum", "recover", "--on", "n1", "--gone", "n2"]);
  expect([unsaid.code, unsaid.stderr]).toEqual([4, expect.stringContaining("--gone n3")]);
  const done = await project.hc(["quorum", "recover", "--on", "n1", "--gone", "n2", "--gone", "n3", "--yes"]);
  expect([done.stderr, done.code]).toEqual(["", 0]);
  expect(await eventually("n1 answers with what it holds", 60_000, () => readLedger(address["n1"] as string, host))).toEqual(written);
  expect((await status()).units.find(({ id }) => id === "site-ledger")).toMatchObject({ home: "n1", epoch: before.epoch + 1 });
  for (const node of ["n2", "n3"]) await lab.start(node);
  await eventually("all three vote, and every site is served", 120_000, async () => {
    const [votes, seen] = [await quorum(), await status()];
    return votes.voters.every(({ answers, learner }) => answers && !learner) && seen.units.every(({ state }) => state === "serving") ? true : undefined;
  });
  expect(await inStep("ledger")).toMatchObject({ home: "n1", replicas: [{ node: "n2" }] });
});
