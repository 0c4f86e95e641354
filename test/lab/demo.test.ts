import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { delay } from "../../daemon/lib/abort.js";
import { siteDefaults } from "../../daemon/lib/documents.js";
import { errorCode } from "../../daemon/lib/errors.js";
import type { Status, StatusNode, StatusUnit } from "../../daemon/lib/status.js";
import { apiCall } from "../../providers/ssh/api-client.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import type { Connection } from "../../providers/schemas/connection.js";
import { freePort } from "../support/hc-process.js";
import { HcProject } from "../support/hc-project.js";
import { askWeb } from "../support/hc-web.js";
import { WikiUser } from "../support/wiki.js";

// The demo of `npm start` as its user sees it, in a lab and with a port of its own: Must hold 2, 4, 5 and 8 of the walking skeleton.
jest.setTimeout(300_000);
const nodes = ["n1", "n2", "n3"] as const;
let project: HcProject;
let port = 0;
let wiki: WikiUser;
let address: Record<string, string>;

const status = (): Promise<Status> => project.status();
const unitOf = (seen: Status, id: string): StatusUnit => seen.units.find((one) => one.id === id) as StatusUnit;
async function eventually<T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}\n${(await project.hc(["status"])).stdout}\n${(await project.hc(["events"])).stdout}`);
    await delay(100);
  }
}
/** A shell line on a node, through the command line. */
async function on(node: string, line: string): Promise<string> {
  const ran = await project.hc(["ssh", node, "--", line]);
  if (ran.code !== 0) throw new Error(`${node}: ${line}: ${ran.stderr}`);
  return ran.stdout.trim();
}
/** A file of the newest snapshot of a node's copy of the wiki, read through a clone of it; "" when it is not there. */
function inNewestSnapshot(node: string, file: string): Promise<string> {
  return on(node, `set -e; newest=$(zfs list -H -d 1 -t snapshot -o name -s createtxg hpool/hc/site-wiki | tail -1)
    zfs clone -o canmount=noauto $newest hpool/hc/look; mountpoint -q /hc/look || zfs mount hpool/hc/look
    cat /hc/look/${file} 2>/dev/null || true; zfs unmount hpool/hc/look; zfs destroy hpool/hc/look`);
}
/** The cluster's API by the connections that `up` left in the workspace. */
function api<T>(method: "GET" | "PUT", path: string, body?: unknown, but?: string): Promise<T> {
  const home = join(project.folder, "home");
  const clusters = join(home, readdirSync(home)[0] ?? "", "clusters");
  const { connections } = JSON.parse(readFileSync(join(clusters, readdirSync(clusters).find((name) => name.endsWith(".json")) ?? ""), "utf8")) as { connections: Connection[] };
  return apiCall<T>(connections.filter(({ node }) => node !== but), method, path, body, { timeoutMs: 30_000 });
}
const guidsOf = async (node: string): Promise<string[]> => (await on(node, "zfs list -H -d 1 -t snapshot -o guid -s createtxg hpool/hc/site-wiki")).split("\n");
/** Identity of a copy: a dataset that was received in full is another one. */
const birthOf = (node: string): Promise<string> => on(node, "zfs get -H -o value createtxg hpool/hc/site-wiki");
/** A node that comes up listens a moment after it is alive. */
const shows = (node: string, page: string, text: string): Promise<true> => eventually(`${page} through ${node}`, 60_000, async () => {
  const body = await wiki.read(address[node] as string, page).catch(() => "");
  return body.includes(text) ? true : undefined;
});
const inStep = (id: string): Promise<StatusUnit> => eventually(`${id} serves, replica in step`, 60_000, async () => {
  const unit = unitOf(await status(), id);
  return unit.state === "serving" && unit.replicas.length === 1 && unit.replicas.every((replica) => replica.state === "replica" && replica.lagSeconds !== null && replica.lagSeconds < 3) ? unit : undefined;
});

beforeAll(async () => {
  project = new HcProject(`demo-${process.pid}`);
  port = await freePort();
  rmSync(join(project.folder, "index.js"));
  writeFileSync(join(project.folder, "Pulumi.yaml"), "name: hybridcluster\nruntime: { name: nodejs, options: { typescript: false } }\nmain: node_modules/hybridcluster/dist/stacks/local.js\n");
  writeFileSync(join(project.folder, "Pulumi.local.yaml"), `config:\n  hybridcluster:lab: ${project.wish.lab}\n  hybridcluster:entryPort: "${port}"\n`);
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
  const said = (up.result as unknown as { outputs: { login: string; urls: Record<string, string[]>; nodes: Record<string, string> } }).outputs;
  expect(said.urls["wiki"]).toEqual([`http://wiki.localhost:${port}/`]);
  address = said.nodes;
  wiki = new WikiUser("wiki.localhost", readFileSync(said.login.replace(/^.* is in /, ""), "utf8").trim());
}, 400_000);
afterAll(async () => {
  await closeConnections();
  expect(await project.remove()).toBe(0);
});

test("both sites answer through the entry and through every node, by name and by address", async () => {
  expect(await askWeb(port, "wiki.localhost", "/doku.php")).toMatchObject({ status: 200, body: expect.stringContaining("DokuWiki") });
  for (const node of nodes) {
    expect((await wiki.ask(address[node] as string, "/doku.php")).status).toBe(200);
    const byAddress = new WikiUser(address[node] as string, "");
    expect(await byAddress.ask(address[node] as string, "/doku.php")).toMatchObject({ status: 200, body: expect.stringContaining("DokuWiki") });
    const hello = new WikiUser("hello.localhost", "");
    expect((await hello.ask(address[node] as string, "/")).body).toContain(unitOf(await status(), "site-hello").home);
  }
});

test("a page edited through n1 is there through n2 and n3 at once, and within 10 s in the newest snapshot of every replica", async () => {
  const [n1, n2, n3] = nodes.map((node) => address[node] as string) as [string, string, string];
  await wiki.logIn(n1);
  for (const round of ["first", "second"]) {
    await wiki.save(n1, "notes", `The ${round} words of n1.`);
    const savedMs = performance.now();
    expect(await wiki.read(n2, "notes")).toContain(`The ${round} words of n1.`);
    expect(await wiki.read(n3, "notes")).toContain(`The ${round} words of n1.`);
    const { replicas } = unitOf(await status(), "site-wiki");
    expect(replicas.length).toBeGreaterThan(0);
    await Promise.all(replicas.map(({ node }) => eventually(`the ${round} words in the newest snapshot on ${node}`, 10_000 - (performance.now() - savedMs), async () => ((await inNewestSnapshot(node, "data/wiki/pages/notes.txt")).includes(`The ${round} words`) ? true : undefined))));
  }
});

test("two sites of one template use less than 5 % of its space each, on replicas too", async () => {
  const spec = { ...siteDefaults, customer: "demo", template: "dokuwiki", hostnames: ["second.localhost"], quota: "1G" };
  await api("PUT", "/v1/documents/site/second", { version: 1, kind: "site", name: "second", origin: "api", spec });
  for (const id of ["site-wiki", "site-second"]) {
    const { home, replicas } = await inStep(id);
    for (const node of [home, ...replicas.map((replica) => replica.node)]) {
      const [unit, template] = (await on(node, `zfs get -Hp -o value used hpool/hc/${id}; zfs get -Hp -o value referenced hpool/hc/tmpl-dokuwiki@1`)).split("\n").map(Number) as [number, number];
      expect(template).toBeGreaterThan(20 << 20);
      expect(unit / template).toBeLessThan(0.05);
    }
  }
});

test("after hc move wiki --to n3 the preview shows no change, the page still edits, and the old home is a replica by an increment", async () => {
  for (const to of ["n3", "n1", "n3"]) {
    const before = await inStep("site-wiki");
    if (before.home === to) continue;
    const [guids, birth] = [await guidsOf(before.home), await birthOf(before.home)];
    expect((await project.hc(["move", "wiki", "--to", to])).code).toBe(0);
    expect((await project.operate("preview")).planned).toEqual([]);
    await wiki.save(address["n2"] as string, "moved", `Written at ${to}.`);
    expect(await wiki.read(address["n1"] as string, "moved")).toContain(`Written at ${to}.`);
    const after = await inStep("site-wiki");
    expect(after).toMatchObject({ home: to, epoch: before.epoch + 1, replicas: [{ node: before.home }] });
    expect(await birthOf(before.home)).toBe(birth);
    expect((await guidsOf(before.home)).some((guid) => guids.includes(guid))).toBe(true);
    await eventually("the page in the old home's newest snapshot", 10_000, async () => ((await inNewestSnapshot(before.home, "data/wiki/pages/moved.txt")).includes(`Written at ${to}.`) ? true : undefined));
  }
});

test.each(nodes)("%s killed: its sites are served elsewhere, the cluster's state is written; started, it comes back by itself with pool and role", async (node) => {
  await wiki.save(address[node] as string, `power-${node}`, `Before ${node} lost power.`);
  // what a copy has is in its newest snapshot: the lag that is told is one of a moment ago
  for (const { node: copy } of (await inStep("site-wiki")).replicas) await eventually(`the page on ${copy}`, 30_000, async () => ((await inNewestSnapshot(copy, `data/wiki/pages/power-${node}.txt`)).includes(`Before ${node} lost power.`) ? true : undefined));
  const before = await status();
  expect((await project.hc(["lab", "kill", node])).code).toBe(0);
  // etcd without this node, through any other
  await eventually("a write to the cluster's state", 30_000, () => api("PUT", `/v1/documents/customer/while-${node}`, { version: 1, kind: "customer", name: `while-${node}`, origin: "api", spec: { displayName: "", contact: "" } }, node).then(() => true as const, (error: unknown) => { if (errorCode(error) === "INVALID_INPUT") throw error; return undefined; }));
  const dead = await eventually(`${node} is told as dead`, 30_000, async () => {
    const seen = await project.hc(["status"]);
    return seen.code === 2 ? seen : undefined;
  });
  expect(dead.stdout).toContain(`node ${node} gives no sign of life`);
  const away = await eventually(`its sites are served without ${node}`, 60_000, async () => {
    const seen = await status();
    return seen.units.every(({ home, state }) => home !== node && state === "serving") ? seen : undefined;
  });
  for (const unit of before.units) expect(unitOf(away, unit.id)).toMatchObject(unit.home === node ? { home: unit.replicas[0]?.node, epoch: unit.epoch + 1 } : { home: unit.home, epoch: unit.epoch });
  expect((await project.hc(["lab", "start", node])).code).toBe(0);
  const role = before.nodes.find((one) => one.name === node) as StatusNode;
  const back = await eventually(`${node} is back`, 90_000, async () => {
    const seen = await status();
    const one = seen.nodes.find(({ name }) => name === node);
    return one?.alive === true && one.pool?.health === "ONLINE" && one.etcd.healthy && one.etcd.role === role.etcd.role && seen.units.every(({ state }) => state === "serving") ? seen : undefined;
  });
  for (const unit of away.units) expect(unitOf(back, unit.id)).toMatchObject({ home: unit.home, epoch: unit.epoch });
  await shows(node, `power-${node}`, `Before ${node} lost power.`);
});

test("stop keeps the data; up starts it again and changes nothing else", async () => {
  expect((await project.hc(["stop"])).code).toBe(0);
  await expect(askWeb(port, "wiki.localhost", "/")).rejects.toThrow();
  const up = await project.operate("up");
  expect(up.result?.result).toBe("succeeded");
  expect(up.done.every(({ op, type }) => op === "update" && /LocalHost|LocalEntry/.test(type))).toBe(true);
  await shows("n1", "moved", "Written at n3.");
});
