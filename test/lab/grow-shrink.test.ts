
import type { LossCheck } from "../../daemon/lib/loss-check.js";
import type { Status, StatusUnit } from "../../daemon/lib/status.js";
import type { Lab } from "../../providers/lab/lab.js";
import { runProbe } from "../../cli/probe/run-probe.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { HcProject } from "../support/hc-project.js";
import { judgeLedger, LedgerClient, ledgerContent, readLedger } from "../support/ledger.js";

// One node alone, grown to three, shrunk to two by the program, and given a witness: each by `hc up` alone, while a client writes.
jest.setTimeout(400_000);
const host = "ledger.localhost";
let project: HcProject;
let lab: Lab;

const status = (): Promise<Status> => project.status();
const eventually = <T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> => project.eventually(what, withinMs, look, [["status"], ["why", "ledger"]]);
const rolesAre = (wanted: string): Promise<string> => eventually(`roles are ${wanted}`, 90_000, async () => {
  const seen = (await status()).nodes.map(({ name, alive, role, etcd }) => `${name}:${alive ? (etcd.healthy ? etcd.role : "unhealthy") : "away"}${role === "witness" ? "(witness)" : ""}`).join(" ");
  return seen === wanted ? seen : undefined;
});
const unitWhen = (what: string, fits: (unit: StatusUnit) => boolean): Promise<StatusUnit> => eventually(what, 90_000, async () => {
  const unit = (await status()).units.find(({ id }) => id === "site-ledger");
  return unit !== undefined && fits(unit) ? unit : undefined;
});
const inStep = (copies: number): Promise<StatusUnit> => unitWhen(`serves with ${copies} copies beside`, ({ state, replicas }) => state === "serving" && replicas.length === copies && replicas.every((one) => one.state === "replica" && one.lagSeconds !== null && one.lagSeconds < 10));
async function up(): Promise<void> {
  const said = await project.operate("up");
  if (said.ran.code !== 0) throw new Error([said.error, (await project.hc(["status"])).stdout, await project.journals((await project.lab().nodes()).map(({ name }) => name))].join("\n"));
}
/** No request may have failed; where one did, what the node said then is told. */
async function noneFailed(outcomes: readonly { status: number }[], node: string): Promise<void> {
  const failed = outcomes.filter(({ status: code }) => code !== 200);
  if (failed.length === 0) return;
  const said = await project.hc(["ssh", node, "--", "sh", "-c", "journalctl -n 300 -o short-precise --no-pager | grep -v '\"level\":20' | tail -100 | cut -c1-400; tail -n 20 /var/log/hybridcluster/*/* 2>/dev/null"]);
  throw new Error(`${JSON.stringify(failed)}\n${(await project.hc(["why", "ledger"])).stdout}\n${said.stdout}`);
}
const addressOf = async (node: string): Promise<string> => (await status()).nodes.find(({ name }) => name === node)?.address as string;

beforeAll(async () => {
  project = new HcProject(`grow-${process.pid}`);
  project.wish.nodes = 1;
  project.wish.sites = { ledger: { content: ledgerContent, quota: "256M" } };
  await up();
  lab = project.lab();
});
afterAll(async () => {
  await closeConnections();
  // what was done here is no reason for any of our processes to end by itself
  for (const { name } of await lab.nodes()) expect(await project.inside(name, `echo ${name} $(systemctl show -p NRestarts --value hcd hcd-fencer hcd-proxy-1 hcd-proxy-2)`)).toBe(`${name} 0 0 0 0`);
  expect(await project.remove()).toBe(0);
});

test("one node alone serves, and says that it must not be lost", async () => {
  await inStep(0);
  await rolesAre("n1:voter");
  const check = await project.hc(["node", "check", "n1", "--json"]);
  expect(check.code).toBe(1);
  expect(JSON.parse(check.stdout) as LossCheck).toMatchObject({ ok: false, quorum: { ok: false }, down: [{ unit: "site-ledger" }] });
  const removal = await project.hc(["node", "remove", "n1"]);
  expect([removal.code, removal.stderr]).toEqual([4, expect.stringContaining("only living node")]);
});

test("it grows to three: they vote, the site has a copy, and any node may be lost", async () => {
  const client = new LedgerClient({ address: await addressOf("n1"), host, name: "grow" });
  project.wish.nodes = 3;
  await up();
  await rolesAre("n1:voter n2:voter n3:voter");
  await inStep(1);
  await noneFailed(await client.stop(), "n1");
  for (const node of ["n1", "n2", "n3"]) await eventually(`${node} may be lost`, 30_000, async () => ((await project.hc(["node", "check", node])).code === 0 ? true : undefined));
  const text = (await project.hc(["node", "check", "n1"])).stdout;
  expect(text).toMatch(/^n1 may be lost now\.\n1 site would be served elsewhere after about 10 s/);
});

test("the site moves there and back while slow pages are asked for at all nodes: none fails, no write is lost or doubled", async () => {
  const nodes = (await status()).nodes.map(({ address }) => address);
  const stop = new AbortController();
  const probe = runProbe({ urls: [new URL(`http://${host}/?wait=400`)], to: nodes, clients: 12, rate: 15, seconds: 0, timeoutMs: 40_000, status: 200, write: true, insecure: false }, stop.signal, () => undefined);
  const before = await inStep(1);
  const [from, to] = [before.home, before.replicas[0]?.node as string];
  for (const target of [to, from]) {
    expect((await project.hc(["move", "ledger", "--to", target])).code).toBe(0);
    await inStep(1);
  }
  stop.abort();
  const { urls: [seen] } = await probe;
  expect(seen).toMatchObject({ failed: 0, failures: [], writes: { lost: [], doubled: [], disordered: [] } });
  expect(seen?.homes.map(({ node }) => node)).toEqual([from, to, from]);
});

test("the program names a node no more: `up` empties it first, takes its vote, and nothing is lost", async () => {
  expect((await project.hc(["move", "ledger", "--to", "n3"])).code).toBe(0);
  await unitWhen("at home on n3", ({ home, state }) => home === "n3" && state === "serving");
  const client = new LedgerClient({ address: await addressOf("n1"), host, name: "shrink" });
  project.wish.nodes = 2;
  await up();
  await rolesAre("n1:voter n2:client");
  const after = await inStep(1);
  expect([after.home, after.replicas[0]?.node].sort()).toEqual(["n1", "n2"]);
  const outcomes = await client.stop();
  expect(judgeLedger(outcomes, (await readLedger(await addressOf("n1"), host)) ?? [])).toMatchObject({ violations: [], lost: [] });
  expect((await status()).attention.filter(({ what }) => what.includes("n3"))).toEqual([]);
});

test("two nodes and a witness: it votes and carries nothing, and when one node dies the other serves", async () => {
  project.wish.nodes = 3;
  project.wish.hosts = { n3: { role: "witness" } };
  await up();
  await rolesAre("n1:voter n2:voter n3:voter(witness)");
  const before = await inStep(1);
  const other = before.replicas[0]?.node as string;
  expect((await project.hc(["move", "ledger", "--to", "n3"])).code).not.toBe(0);
  expect((await project.hc(["node", "check", before.home])).code).toBe(0);
  const address = await addressOf(other);
  const client = new LedgerClient({ address, host, name: "witness" });
  await eventually("records are acknowledged", 20_000, async () => (client.acknowledged.length > 10 ? true : undefined));
  await lab.kill(before.home);
  await unitWhen("the other node is home", ({ home, state }) => home === other && state === "serving");
  const had = client.acknowledged.length;
  await eventually("records are acknowledged again", 30_000, async () => (client.acknowledged.length > had + 5 ? true : undefined));
  const check = await project.hc(["node", "check", "n3", "--json"]);
  expect(JSON.parse(check.stdout) as LossCheck).toMatchObject({ ok: false, quorum: { ok: false, why: "1 of 3 voters of etcd would be left, and 2 are needed" } });
  await lab.start(before.home);
  await client.stop();
  await rolesAre("n1:voter n2:voter n3:voter(witness)");
  expect(await inStep(1)).toMatchObject({ home: other });
});

test("a witness that burnt is given up by an explicit word, and the program follows", async () => {
  await lab.kill("n3");
  await rolesAre("n1:voter n2:voter n3:away(witness)");
  await eventually("the explicit word is asked for", 30_000, async () => ((await project.hc(["node", "remove", "n3"])).stderr.includes("hc node remove n3 --dead") ? true : undefined));
  const removed = await eventually("its death is declared", 30_000, async () => {
    const said = await project.hc(["node", "remove", "n3", "--dead"]);
    return said.code === 0 ? said : undefined;
  });
  expect(removed.stdout).toContain("take it out of the program");
  await rolesAre("n1:voter n2:client n3:away(witness)");
  await lab.start("n3"); // its machine is only gone for the cluster: `up` deletes the Host over SSH
  project.wish.nodes = 2;
  project.wish.hosts = {};
  await up();
  await rolesAre("n1:voter n2:client");
  await inStep(1);
});
