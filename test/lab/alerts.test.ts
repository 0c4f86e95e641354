import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { AlertsReport } from "../../daemon/alerts/alerts.js";
import { delay } from "../../daemon/lib/abort.js";
import type { Status } from "../../daemon/lib/status.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { parseExposition } from "../support/exposition.js";
import { HcProject, stepText } from "../support/hc-project.js";
import { Receivers } from "../support/receivers.js";

// Must hold 9's end: a node with several sites loses power, and people are told once what happened, and once that it is over. By webhook and by mail, from whoever leads.
jest.setTimeout(300_000);
const nodes = ["n1", "n2", "n3"] as const;
const sites = ["a", "b", "c", "d"] as const;
const token = "T0KEN-4711-lab";
let project: HcProject;
let receivers: Receivers;

const status = (): Promise<Status> => project.status();
const inside = (node: string, line: string): Promise<string> => project.inside(node, line);
const eventually = <T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> => project.eventually(what, withinMs, look, [["alerts"], ["status"], ["events"]]);
const filesBelow = (root: string): string[] => readdirSync(root).flatMap((name) => (name === "labs" ? [] : statSync(join(root, name)).isDirectory() ? filesBelow(join(root, name)) : [join(root, name)]));

beforeAll(async () => {
  project = new HcProject(`alerts-${process.pid}`);
  project.wish.sites = Object.fromEntries(sites.map((name) => [name, { placement: { prefer: ["n2"] } }]));
  project.wish.hosts = Object.fromEntries(nodes.map((node) => [node, { ports: { metrics: 9437 } }]));
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
  const gateway = (await status()).nodes[0]!.address.replace(/[0-9]+$/, "1");
  receivers = await Receivers.start(gateway, token);
  project.wish.alerts = receivers.wish({ downS: 60, clearS: 5 });
}, 400_000);
afterAll(async () => {
  await receivers?.stop();
  await closeConnections();
  expect(await project.remove()).toBe(0);
});

test("who is told is declared in the program; a test reaches everybody; no secret lies in clear anywhere", async () => {
  const up = await project.operate("up");
  expect([`${up.ran.stdout}${up.error}`.includes(token), up.done.map((step) => stepText(step).split(" (")[0])]).toEqual([false, ["create Alerts ops"]]);
  const tested = await project.hc(["alerts", "test"]);
  expect([tested.stderr, tested.code]).toEqual(["", 0]);
  expect(receivers.posts).toMatchObject([{ state: "test", cluster: project.wish.lab }]);
  expect(receivers.mails).toMatchObject([{ subject: `[${project.wish.lab}] test of alerts`, secure: true, user: "alerts", to: ["admin@lab.example"] }]);
  const beats = receivers.beats;
  await eventually("the heartbeat goes on", 20_000, async () => (receivers.beats > beats + 1 ? true : undefined));
  // the same program again changes nothing, and the document reads sealed
  expect((await project.operate("up")).done).toEqual([]);
  const document = await inside("n1", "curl -s --unix-socket /run/hybridcluster/hcd.sock http://hcd/v1/documents/alerts/ops");
  expect(document).toContain("sealed:1:");
  const seen = [document, tested.stdout, (await project.hc(["alerts"])).stdout, (await project.hc(["alerts", "--json"])).stdout, (await project.hc(["events"])).stdout];
  for (const text of seen) expect(text).not.toContain(token);
  const state = filesBelow(join(project.folder, "home"));
  expect(state.length).toBeGreaterThan(3);
  expect(state.filter((path) => readFileSync(path, "latin1").includes(token))).toEqual([]);
  for (const node of nodes) {
    expect([node, await inside(node, `grep -rl ${token} /var/lib/hybridcluster /etc/hybridcluster /run/hybridcluster /var/log 2>/dev/null | head -5; journalctl --no-pager -o cat | grep -c ${token} || true`)]).toEqual([node, "0"]);
    expect(await inside(node, "stat -c '%U %a' /etc/hybridcluster/pki/seal.key")).toBe("root 600");
  }
});

test("every node tells Prometheus what it counts", async () => {
  for (const { name, address } of (await status()).nodes) {
    const told = async (): Promise<unknown[]> => {
      const series = parseExposition(await (await fetch(`http://${address}:9437/metrics`)).text());
      const value = (metric: string): number | undefined => series.find((one) => one.name === metric)?.value;
      return [name, value("hc_session_live"), value("hc_fencer_up"), value("hc_etcd_healthy"), value("hc_pool_online"), value("hc_events_waiting"), series.filter((one) => one.name === "hc_node_up").map((one) => one.value), series.some((one) => one.name === "hc_alerts_sent_total") === (value("hc_leader") === 1)];
    };
    const expected = [name, 1, 1, 1, 1, 0, [1, 1, 1], true];
    // an event may wait to be written just now
    let seen: unknown[] = [];
    for (const end = performance.now() + 20_000; performance.now() < end && !isDeepStrictEqual(seen, expected); await delay(200)) seen = await told();
    expect(seen).toEqual(expected);
  }
  expect((await status()).leader).not.toBe("");
});

test("a node with all sites loses power: exactly one alert says what happened, and one that it is over", async () => {
  await eventually("all sites serve on n2 and have a copy", 60_000, async () => ((await status()).units.every(({ home, state, replicas }) => home === "n2" && state === "serving" && replicas.some(({ lagSeconds }) => lagSeconds !== null)) ? true : undefined));
  receivers.posts.length = 0;
  receivers.mails.length = 0;
  expect((await project.hc(["lab", "kill", "n2"])).code).toBe(0);
  await eventually("webhook and mail are told", 60_000, async () => (receivers.posts.length > 0 && receivers.mails.length > 0 ? true : undefined));
  const [post] = receivers.posts;
  expect(post).toMatchObject({ version: 1, state: "firing", kind: "node-down", severity: "warning", command: "hc status" });
  expect(post!.title).toMatch(/^n2 died: its 4 sites run on (n1|n3|n1, n3) now, at most [0-9]+ s of writes are missing$/);
  expect(post!.text).toContain("etcd has 2 of 3 voters: one more loss");
  const after = await status();
  for (const { name, home, state } of after.units) expect([state, post!.text]).toEqual(["serving", expect.stringMatching(new RegExp(`Now on ${home}: .*\\b${name}\\b`))]);
  expect(receivers.mails[0]!.subject).toBe(`[${project.wish.lab}] ${post!.title}`);
  // that a receiver has it is written after it has taken it
  const shown = await eventually("etcd holds that both were told", 20_000, async () => {
    const seen = await project.json<AlertsReport>(["alerts"]);
    return seen.alerts.every(({ told }) => Object.values(told).every(({ state }) => state !== "")) ? seen : undefined;
  });
  expect(shown.alerts).toMatchObject([{ kind: "node-down", group: "node-down/n2", resolvedAtMs: 0, told: { "ops/webhook-1": { state: "firing" }, "ops/mail": { state: "firing" } } }]);
  expect((await project.hc(["events", "--since", "5m"])).stdout).toContain(post!.title.slice(0, 20));
  // back again
  expect((await project.hc(["lab", "start", "n2"])).code).toBe(0);
  await eventually("its end is told", 120_000, async () => (receivers.posts.length > 1 && receivers.mails.length > 1 ? true : undefined));
  await eventually("etcd and copies are whole again", 120_000, async () => {
    const { nodes: all, units } = await status();
    return all.every(({ alive, etcd }) => alive && etcd.healthy) && units.every(({ state, replicas }) => state === "serving" && replicas.every(({ lagSeconds }) => lagSeconds !== null)) ? true : undefined;
  });
  expect(receivers.posts.map(({ id, state }) => [id, state])).toEqual([[post!.id, "firing"], [post!.id, "resolved"]]);
  expect(receivers.posts[1]!.text).toContain("n2 is back.");
  expect(receivers.mails.map(({ subject }) => subject)).toEqual([post!.title, `resolved: ${post!.title}`].map((title) => `[${project.wish.lab}] ${title}`));
  expect(receivers.odd).toEqual([]);
  expect((await project.json<AlertsReport>(["alerts"])).alerts).toMatchObject([{ resolvedAtMs: expect.any(Number), flaps: 0 }]);
});
