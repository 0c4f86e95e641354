
import { join } from "node:path";
import type { UnitRecord } from "../../daemon/lib/records.js";
import type { Status, StatusUnit } from "../../daemon/lib/status.js";
import type { StashAnswer } from "../../daemon/replication/stash-routes.js";
import type { GroupInfo, GroupMade } from "../../daemon/vault/group-routes.js";
import type { FileAnswer, VaultListing } from "../../daemon/vault/routes.js";
import type { StashDiff } from "../../daemon/vault/stash-desk.js";
import type { StashAnswerOne } from "../../daemon/vault/stash-desk-routes.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { HcProject } from "../support/hc-project.js";

// Must hold 8 and 11 of self-healing: groups of sites at one moment, what lies in the stash, and pools without room.
jest.setTimeout(240_000);
const nodes = ["n1", "n2", "n3"] as const;
const sites = ["blog", "forum", "shop"] as const;
let project: HcProject;

const status = (): Promise<Status> => project.status();
const eventually = <T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> => project.eventually(what, withinMs, look, [["stash", "list", "--json"], ["status"], ["events", "shop"]]);
const inside = (node: string, line: string): Promise<string> => project.inside(node, line);
const unitOf = async (site: string): Promise<StatusUnit> => (await status()).units.find(({ name }) => name === site) as StatusUnit;
const recordOf = async (site: string): Promise<UnitRecord> => (await project.json<{ record: UnitRecord }>(["site", "show", site])).record;
const tenant = (node: string, site: string, line: string): Promise<string> => inside(node, `cd /hc/site-${site}/www && setpriv --reuid hc-acme --regid hc-acme --clear-groups bash -ec '${line}'`);
const page = (node: string, site: string): Promise<string> => inside(node, `curl -sS -m 20 -H 'Host: ${site}.localhost' http://127.0.0.1/`);
const snapshotsOf = async (node: string, site: string): Promise<string[]> => (await inside(node, `zfs list -H -d 1 -t snapshot -o name -s createtxg hpool/hc/site-${site} | sed 's/.*@//'`)).split("\n");
const datasetsBelow = async (node: string, folder: string): Promise<string[]> => (await inside(node, "zfs list -H -r -t filesystem -o name hpool/hc")).split("\n").filter((name) => name.startsWith(`hpool/hc/${folder}/`));
const inStep = (site: string): Promise<StatusUnit> => eventually(`${site} serves, its replica is in step`, 90_000, async () => {
  const unit = await unitOf(site);
  if (unit?.state !== "serving" || !unit.replicas.every(({ state, lagSeconds }) => state === "replica" && lagSeconds === 0)) return undefined;
  // a lag is known a moment after the write
  if ((await inside(unit.home, `zfs get -Hp -o value written hpool/hc/site-${site}`)) !== "0") return undefined;
  const [here, there] = [await snapshotsOf(unit.home, site), await snapshotsOf(unit.replicas[0]?.node as string, site)];
  return here.at(-1) === there.at(-1) ? unit : undefined;
});
const fill = (node: string): Promise<string> => inside(node, "zfs create -o canmount=off -o reservation=$(( $(zfs get -Hp -o value available hpool) - 1048576 )) hpool/fill");
/** Everything that must never go to make room, on all nodes. */
const treasure = async (): Promise<string[]> => (await Promise.all(nodes.map(async (node) => (await inside(node, "zfs list -H -r -t all -o name hpool/hc | grep -e @ -e trash/ -e stash/ || true")).split("\n").map((name) => `${node} ${name}`)))).flat();

const unit: Record<string, StatusUnit> = {};
beforeAll(async () => {
  project = new HcProject(`several-${process.pid}`);
  const content = join(process.cwd(), "test", "fixtures", "vault");
  for (const site of sites) project.wish.sites[site] = { content, placement: { prefer: [site === "forum" ? "n2" : "n1"] } };
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
  for (const site of sites) unit[site] = await inStep(site);
  expect(sites.map((site) => unit[site]?.home)).toEqual(["n1", "n2", "n1"]);
}, 400_000);
afterAll(async () => {
  await closeConnections();
  expect(await project.remove()).toBe(0);
});

test("all sites of a customer at one moment, kept on every copy, and back together; all or none", async () => {
  for (const site of sites) await tenant(unit[site]!.home, site, "echo one > version.txt");
  const made = await project.json<GroupMade>(["vault", "snapshot", "--customer", "acme", "--name", "before-upgrade"]);
  expect(made.units.map(({ unit: id, home }) => [id, home])).toEqual([["site-blog", "n1"], ["site-forum", "n2"], ["site-shop", "n1"]]);
  expect(made.withinMs).toBeGreaterThan(0);
  expect((await project.json<GroupMade>(["vault", "snapshot", "shop", "blog", "--name", "same-node", "--for", "2h"])).withinMs).toBe(0);
  for (const site of sites) await tenant(unit[site]!.home, site, "echo two > version.txt; echo more > more.txt");
  for (const { unit: id, snapshot } of made.units) {
    const site = id.replace("site-", "");
    await inStep(site);
    expect(await snapshotsOf(unit[site]!.replicas[0]!.node, site)).toContain(snapshot);
  }
  expect((await project.json<GroupInfo[]>(["vault", "groups"])).map(({ name, of, units }) => [name, of, units.length])).toEqual([["same-node", 2, 2], ["before-upgrade", 3, 3]]);
  expect((await project.json<VaultListing>(["vault", "list", "forum"])).snapshots.filter(({ group }) => group !== "").map(({ group, name }) => [group, name])).toEqual([["before-upgrade", made.units[1]?.snapshot]]);
  const again = await project.hc(["vault", "snapshot", "forum", "--name", "before-upgrade"]);
  expect([again.code, again.stderr]).toEqual([1, expect.stringContaining("has a group snapshot before-upgrade already")]);

  // one of them has nothing of that time: none is touched
  for (const args of [["shop", "forum", "--at", "2001-01-01T00:00:00Z"], ["shop", "none", "--at", "1s"], ["shop", "forum", "--at", "same-node"]]) expect((await project.hc(["vault", "restore", ...args])).code).not.toBe(0);
  for (const site of sites) expect(await recordOf(site)).not.toMatchObject({ restored: expect.anything() });
  const restored = await project.hc(["vault", "restore", "--group", "before-upgrade"]);
  expect([restored.code, restored.stdout.trim().split("\n").map((line) => line.split(" ")[0])]).toEqual([0, ["site-blog", "site-forum", "site-shop"]]);
  for (const site of sites) {
    await inStep(site);
    expect(await page(unit[site]!.home, site)).toBe("one");
    expect(await inside(unit[site]!.home, `ls /hc/site-${site}/www`)).not.toContain("more.txt");
  }
  const before = (await recordOf("shop")).restored?.before as string;
  expect((await project.hc(["vault", "restore", "shop", "--at", before])).code).toBe(0);
  expect(await page("n1", "shop")).toBe("two");
  for (const name of ["same-node", "before-upgrade"]) expect((await project.hc(["vault", "forget", name])).code).toBe(0);
  expect((await project.hc(["vault", "groups"])).stdout).toContain("There is none");
  expect((await recordOf("shop")).groups).toBeUndefined();
});

let stash: StashAnswerOne;
test("a history that lost: shown, compared by files, and brought back as a file, as the whole, as a new site", async () => {
  const { home, replicas: [replica] } = await inStep("shop");
  await tenant(home, "shop", "mkdir -p shared; for i in 1 2 3; do echo $i > shared/$i; done; ln -s 1 shared/link");
  await inStep("shop");
  // what a node that was cut off does: it writes on where nobody sees it (its hcd, which would unmount that, is stopped meanwhile)
  await inside(replica!.node, `set -e; pid=$(systemctl show -p MainPID --value hcd.service); trap "kill -CONT $pid" EXIT; kill -STOP $pid
    zfs set readonly=off hpool/hc/site-shop; zfs mount hpool/hc/site-shop; cd /hc/site-shop/www
    echo lost > version.txt; echo order > orders.txt; rm shared/1; echo changed > shared/2; chmod 600 shared/3; ln -sfn /etc shared/link; mkdir -p sub/deep; echo x > "sub/deep/$(printf 'a\\033b')"; chown -hR hc-acme:hc-acme ./*
    cd /; zfs unmount hpool/hc/site-shop; zfs set readonly=on hpool/hc/site-shop`);
  await tenant(home, "shop", "echo three > version.txt; echo changed > shared/2");
  const { stashes } = await eventually("it is in the stash", 60_000, async () => {
    const answer = await project.json<StashAnswer>(["stash", "list"]);
    return answer.stashes.length === 1 ? answer : undefined;
  });
  await inStep("shop");
  const id = stashes[0]!.id;
  stash = await project.json<StashAnswerOne>(["stash", "show", id]);
  expect(stash).toMatchObject({ id, unit: "site-shop", node: replica!.node, customer: "acme", epoch: 1, common: { name: stashes[0]!.common } });
  expect((await project.hc(["stash", "show", id])).stdout).toContain(`site-shop went on without ${replica!.node}, from ${stash.common!.name}`);

  const diff = await project.json<StashDiff>(["stash", "diff", id]);
  expect(diff).toMatchObject({ complete: true, unread: 0, total: diff.differences.length, same: 1, present: { name: expect.stringMatching(/^1-/) } });
  expect(diff.differences.map(({ path, change, both, present }) => [path, change, both, present === null])).toEqual([
    ["www/orders.txt", "added", false, true], ["www/shared/1", "removed", false, false], ["www/shared/3", "rights", false, false], ["www/shared/link", "changed", false, false],
    ["www/sub", "added", false, true], ["www/sub/deep", "added", false, true], ["www/sub/deep/a\u001bb", "added", false, true], ["www/version.txt", "changed", true, false],
  ]);
  const told = (await project.hc(["stash", "diff", id, "--limit", "7"])).stdout;
  expect([told.includes("\u001b"), told.includes("www/sub/deep/a\\u001bb"), told.trim().split("\n").at(-1)]).toEqual([false, true, "8 differ, 1 of them not shown (--limit); 1 changed just so in both."]);

  expect((await project.hc(["stash", "restore", id])).code).toBe(2);
  const file = await project.json<FileAnswer>(["stash", "restore", id, "--file", "www/orders.txt"]);
  expect(file).toMatchObject({ path: "www/orders.txt", node: home, copied: 1 });
  expect(await inside(home, "stat -c %U /hc/site-shop/www/orders.txt; cat /hc/site-shop/www/orders.txt /hc/site-shop/www/version.txt")).toBe("hc-acme\norder\nthree");
  const through = await project.hc(["stash", "restore", id, "--file", "www/shared/link/hostname"]);
  expect([through.code, through.stderr]).toEqual([2, expect.stringContaining("is a symbolic link")]);

  expect((await project.hc(["stash", "restore", id, "--to", "lost", "--hostname", "lost.localhost"])).code).toBe(0);
  const lost = await eventually("the copy serves", 60_000, async () => (await status()).units.find(({ name, state }) => name === "lost" && state === "serving"));
  expect([await page(lost.home, "lost"), await page(home, "shop")]).toEqual(["lost", "three"]);

  const whole = await project.hc(["stash", "restore", id, "--whole"]);
  expect([whole.code, whole.stdout]).toEqual([0, expect.stringContaining(`site-shop is what ${id} holds`)]);
  await inStep("shop");
  expect([await page(home, "shop"), await inside(home, "cd /hc/site-shop/www; ls shared; cat shared/2; readlink shared/link")]).toEqual(["lost", "2\n3\nlink\nchanged\n/etc"]);
  expect((await project.hc(["vault", "restore", "shop", "--at", (await recordOf("shop")).restored!.before])).code).toBe(0);
  expect(await page(home, "shop")).toBe("three");
  for (const node of nodes) await eventually(`nothing is left on ${node}`, 20_000, async () => ((await datasetsBelow(node, "vault")).length === 0 ? true : undefined));
  expect(await datasetsBelow(replica!.node, "stash")).toEqual([`hpool/hc/stash/${id}`]);
  await inside(lost.home, "curl -sS -X DELETE --unix-socket /run/hybridcluster/hcd.sock http://hcd/v1/documents/site/lost");
  await eventually("it is in the trash", 60_000, async () => ((await status()).units.length === sites.length ? true : undefined));
});

test("the pool of a copy is full: replication is paused and says so, nothing is destroyed, and it goes on when there is room", async () => {
  const { home, replicas: [replica] } = await inStep("shop");
  const kept = await treasure();
  await fill(replica!.node);
  await tenant(home, "shop", "head -c 5000000 /dev/urandom > blob");
  await eventually("it is paused", 60_000, async () => ((await unitOf("shop")).replicas[0]?.state === "paused" ? true : undefined));
  const why = `site-shop: replication is paused: the pool of ${replica!.node} has no room for what is new; it goes on by itself when there is`;
  expect((await project.hc(["why", "shop"])).stdout).toContain(why);
  expect((await status()).attention).toContainEqual({ severity: "warning", what: why, command: "hc why shop" });
  expect(await page(home, "shop")).toBe("three");
  expect(await treasure()).toEqual(expect.arrayContaining(kept));
  await inside(replica!.node, "zfs destroy hpool/fill");
  expect(await inStep("shop")).toMatchObject({ home, epoch: unit["shop"]!.epoch });
  expect(await treasure()).toEqual(expect.arrayContaining(kept));
});

test("the pool of the home is full: writes are refused, the site is read on at its home, nothing is destroyed, and all goes on when there is room", async () => {
  const { home, epoch } = await inStep("shop");
  const kept = await treasure();
  await fill(home);
  const filledS = Number(await inside(home, "date +%s"));
  expect(await tenant(home, "shop", "head -c 20000000 /dev/urandom > more 2>&1 || true; true").catch((error: Error) => error.message)).toBe("");
  expect(await tenant(home, "shop", "head -c 3000000 /dev/urandom > most || echo refused").catch((error: Error) => error.message)).toContain("refused");
  // longer than disks that take no write are trusted: a full pool is no dead one
  await eventually("the sign of life goes on", 40_000, async () => (Number(await inside(home, "stat -c %Y /hc/.hcd-probe")) > filledS + 14 ? true : undefined));
  const paused = await eventually("it is paused", 30_000, async () => {
    const seen = await unitOf("shop");
    return seen.replicas[0]?.state === "paused" ? seen : undefined;
  });
  expect(paused).toMatchObject({ home, epoch, state: "serving" });
  expect(await page(home, "shop")).toBe("three");
  const told = new RegExp(`pool of ${home} is (9[5-9]|100) % full[^]*replication is paused: the pool of ${home} has no room`);
  await eventually("it is told, with the pool as it is now", 8_000, async () => {
    const { code, stdout } = await project.hc(["status"]);
    return code === 2 && told.test(stdout) ? true : undefined;
  });
  expect(await treasure()).toEqual(expect.arrayContaining(kept));
  await inside(home, "zfs destroy hpool/fill");
  expect(await tenant(home, "shop", "echo four > version.txt; rm -f more most")).toBe("");
  expect(await inStep("shop")).toMatchObject({ home, epoch });
  expect(await page(home, "shop")).toBe("four");
  expect(await treasure()).toEqual(expect.arrayContaining(kept));
});

test("the stash is discarded by a word, and every node is tidy", async () => {
  expect((await project.hc(["stash", "discard", stash.id, "--yes"])).code).toBe(0);
  expect((await project.hc(["stash", "show", stash.id])).code).toBe(1);
  for (const node of nodes) expect(JSON.parse(await inside(node, "curl -sS --unix-socket /run/hybridcluster/hcd.sock http://hcd/v1/debris"))).toMatchObject({ datasets: [], mounts: [], services: [] });
  const events = (await project.hc(["events", "shop", "--limit", "200"])).stdout;
  for (const event of ["group-snapshot", "group-forgotten", "restored-at", "file-restored", "stashed", "stash-discarded", "replication-paused"]) expect(events).toContain(event);
});
