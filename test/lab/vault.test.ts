
import { join } from "node:path";
import type { UnitRecord } from "../../daemon/lib/records.js";
import type { Status, StatusUnit } from "../../daemon/lib/status.js";
import type { BrowseInfo, FileAnswer, VaultListing } from "../../daemon/vault/routes.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import type { Ran } from "../support/hc-process.js";
import { HcProject, stepText } from "../support/hc-project.js";

// Must hold 8 of self-healing: a file and a unit as they were at a time, browsing, with a tenant who has put traps; replicas follow by increments.
jest.setTimeout(240_000);
const nodes = ["n1", "n2", "n3"] as const;
const root = "/hc/site-shop";
let project: HcProject;

const status = (): Promise<Status> => project.status();
const eventually = <T>(what: string, withinMs: number, look: () => Promise<T | undefined>): Promise<T> => project.eventually(what, withinMs, look, [["status"], ["events", "shop"]]);
const inside = (node: string, line: string): Promise<string> => project.inside(node, line);
/** As the site's own user. */
const tenant = (node: string, line: string): Promise<string> => inside(node, `cd ${root}/www && setpriv --reuid hc-acme --regid hc-acme --clear-groups bash -ec '${line}'`);
const page = (node: string, path = "/"): Promise<string> => inside(node, `curl -sS -m 20 -H 'Host: shop.localhost' http://127.0.0.1${path}`);
const snapshotsOf = async (node: string): Promise<string[]> => (await inside(node, "zfs list -H -d 1 -t snapshot -o name -s createtxg hpool/hc/site-shop")).split("\n");
const serving = (): Promise<StatusUnit> => eventually("the shop serves, its replica is in step", 90_000, async () => {
  const unit = (await status()).units.find(({ id }) => id === "site-shop");
  return unit?.state === "serving" && unit.replicas.length === 1 && unit.replicas.every(({ state, lagSeconds }) => state === "replica" && lagSeconds !== null && lagSeconds < 10) ? unit : undefined;
});
const listing = (): Promise<VaultListing> => project.json<VaultListing>(["vault", "list", "shop"]);
const vaultDatasets = async (node: string): Promise<string[]> => (await inside(node, "zfs list -H -r -t filesystem -o name hpool/hc")).split("\n").filter((name) => name.startsWith("hpool/hc/vault/"));
/** All that is written now is in a snapshot; the time at which it was made. */
async function snapshotTime(home: string): Promise<string> {
  await eventually("a snapshot after the writes", 30_000, async () => ((await inside(home, "zfs get -Hpr -t filesystem -o name,value written hpool/hc")).split("\n").includes("hpool/hc/site-shop\t0") ? true : undefined));
  const newest = (await listing()).snapshots.at(-1)!;
  return new Date(newest.madeMs).toISOString();
}
/** Everything in the tenant's tree, by tools of the system. */
const picture = (node: string, folder = `${root}/www`): Promise<string> => inside(node, `cd ${folder} && find . -printf '%p %y %m %U:%G %l %s\\n' | grep -v '^. d' | sort; find . -type f -exec md5sum {} + | sort -k2`);
const said = (ran: Ran): [number | null, string] => [ran.code, ran.stderr];

let home: string;
let replica: string;
const at: Record<string, string> = {};
const seen: Record<string, string> = {};

beforeAll(async () => {
  project = new HcProject(`vault-${process.pid}`);
  project.wish.sites = { shop: { content: join(process.cwd(), "test", "fixtures", "vault"), quota: "128M", retention: { minutes: 120, weeks: 0 } } };
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
  const unit = await serving();
  home = unit.home;
  replica = unit.replicas[0]!.node;
  // three versions of the site, each a little more than the one before
  await tenant(home, "echo one > version.txt; mkdir -p a/b empty; echo 1 > a/b/f; ln -s ../version.txt a/link; echo x > hard1; ln hard1 a/hard2; for i in $(seq 300); do echo $i > a/n$i; done");
  at["one"] = await snapshotTime(home);
  seen["one"] = await picture(home);
  await tenant(home, "echo two > version.txt; echo 2 > a/b/f; echo new > a/b/g");
  at["two"] = await snapshotTime(home);
  seen["two"] = await picture(home);
  // traps of a tenant who waits for root to write here
  await tenant(home, "echo three > version.txt; rm -r a; ln -s /etc a; rm -r empty; ln -s /etc/hostname empty; rm hard1; mkfifo hard1; mkdir -p more/x; echo 3 > more/x/y; printf z > \"$(printf \"n\\377\\nm\")\"");
  at["three"] = await snapshotTime(home);
  seen["three"] = await picture(home);
}, 400_000);
afterAll(async () => {
  await closeConnections();
  expect(await project.remove()).toBe(0);
});

test("the wish for a retention is in the desired document, and a change of it is an update", async () => {
  const unit = await project.json<{ document: { spec: { retention: object } } }>(["site", "show", "shop"]);
  expect(unit.document.spec.retention).toEqual({ minutes: 120, hours: 24, days: 30, weeks: 0 });
  (project.wish.sites["shop"] as { retention: object }).retention = { minutes: 120, weeks: 4 };
  expect((await project.operate("up")).done.map(stepText)).toEqual(["update Site shop (retention)"]);
  (project.wish.sites["shop"] as { retention: object }).retention = { minutes: 1 };
  expect((await project.operate("preview")).error).toContain("retention.minutes");
  (project.wish.sites["shop"] as { retention: object }).retention = { minutes: 120, weeks: 4 };
});

test("one file as it was, while the site runs; the present before is a snapshot", async () => {
  const { stdout, code, stderr } = await project.hc(["vault", "restore", "shop", "--file", "www/version.txt", "--at", at["one"] as string, "--json"]);
  expect([code, stderr]).toEqual([0, ""]);
  const done = JSON.parse(stdout) as FileAnswer;
  expect(done).toMatchObject({ unit: "site-shop", node: home, path: "www/version.txt", copied: 1 });
  expect(await page(home)).toBe("one");
  expect(await inside(home, `stat -c '%U %a' ${root}/www/version.txt; cat ${root}/www/more/x/y; readlink ${root}/www/a`)).toBe("hc-acme 644\n3\n/etc");
  // the snapshot made first holds what was replaced
  expect((await project.hc(["vault", "restore", "shop", "--file", "/www/version.txt", "--at", done.before])).stdout).toContain("www/version.txt is what it was at");
  expect(await page(home)).toBe("three");
});

test("paths through links, out of the unit, or to nothing are refused, and nothing is written", async () => {
  const restore = (file: string, time = at["one"] as string): Promise<Ran> => project.hc(["vault", "restore", "shop", "--file", file, "--at", time]);
  const before = await inside(home, "md5sum /etc/hostname; ls /etc | md5sum");
  expect(said(await restore("www/a/b/f"))).toEqual([2, expect.stringContaining("www/a is a symbolic link in the unit now")]);
  expect(said(await restore("www/a/hostname", at["three"]))).toEqual([2, expect.stringContaining("www/a is a symbolic link in")]);
  expect(said(await restore("../../etc/hostname"))).toEqual([2, expect.stringContaining("leads upwards")]);
  expect(said(await restore("www/none"))).toEqual([1, expect.stringContaining("there is no www/none in")]);
  expect(said(await restore("www/version.txt", "2001-01-01T00:00:00Z"))).toEqual([1, expect.stringContaining("the oldest one is of")]);
  expect(said(await restore("www/version.txt", "noon"))).toEqual([2, expect.stringContaining("is no time")]);
  expect(await inside(home, "md5sum /etc/hostname; ls /etc | md5sum")).toBe(before);
  expect(await inside(home, `ls -A ${root} | grep -c hc-restore || true`)).toBe("0");
});

test("a folder in the place of a link, and one below folders that are gone", async () => {
  expect(said(await project.hc(["vault", "restore", "shop", "--file", "www/a", "--at", at["two"] as string]))).toEqual([0, ""]);
  expect(await inside(home, `cd ${root}/www && cat a/b/f a/b/g && stat -c %U a/b/g && ls a | wc -l`)).toBe("2\nnew\nhc-acme\n303");
  await tenant(home, "rm -r a");
  expect(said(await project.hc(["vault", "restore", "shop", "--file", "www/a/b/g", "--at", at["two"] as string]))).toEqual([0, ""]);
  expect(await inside(home, `cd ${root}/www && find a -printf '%p %u\\n' | sort`)).toBe("a hc-acme\na/b hc-acme\na/b/g hc-acme");
  // back to the traps
  await tenant(home, "rm -r a; ln -s /etc a");
});

test("browsed: read-only, for root alone, listed, until its time", async () => {
  const made = await project.json<BrowseInfo>(["vault", "browse", "shop", "--at", at["two"] as string, "--for", "30m"]);
  expect(made).toMatchObject({ unit: "site-shop", node: home });
  expect(await picture(home, `${made.path}/www`)).toBe(seen["two"]);
  expect(await inside(home, `touch ${made.path}/www/x 2>&1; stat -c %a:%U $(dirname ${made.path})`)).toMatch(/Read-only file system\n700:root$/);
  expect(await inside(home, `setpriv --reuid hc-acme --regid hc-acme --clear-groups cat ${made.path}/www/version.txt 2>&1 || true`)).toContain("Permission denied");
  expect((await listing()).browses).toEqual([{ id: made.id, unit: "site-shop", node: home, snapshot: made.snapshot, path: made.path, expiresAtMs: made.expiresAtMs }]);
  expect((await project.hc(["vault", "list", "shop"])).stdout).toContain(made.id);
  expect((await status()).units.map(({ id }) => id)).toEqual(["site-shop"]);
  // a restart of hcd keeps it
  await inside(home, "kill -9 $(systemctl show -p MainPID --value hcd.service)");
  await serving();
  expect(await inside(home, `cat ${made.path}/www/version.txt`)).toBe("two");
  expect(said(await project.hc(["vault", "close", made.id]))).toEqual([0, ""]);
  expect(await vaultDatasets(home)).toEqual([]);
  // its time comes
  const other = await project.json<BrowseInfo>(["vault", "browse", "shop", "--at", "1s"]);
  await inside(home, `zfs set hybridcluster:vault=browse:1 hpool/hc/vault/${other.id}`);
  await eventually("it is gone", 30_000, async () => ((await vaultDatasets(home)).length === 0 ? true : undefined));
  expect((await project.hc(["vault", "close", other.id])).code).toBe(1);
  expect((await project.hc(["vault", "browse", "shop", "--at", "1s", "--for", "3d"])).code).toBe(2);
});

test("the whole site as it was, and back to the present that was kept; the replica follows by increments", async () => {
  const outside = await inside(home, "md5sum /etc/hostname; ls /etc | md5sum");
  const known = await snapshotsOf(replica);
  const restored = await project.hc(["vault", "restore", "shop", "--at", at["one"] as string]);
  expect([restored.code, restored.stdout]).toEqual([0, expect.stringMatching(/^site-shop is what it was at .* UTC: [0-9]+ of [0-9]+ entries written .*The present before is snapshot 1-/)]);
  await serving();
  expect(await page(home)).toBe("one");
  expect(await picture(home)).toBe(seen["one"]);
  expect(await inside(home, `stat -c %i ${root}/www/hard1 ${root}/www/a/hard2 | uniq | wc -l`)).toBe("1");
  expect(await inside(home, "md5sum /etc/hostname; ls /etc | md5sum")).toBe(outside);
  const { record } = await project.json<{ record: UnitRecord }>(["site", "show", "shop"]);
  expect(record.restore).toBeUndefined();
  expect(record.restored).toMatchObject({ error: "" });
  await eventually("the replica has what was restored", 30_000, async () => ((await snapshotsOf(replica)).at(-1) === (await snapshotsOf(home)).at(-1) ? true : undefined));
  expect((await snapshotsOf(replica)).filter((name) => known.includes(name))).toEqual(known);
  expect(said(await project.hc(["vault", "restore", "shop", "--at", record.restored!.before]))[0]).toBe(0);
  await serving();
  expect(await page(home)).toBe("three");
  // a fifo is nobody's content and is not made again
  const without = (text: string): string => text.split("\n").filter((line) => !line.includes("hard1")).join("\n");
  expect(without(await picture(home))).toBe(without(seen["three"] as string));
  expect(await vaultDatasets(home)).toEqual([]);
});

test("hcd killed in the middle of a restore: it is taken up and ended, the replica never sees a half", async () => {
  const running = project.hc(["vault", "restore", "shop", "--at", at["two"] as string]);
  await eventually("the restore has begun", 30_000, async () => (((await project.json<{ record: UnitRecord }>(["site", "show", "shop"])).record.restore?.before ?? "") !== "" ? true : undefined));
  await inside(home, "kill -9 $(systemctl show -p MainPID --value hcd.service)");
  expect((await running).code).toBe(0);
  await serving();
  expect(await page(home)).toBe("two");
  expect(await picture(home)).toBe(seen["two"]);
  await eventually("no clone and no stage is left", 30_000, async () => ((await vaultDatasets(home)).length === 0 && (await inside(home, `ls -A ${root} | grep -c hc-restore || true`)) === "0" ? true : undefined));
});

test("a new site of what it was, beside the living one; not for another customer", async () => {
  const copied = await project.hc(["vault", "copy", "shop", "--at", at["one"] as string, "--to", "old", "--hostname", "old.localhost"]);
  expect([copied.code, copied.stdout]).toEqual([0, expect.stringMatching(/^site-old is what site-shop was at .* UTC, at old.localhost: /)]);
  const there = await eventually("the copy serves", 60_000, async () => (await status()).units.find(({ id, state }) => id === "site-old" && state === "serving"));
  expect(await inside(there.home, "curl -sS -m 20 -H 'Host: old.localhost' http://127.0.0.1/")).toBe("one");
  expect(await picture(there.home, "/hc/site-old/www")).toBe(seen["one"]);
  expect(await page(home)).toBe("two");
  expect(said(await project.hc(["vault", "copy", "shop", "--at", "1m", "--to", "old", "--hostname", "old.localhost"]))).toEqual([1, expect.stringContaining("There is a site old")]);
  expect(said(await project.hc(["vault", "restore", "old", "--from", "none", "--at", "1m"]))).toEqual([1, expect.stringContaining("no unit site-none")]);
  await inside(there.home, "curl -sS -X DELETE --unix-socket /run/hybridcluster/hcd.sock http://hcd/v1/documents/site/old");
  await eventually("it is in the trash", 60_000, async () => ((await status()).units.length === 1 ? true : undefined));
}, 240_000);

test("no room for what is restored: the site is as it was, and says why", async () => {
  await tenant(home, "head -c 50000000 /dev/urandom > blob");
  const full = await snapshotTime(home);
  await tenant(home, "head -c 50000000 /dev/urandom > blob");
  await snapshotTime(home);
  const before = await picture(home);
  const failed = await project.hc(["vault", "restore", "shop", "--at", full]);
  expect(said(failed)).toEqual([4, expect.stringContaining("Raise the site's quota")]);
  await serving();
  expect(await picture(home)).toBe(before);
  expect(said(await project.hc(["vault", "restore", "shop", "--at", full, "--file", "www/blob"]))).toEqual([1, expect.stringContaining("Raise the site's quota")]);
  expect(await picture(home)).toBe(before);
  expect(await inside(home, `ls -A ${root} | grep -c hc-restore || true`)).toBe("0");
  // it still takes writes
  await tenant(home, "echo four > later");
});

test("afterwards it moves, every node is tidy, and the history tells of it", async () => {
  expect(said(await project.hc(["move", "shop", "--to", replica]))[0]).toBe(0);
  await serving();
  expect(await page(replica)).toBe("two");
  // the vault of the new home reaches as far back
  expect((await listing()).home).toBe(replica);
  for (const node of nodes) expect(JSON.parse(await inside(node, "curl -sS --unix-socket /run/hybridcluster/hcd.sock http://hcd/v1/debris"))).toMatchObject({ datasets: [], mounts: [], services: [] });
  const events = (await project.hc(["events", "shop", "--limit", "200"])).stdout;
  for (const event of ["file-restored", "browsed", "browse-expired", "restoring", "restored-at", "restore-failed"]) expect(events).toContain(event);
});
