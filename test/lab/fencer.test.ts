import { delay } from "../../daemon/lib/abort.js";
import { type DesiredDocument, siteDefaults } from "../../daemon/lib/documents.js";
import type { FenceNote, FenceOrder } from "../../daemon/fencer/parse-fence.js";
import type { ObservedUnit, UnitRecord } from "../../daemon/lib/records.js";
import { api, bringUp, declare, eventually, mainPid, prepareNode, ready } from "../support/hcd-lab.js";
import { type TestNode, withLab } from "../support/lab.js";

const lab = withLab(3);
const unit = "site-shop";
// manual: what the fencer does, and what its node does after it; failover.test.ts has the others' part
const document: DesiredDocument<"site"> = { version: 1, kind: "site", name: "shop", origin: "git", spec: { ...siteDefaults, customer: "acme", template: "tiny", hostnames: ["shop.localhost"], replicas: 2, failover: { policy: "manual", maxLossS: 60 }, placement: { ...siteDefaults.placement, pin: "" } } as unknown as DesiredDocument<"site">["spec"] };
interface UnitAnswer { record: UnitRecord; observed: Record<string, ObservedUnit> }

async function record(through: TestNode): Promise<UnitAnswer | undefined> {
  const answer = await api(through, "GET", `/v1/units/${unit}`);
  return answer.status === 200 ? (answer.body as UnitAnswer) : undefined;
}
async function home(): Promise<TestNode> {
  const found = await eventually(`${unit} serves`, 60_000, () => record(lab.nodes[0] as TestNode), (one) => one !== undefined && one.record.state === "live" && one.observed[one.record.home]?.state === "serving");
  return lab.node((found as UnitAnswer).record.home);
}
/** Through the public port: the proxy's gate, Apache and the container. */
const page = async (on: TestNode): Promise<number> => Number((await on.exec(["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_code}", "-H", "Host: shop.localhost", "http://127.0.0.1/?json"])).stdout);
const file = async <T>(on: TestNode, name: string): Promise<T | undefined> => {
  const { code, stdout } = await on.exec(["cat", `/run/hybridcluster/${name}`]);
  return code === 0 ? (JSON.parse(stdout) as T) : undefined;
};
/** Processes of the unit's control group, and whether its dataset is mounted: asked of the node, not of hcd. */
async function here(on: TestNode): Promise<{ processes: number; mounted: boolean }> {
  const text = await on.sh(`d=/sys/fs/cgroup/systemd/system.slice/hc-${unit}.service; [ -d "$d" ] || d=/sys/fs/cgroup/system.slice/hc-${unit}.service; if [ -d "$d" ]; then find "$d" -name cgroup.procs -exec cat {} + 2>/dev/null | wc -l || true; else echo 0; fi; grep -c ' /hc/${unit} ' /proc/self/mounts || true`);
  const [processes, mounts] = text.trim().split("\n").map(Number);
  return { processes: processes as number, mounted: (mounts as number) > 0 };
}
const problems = async (of: TestNode): Promise<string> => JSON.stringify(((await api(of, "GET", "/v1/status")).body as { attention?: unknown } | undefined)?.attention ?? []);

beforeAll(async () => {
  const hosts = await Promise.all(lab.nodes.map((one) => prepareNode(one, "a")));
  await bringUp(lab, hosts);
  await declare(lab, "site", "shop", document.spec);
  await eventually("the site answers", 90_000, async () => page(await home()), (code) => code === 200);
}, 300_000);

test("the fencer's order names the unit, and its deadline moves with each sign of life", async () => {
  const on = await home();
  const first = (await file<FenceOrder>(on, "fence.json")) as FenceOrder;
  expect(first.units).toEqual([{ unit, dataset: `hpool/hc/${unit}`, mountpoint: `/hc/${unit}` }]);
  const later = await eventually("a later deadline", 10_000, () => file<FenceOrder>(on, "fence.json"), (order) => order !== undefined && order.deadlineMs > first.deadlineMs);
  expect(later?.generation).toBe(first.generation);
  expect((await on.sh("stat -c '%a %U' /run/hybridcluster/fence.json /run/hybridcluster/fencer.json")).trim().split("\n")).toEqual(["600 root", "600 root"]);
  for (const other of lab.nodes.filter((one) => one.name !== on.name)) expect((await file<FenceOrder>(other, "fence.json"))?.units).toEqual([]);
}, 60_000);

test("a restart of hcd by its supervisor, killed or asked to, fences nothing: the container's process stays", async () => {
  const on = await home();
  const container = await mainPid(on, `hc-${unit}`);
  for (const how of ["kill -9 $(systemctl show -p MainPID --value hcd.service)", "systemctl restart hcd.service"]) {
    const [before, process] = [(await file<FenceOrder>(on, "fence.json")) as FenceOrder, await mainPid(on, "hcd")];
    await on.sh(how);
    await eventually("another process", 30_000, () => mainPid(on, "hcd"), (now) => now !== process && now !== "0");
    const next = (await file<FenceOrder>(on, "fence.json")) as FenceOrder;
    const after = await eventually("its sign of life", 30_000, () => file<FenceOrder>(on, "fence.json"), (order) => order !== undefined && order.deadlineMs > next.deadlineMs);
    // the session was handed over: the homes are what they were
    expect([after?.generation, after?.units.map((item) => item.unit)]).toEqual([before.generation, [unit]]);
    await ready(on, 60_000);
    expect(await home()).toBe(on);
  }
  expect(await file<FenceNote>(on, "fenced.json")).toBeUndefined();
  expect(await mainPid(on, `hc-${unit}`)).toBe(container);
  expect(await page(on)).toBe(200);
}, 120_000);

test("a fencer that hangs changes nothing for the site, and people are told; one that dies is started again", async () => {
  const on = await home();
  const fencer = await mainPid(on, "hcd-fencer");
  await on.sh(`kill -STOP ${fencer}`);
  try {
    await eventually("the problem is told", 30_000, () => problems(on), (text) => text.includes("hcd-fencer"));
    expect(await page(on)).toBe(200);
    expect(await here(on)).toMatchObject({ mounted: true });
  } finally {
    await on.sh(`kill -CONT ${fencer}`);
  }
  await eventually("the problem is gone", 30_000, () => problems(on), (text) => !text.includes("hcd-fencer"));
  expect(await file<FenceNote>(on, "fenced.json")).toBeUndefined();
  await on.sh(`kill -9 ${fencer}`);
  await eventually("another fencer", 20_000, async () => (await file<{ pid: number }>(on, "fencer.json"))?.pid, (seen) => seen !== undefined && String(seen) !== fencer);
  expect(await page(on)).toBe(200);
}, 120_000);

test("hcd hangs: within seconds the container is killed and its dataset unmounted; it goes on, and the site is back under a new generation", async () => {
  const on = await home();
  const before = (await file<FenceOrder>(on, "fence.json")) as FenceOrder;
  const epoch = (await record(on))?.record.epoch;
  await on.sh(`echo kept > /hc/${unit}/www/kept.txt`);
  // a process that would go on writing for ever, deaf to TERM, in the unit's own control group
  await on.sh(`(trap '' TERM; cd /hc/${unit}/data; while :; do date +%s%N >> beat; sleep 0.1; done) >/dev/null 2>&1 </dev/null & w=$!
    for d in /sys/fs/cgroup/systemd /sys/fs/cgroup /sys/fs/cgroup/unified; do p=$d/system.slice/hc-${unit}.service/cgroup.procs; if [ -e $p ]; then echo $w > $p; fi; done`);
  const control = await mainPid(on, "hcd");
  const began = performance.now();
  await on.sh(`kill -STOP ${control}`);
  let took = 0;
  try {
    await eventually("killed and unmounted", 20_000, () => here(on), ({ processes, mounted }) => processes === 0 && !mounted);
    took = performance.now() - began;
    const note = await eventually("verified", 10_000, () => file<FenceNote>(on, "fenced.json"), (seen) => seen?.state === "fenced");
    expect(note).toMatchObject({ generation: before.generation, units: [unit], left: [] });
    process.stderr.write(`fenced ${Math.round(took)} ms after the stop, verified ${(note?.verifiedMs as number) - (note?.deadlineMs as number)} ms after the deadline\n`);
    expect(await page(on)).not.toBe(200);
    // it stays so for as long as hcd hangs
    await delay(3_000);
    expect(await here(on)).toEqual({ processes: 0, mounted: false });
  } finally {
    await on.sh(`kill -CONT ${control}`);
  }
  // not before a heartbeat's age allows it, and not much later than OWNERSHIP's 6.0 s: two cores are shared by three nodes here
  expect(took).toBeGreaterThan(3_000);
  expect(took).toBeLessThan(9_000);
  const continued = performance.now();
  await eventually("it serves again", 60_000, () => page(on), (code) => code === 200);
  process.stderr.write(`served again ${Math.round(performance.now() - continued)} ms after it went on\n`);
  const after = await eventually("a later generation", 30_000, () => file<FenceOrder>(on, "fence.json"), (order) => order !== undefined && order.generation > before.generation && order.units.length === 1);
  expect((await record(on))?.record).toMatchObject({ home: on.name, epoch, homeGeneration: after?.generation });
  expect((await on.sh(`cat /hc/${unit}/www/kept.txt`)).trim()).toBe("kept");
  await eventually("it is told", 20_000, async () => `${JSON.stringify((await api(on, "GET", `/v1/events?unit=${unit}`)).body)} ${await problems(on)}`, (text) => text.includes('"fenced"') && text.includes("killed and unmounted"));
}, 150_000);

test("hcd and its fencer hang together: the gate is closed by data; when both go on, the site is back under a new generation", async () => {
  const on = await home();
  const before = (await file<FenceOrder>(on, "fence.json")) as FenceOrder;
  const both = `${await mainPid(on, "hcd")} ${await mainPid(on, "hcd-fencer")}`;
  await on.sh(`kill -STOP ${both}`);
  try {
    await eventually("the gate closes", 30_000, () => page(on), (code) => code !== 200);
    expect(await page(on)).not.toBe(200);
  } finally {
    await on.sh(`kill -CONT ${both}`);
  }
  await eventually("it serves again", 60_000, () => page(on), (code) => code === 200);
  expect(((await file<FenceOrder>(on, "fence.json")) as FenceOrder).generation).toBeGreaterThan(before.generation);
  expect((await file<FenceNote>(on, "fenced.json"))?.left ?? []).toEqual([]);
}, 120_000);

test("a node that is cut off ends its units, hcd being well; healed, they are back", async () => {
  const on = await home();
  const before = (await file<FenceOrder>(on, "fence.json")) as FenceOrder;
  await on.cut();
  try {
    await eventually("ended", 20_000, () => here(on), ({ processes, mounted }) => processes === 0 && !mounted);
    await eventually("noted", 10_000, () => file<FenceNote>(on, "fenced.json"), (note) => note?.state === "fenced" && note.generation === before.generation);
  } finally {
    await on.heal();
  }
  await eventually("it serves again", 60_000, () => page(on), (code) => code === 200);
}, 120_000);

test("what cannot be unmounted leaves the node without a session", async () => {
  const on = await home();
  const before = (await file<FenceOrder>(on, "fence.json")) as FenceOrder;
  const control = await mainPid(on, "hcd");
  // a second mount on the same place, and a process of nobody's inside: no unmount of ZFS ends that
  await on.sh(`mount --bind /root /hc/${unit}; cd /hc/${unit}; setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! > /root/sitter; kill -STOP ${control}`);
  try {
    const note = await eventually("something is left", 20_000, () => file<FenceNote>(on, "fenced.json"), (seen) => seen?.generation === before.generation && seen.left.length > 0 && seen.left.every(({ why }) => !why.includes("looked at")));
    expect(note?.state).toBe("fencing");
    await on.sh(`kill -CONT ${control}`);
    await eventually("no session is taken", 20_000, () => api(on, "GET", "/v1/ready"), ({ body }) => JSON.stringify(body).includes("the fencer is ending"));
    expect((await file<FenceOrder>(on, "fence.json"))?.generation).toBe(before.generation);
  } finally {
    await on.sh(`kill -CONT ${control}; kill -9 $(cat /root/sitter); umount -l /hc/${unit} 2>/dev/null || true`);
  }
  await eventually("nothing is left", 30_000, () => file<FenceNote>(on, "fenced.json"), (note) => note?.state === "fenced" || note?.state === "overtaken");
  await eventually("it serves again", 60_000, () => page(on), (code) => code === 200);
}, 150_000);

test("a node that leaves the cluster leaves nothing for its fencer", async () => {
  const away = lab.nodes.find((one) => one.name !== "n1") as TestNode;
  await eventually("taken out", 60_000, () => api(away, "DELETE", "/v1/identity"), ({ status }) => status === 200);
  expect(await file<FenceOrder>(away, "fence.json")).toBeUndefined();
  await eventually("no fence is under way", 20_000, () => file<FenceNote>(away, "fenced.json"), (note) => note === undefined);
}, 120_000);
