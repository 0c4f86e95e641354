import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { delay } from "../../daemon/lib/abort.js";
import { type DesiredDocument, siteDefaults } from "../../daemon/lib/documents.js";
import type { ObservedUnit, TrashRecord, UnitRecord } from "../../daemon/lib/records.js";
import { api, bringUp, eventually, prepareNode } from "../support/hcd-lab.js";
import { type TestNode, withLab } from "../support/lab.js";

const lab = withLab(3);
const node = (name: string): TestNode => lab.node(name);
const any = (): TestNode => lab.nodes.find((one) => one.alive()) as TestNode;
const unit = "site-shop";

interface UnitAnswer { record: UnitRecord; revision: string; observed: Record<string, ObservedUnit>; document: DesiredDocument<"site"> | null; appliedRevision: string; ready?: boolean }
const document = (name: string, more: Partial<DesiredDocument<"site">["spec"]> = {}): unknown => ({ version: 1, kind: "site", name, origin: "git", spec: { ...siteDefaults, customer: "acme", template: "tiny", hostnames: [`${name}.localhost`], replicas: 2, placement: { ...siteDefaults.placement, pin: "" }, ...more } });

async function call(method: string, path: string, body?: unknown, on = any()): Promise<unknown> {
  const answer = await api(on, method, path, body);
  if (answer.status >= 400) throw Object.assign(new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`), answer);
  return answer.body;
}
async function seen(id = unit): Promise<UnitAnswer | undefined> {
  const answer = await api(any(), "GET", `/v1/units/${id}`);
  return answer.status === 200 ? (answer.body as UnitAnswer) : undefined;
}
/** Home, when it serves there at the record's epoch with the newest document. */
async function servingHome(id = unit, withinMs = 60_000): Promise<string> {
  const found = await eventually(`${id} serves`, withinMs, () => seen(id), (one) => {
    if (one === undefined || one.record.state !== "live" || one.record.move !== undefined) return false;
    const there = one.observed[one.record.home];
    return there?.state === "serving" && there.epoch === one.record.epoch;
  });
  return found?.record.home as string;
}
/** What the site answers through its home's own Apache. */
async function page(on: string, path = "/?json", host = "shop.localhost"): Promise<{ code: number; text: string }> {
  const result = await node(on).exec(["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", "-H", `Host: ${host}`, `http://127.0.0.1:8079${path}`]);
  const at = result.stdout.lastIndexOf("\n");
  return { code: Number(result.stdout.slice(at + 1)), text: result.stdout.slice(0, at) };
}
async function move(to: string, id = unit): Promise<{ state: string; error: string }> {
  const { operation } = (await call("POST", `/v1/units/${id}/move`, { to, reason: "test" })) as { operation: string };
  return eventually(`move to ${to}`, 60_000, async () => (await api(any(), "GET", `/v1/operations/${operation}`)).body as { state: string; error: string }, (told) => told?.state === "done" || told?.state === "failed");
}
/** One writer: mounted at most on one node. Everything else readonly and unmounted. */
async function mountedOn(id = unit): Promise<string[]> {
  const states = await Promise.all(lab.nodes.filter((one) => one.alive()).map(async (one) => [one.name, (await one.exec(["zfs", "get", "-Hp", "-o", "value", "mounted", `hpool/hc/${id}`])).stdout.trim()] as const));
  return states.filter(([, mounted]) => mounted === "yes").map(([name]) => name);
}
const snapshots = async (on: string, dataset = `hpool/hc/${unit}`): Promise<string[]> => (await node(on).exec(["zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", "-s", "createtxg", dataset])).stdout.trim().split("\n").filter((line) => line.startsWith(`${dataset}@`));

/** A ustar archive of one file. */
function archive(name: string, text: string): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write("0000644\0" + "0000000\0" + "0000000\0" + text.length.toString(8).padStart(11, "0") + "\0" + "00000000000\0", 100);
  header.write("        0", 148);
  header.write("ustar\0" + "00", 257);
  header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `, 148);
  return gzipSync(Buffer.concat([header, Buffer.from(text), Buffer.alloc(512 - (text.length % 512)), Buffer.alloc(1024)]));
}

beforeAll(async () => {
  const hosts = await Promise.all(lab.nodes.map((one, number) => prepareNode(one, number < 2 ? "a" : "b")));
  await bringUp(lab, hosts);
}, 180_000);

test("a template is built on one node and is the same on all", async () => {
  await eventually("template ready", 60_000, () => api(any(), "GET", "/v1/templates/tiny/1"), ({ body }) => (body as { state?: string }).state === "ready");
  const guids = await eventually("on all nodes", 60_000, () => Promise.all(lab.nodes.map(async (one) => (await one.exec(["zfs", "get", "-Hp", "-o", "value", "guid", "hpool/hc/tmpl-tiny@1"])).stdout.trim())), (all) => all.every((guid) => guid !== ""));
  expect(new Set(guids).size).toBe(1);
}, 90_000);

test("a site with content of its own is made, serves, and is copied", async () => {
  const content = archive("hello.php", "<?php echo 'hello from ', getenv('HC_NODE');");
  const sha256 = createHash("sha256").update(content).digest("hex");
  const put = await any().exec(["curl", "-sS", "-f", "-X", "PUT", "--data-binary", "@-", "--unix-socket", "/run/hybridcluster/hcd.sock", `http://hcd/v1/blobs/${sha256}`], { input: content });
  expect(put.code).toBe(0);
  await call("PUT", "/v1/documents/site/shop", document("shop", { content: { sha256 } }));
  const home = await servingHome();
  const { code, text } = await page(home);
  expect(code).toBe(200);
  expect(JSON.parse(text)).toMatchObject({ unit, node: home, epoch: 1 });
  expect(await page(home, "/hello.php")).toEqual({ code: 200, text: `hello from ${home}` });
  expect((await node(home).sh(`stat -c %U:%a /hc/${unit}/www/hello.php`)).trim()).toBe("hc-acme:644");
  const record = (await seen())?.record as UnitRecord;
  expect(record.replicas).toHaveLength(1);
  const replica = record.replicas[0] as string;
  await eventually("the replica holds the first snapshot", 30_000, () => snapshots(replica), (list) => list.length > 0);
  // some ZFS take the properties of a receive only after it
  await eventually("the replica is marked", 10_000, async () => (await node(replica).ok(["zfs", "get", "-H", "-o", "value", "readonly,mounted,hybridcluster:unit", `hpool/hc/${unit}`])).trim(), (seen) => seen === `on\nno\n${unit}`);
}, 120_000);

test("a changed document is applied at the home without a move", async () => {
  const home = await servingHome();
  const { revision } = (await call("PUT", "/v1/documents/site/shop", document("shop", { quota: "2G", hostnames: ["shop.localhost", "www.shop.localhost"], content: (await seen())?.document?.spec.content ?? { sha256: "" } }))) as { revision: string };
  await eventually("applied", 30_000, () => seen(), (one) => one?.appliedRevision === revision);
  expect((await node(home).ok(["zfs", "get", "-Hp", "-o", "value", "quota", `hpool/hc/${unit}`])).trim()).toBe(String(2 * 1024 ** 3));
  expect((await page(home, "/?json", "www.shop.localhost")).code).toBe(200);
  expect((await seen())?.record.epoch).toBe(1);
}, 60_000);

test("it moves to the third node and back; what was written goes with it, the source becomes a replica by an increment", async () => {
  const first = await servingHome();
  const before = await seen();
  const target = lab.nodes.find((one) => one.name !== first && !before?.record.replicas.includes(one.name))?.name as string;
  for (const [from, to, word] of [[first, target, "one"], [target, first, "two"]] as const) {
    await node(from).sh(`echo ${word} > /hc/${unit}/www/${word}.txt; chown hc-acme: /hc/${unit}/www/${word}.txt`);
    const old = await snapshots(from);
    expect(await move(to)).toMatchObject({ state: "done", error: "" });
    expect(await servingHome()).toBe(to);
    expect((await page(to, `/${word}.txt`)).text.trim()).toBe(word);
    expect(JSON.parse((await page(to)).text)).toMatchObject({ node: to });
    expect(await mountedOn()).toEqual([to]);
    // the source kept what it had: no full send came over it
    await eventually("the source follows", 30_000, () => Promise.all([snapshots(from), snapshots(to)]), ([there, here]) => there.length > 0 && there.at(-1) === here.at(-1));
    const kept = await snapshots(from);
    expect(kept.some((name) => old.includes(name))).toBe(true);
  }
  expect((await seen())?.record.epoch).toBe(3);
  // the same home again is success and changes nothing
  expect(await move(first)).toMatchObject({ state: "done" });
  expect((await seen())?.record.epoch).toBe(3);
}, 180_000);

test("a move against the program's pin, or to a node that is not there, is refused with the reason", async () => {
  const home = await servingHome();
  const other = lab.nodes.find((one) => one.name !== home)?.name as string;
  await call("PUT", "/v1/documents/site/shop", document("shop", { placement: { ...siteDefaults.placement, prefer: [], require: [], avoid: [], pin: home } }));
  await eventually("applied", 30_000, () => seen(), (one) => one?.document?.spec.placement.pin === home);
  expect(await api(any(), "POST", `/v1/units/${unit}/move`, { to: other })).toMatchObject({ body: { error: { code: "IMPOSSIBLE_CHANGE", message: expect.stringContaining("pin") } } });
  expect(await api(any(), "POST", `/v1/units/${unit}/move`, { to: "n9" })).toMatchObject({ body: { error: { code: "INVALID_INPUT" } } });
  await call("PUT", "/v1/documents/site/shop", document("shop"));
}, 60_000);

test("kill -9 of the control process at seeded moments of moves: it is finished or undone, one writer, nothing lost", async () => {
  let seed = Number(process.env["HC_LAB_SEED"] ?? "1");
  const random = (): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed / 2147483648;
  };
  for (let round = 1; round <= 4; round += 1) {
    const home = await servingHome();
    const others = lab.nodes.filter((one) => one.name !== home).map((one) => one.name);
    const target = others[Math.floor(random() * others.length)] as string;
    const victim = random() < 0.5 ? home : target;
    const word = `round-${round}`;
    await node(home).sh(`echo ${word} > /hc/${unit}/www/${word}.txt; chown hc-acme: /hc/${unit}/www/${word}.txt`);
    await call("POST", `/v1/units/${unit}/move`, { to: target, reason: "test" });
    // a moment of the move's own course, not a wait for a result
    await delay(random() * 900);
    await node(victim).sh("kill -9 $(systemctl show -p MainPID --value hcd.service)");
    const now = await servingHome(unit, 90_000);
    // what is published may be older than the kill: the disk is asked
    const mounted = await eventually(`${unit} is mounted at its home`, 60_000, async () => ({ on: await mountedOn(), home: (await seen())?.record.home }), ({ on, home: named }) => on.length > 1 || (on.length === 1 && on[0] === named));
    expect(mounted.on).toHaveLength(1);
    await eventually(`what was written before round ${round} is there`, 60_000, async () => page((await seen())?.record.home as string, `/${word}.txt`), ({ text }) => text.trim() === word);
    expect([home, target]).toContain(now);
  }
}, 300_000);

test("a node that is killed and started comes back with its site by itself", async () => {
  const home = await servingHome();
  await node(home).sh(`echo survived > /hc/${unit}/www/power.txt; chown hc-acme: /hc/${unit}/www/power.txt; sync`);
  await node(home).sh("sync; sleep 2");
  const epoch = (await seen())?.record.epoch;
  await node(home).kill();
  await node(home).start();
  await eventually("the same home serves again", 90_000, async () => (await page(home, "/power.txt")).text.trim(), (text) => text === "survived");
  expect((await seen())?.record).toMatchObject({ home, epoch });
  expect(await servingHome(unit, 60_000)).toBe(home);
}, 180_000);

test("deleted, it lies in the trash of all holders with its last state; restored, it serves again; purged, nothing is left", async () => {
  const home = await servingHome();
  await node(home).sh(`echo last > /hc/${unit}/www/last.txt; chown hc-acme: /hc/${unit}/www/last.txt`);
  await call("DELETE", "/v1/documents/site/shop");
  const listed = async (): Promise<TrashRecord[]> => ((await api(any(), "GET", "/v1/trash")).body as { trash: TrashRecord[] }).trash.filter((item) => item.unit === unit);
  const [trash] = (await eventually("in the trash", 60_000, async () => (await listed()).filter((item) => !item.id.includes("surplus")), (list) => list.length > 0)) as [TrashRecord];
  for (const holder of trash.nodes) {
    const names = await eventually(`renamed on ${holder}`, 30_000, async () => (await node(holder).ok(["zfs", "list", "-H", "-o", "name", "-r", "hpool/hc"])).split("\n"), (list) => !list.includes(`hpool/hc/${unit}`));
    if (names.includes(`hpool/hc/trash/${trash.id}`)) expect((await snapshots(holder, `hpool/hc/trash/${trash.id}`)).at(-1)?.split("@")[1]).toBe((await snapshots(home, `hpool/hc/trash/${trash.id}`)).at(-1)?.split("@")[1]);
  }
  expect((await page(home)).code).not.toBe(200);
  expect((await api(any(), "GET", `/v1/units/${unit}`)).status).toBe(404);

  await call("POST", `/v1/trash/${trash.id}/restore`);
  const again = await servingHome();
  expect((await page(again, "/last.txt")).text.trim()).toBe("last");
  expect((await seen())?.document?.origin).toBe("api");

  await call("DELETE", "/v1/documents/site/shop");
  await eventually("in the trash again", 60_000, listed, (list) => list.some((item) => !item.id.includes("surplus")));
  await eventually("purged", 60_000, async () => {
    await api(any(), "POST", "/v1/trash/purge");
    return listed();
  }, (list) => list.length === 0);
  for (const one of lab.nodes) {
    await eventually(`nothing of it on ${one.name}`, 30_000, async () => (await one.ok(["zfs", "list", "-H", "-o", "name", "-r", "hpool/hc"])).split("\n"), (list) => list.every((name) => !name.includes(unit)));
    expect((await api(one, "GET", "/v1/debris")).body).toMatchObject({ datasets: [], mounts: [], services: [] });
  }
}, 240_000);
