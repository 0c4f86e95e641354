import { delay } from "../../daemon/lib/abort.js";
import type { FenceNote, FenceOrder, FencerSign } from "../../daemon/fencer/parse-fence.js";
import { machineMs } from "../../daemon/lib/clock.js";
import { siteDefaults } from "../../daemon/lib/documents.js";
import type { UnitRecord } from "../../daemon/lib/records.js";
import { fenceMs } from "../../daemon/membership/session.js";
import { api, bringUp, declare, eventually, mainPid, prepareNode, ready } from "../support/hcd-lab.js";
import { type TestNode, withLab } from "../support/lab.js";
import { WatchdogStandIn } from "../support/watchdog-stand-in.js";

const lab = withLab(3);
const unit = "site-shop";
const watchdogs = new Map<string, WatchdogStandIn>();
const of = (node: TestNode): WatchdogStandIn => watchdogs.get(node.name) as WatchdogStandIn;
const any = (): TestNode => lab.nodes.find((node) => node.alive()) as TestNode;
const page = async (on: TestNode): Promise<number> => Number((await on.exec(["curl", "-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_code}", "-H", "Host: shop.localhost", "http://127.0.0.1/?json"])).stdout);
async function home(): Promise<TestNode> {
  const found = await eventually(`${unit} serves`, 60_000, async () => (await api(any(), "GET", `/v1/units/${unit}`)).body as { record: UnitRecord; observed: Record<string, { state: string }> } | undefined, (one) => one?.record?.state === "live" && lab.node(one.record.home).alive() && one.observed[one.record.home]?.state === "serving");
  return lab.node((found as { record: UnitRecord }).record.home);
}
const file = async <T>(on: TestNode, name: string): Promise<T | undefined> => {
  const { code, stdout } = await on.exec(["cat", `/run/hybridcluster/${name}`]);
  return code === 0 ? (JSON.parse(stdout) as T) : undefined;
};
const mounted = async (on: TestNode): Promise<boolean> => Number((await on.sh(`grep -c ' /hc/${unit} ' /proc/self/mounts || true`)).trim()) > 0;
/** The home, when its own order says so too: after a failover the record of before is believed for a moment. */
async function settled(): Promise<TestNode> {
  let on: TestNode | undefined;
  await eventually("a living home with the site in its order", 60_000, async () => {
    on = await home();
    return file<FenceOrder>(on, "fence.json");
  }, (order) => order?.units.some((one) => one.unit === unit) === true && order.deadlineMs > machineMs());
  return on as TestNode;
}
/** When the last sign of life was sent, by machineMs. */
const lastSent = async (on: TestNode): Promise<number> => ((await file<FenceOrder>(on, "fence.json")) as FenceOrder).deadlineMs - fenceMs;
/** It was fed until 1.4 s after the sending, at least once in 100 ms, and has 5 s; the reader outside looks every 20 ms, on two cores that others use too. */
function inTime(afterMs: number): void {
  process.stderr.write(`reset ${afterMs} ms after the last sign of life was sent\n`);
  expect(afterMs).toBeGreaterThan(6_000);
  expect(afterMs).toBeLessThanOrEqual(6_400 + 200);
}
const attention = async (): Promise<string> => JSON.stringify(((await api(any(), "GET", "/v1/status")).body as { attention?: unknown } | undefined)?.attention ?? []);
const nobodyReset = (): void => expect([...watchdogs].filter(([, one]) => one.resetAtMs !== undefined).map(([name]) => name)).toEqual([]);

beforeAll(async () => {
  const hosts = await Promise.all(lab.nodes.map(async (one) => {
    watchdogs.set(one.name, await WatchdogStandIn.place(lab, one));
    return prepareNode(one, "a", { watchdog: { device: of(one).device } });
  }));
  await bringUp(lab, hosts);
  await declare(lab, "site", "shop", { ...siteDefaults, customer: "acme", template: "tiny", hostnames: ["shop.localhost"], replicas: 2 });
  await eventually("the site answers", 90_000, async () => page(await home()), (code) => code === 200);
}, 300_000);
afterAll(async () => {
  await Promise.all([...watchdogs.values()].map((one) => one.remove()));
});

test("a node that runs is not reset; a restart of hcd or of its fencer, asked for or not, does not disarm it", async () => {
  const on = await home();
  const watchdog = of(on);
  await eventually("armed, and told", 20_000, () => file<FencerSign>(on, "fencer.json"), (sign) => sign?.watchdog?.state === "on");
  expect(watchdog.history.at(-1)).toBe("armed");
  const before = watchdog.history.length;
  for (const how of ["systemctl restart hcd-fencer.service", "kill -9 $(systemctl show -p MainPID --value hcd-fencer.service)", "systemctl restart hcd.service"]) {
    await on.sh(how);
    await delay(3_000);
    await ready(on, 60_000);
  }
  await eventually("fed by a new fencer", 10_000, () => file<FencerSign>(on, "fencer.json"), (sign) => (sign?.watchdog?.fed ?? 0) > 3);
  // each fencer left it running, and it was not disarmed for a moment
  expect(watchdog.history.slice(before)).toEqual(["closed armed", "closed armed"]);
  expect(await page(on)).toBe(200);
  expect(await file<FenceNote>(on, "fenced.json")).toBeUndefined();
  await delay(Math.max(0, 20_000 - (machineMs() - (watchdog.armedSinceMs ?? 0))));
  nobodyReset();
  process.stderr.write(`longest time between two feedings: ${[...watchdogs.values()].map((one) => one.longestGapMs).join(", ")} ms\n`);
  const metrics = String((await api(on, "GET", "/metrics")).body);
  expect(metrics).toMatch(/^hc_watchdog_armed(\{[^}]*\})? 1$/m);
  expect(await attention()).not.toContain("watchdog");
}, 120_000);

test("a node that is cut off ends its sites and is not reset", async () => {
  const on = await home();
  const before = (await file<FenceOrder>(on, "fence.json")) as FenceOrder;
  await on.cut();
  try {
    const note = await eventually("fenced", 20_000, () => file<FenceNote>(on, "fenced.json"), (seen) => seen?.state === "fenced" && seen.generation === before.generation);
    process.stderr.write(`fence verified ${(note?.verifiedMs as number) - (note?.deadlineMs as number)} ms after the deadline\n`);
    expect(await mounted(on)).toBe(false);
    await delay(4_000);
    nobodyReset();
  } finally {
    await on.heal();
  }
}, 60_000);

test("what cannot be unmounted is reset 6.4 s after the last sign of life, by a fencer that runs and feeds no more", async () => {
  const on = await settled();
  const watchdog = of(on);
  watchdog.harmless = true;
  const control = await mainPid(on, "hcd");
  // no unmount works any more
  await on.ok(["tee", "/root/zfs"], { input: `#!/bin/sh\ncase $1 in unmount|umount) if [ -e /root/stuck ]; then echo "cannot unmount '/hc/${unit}': pool or dataset is busy" >&2; exit 1; fi;; esac\nexec /usr/local/sbin/zfs.lab "$@"\n` });
  await on.sh(`touch /root/stuck; chmod 755 /root/zfs; mv /usr/local/sbin/zfs /usr/local/sbin/zfs.lab; mv /root/zfs /usr/local/sbin/zfs; kill -STOP ${control}`);
  try {
    const sentMs = await lastSent(on);
    await eventually("reset", 15_000, async () => watchdog.resetAtMs, (at) => at !== undefined);
    inTime((watchdog.resetAtMs as number) - sentMs);
    expect(await file<FenceNote>(on, "fenced.json")).toMatchObject({ state: "fencing" });
    expect(await mounted(on)).toBe(true);
  } finally {
    await on.sh(`rm /root/stuck; kill -CONT ${control}`);
    watchdog.harmless = false;
    watchdog.resetAtMs = undefined;
  }
  await eventually("everything is ended, and it is fed again", 30_000, async () => ((await file<FenceNote>(on, "fenced.json"))?.state === "fencing" ? false : watchdog.armed()), (fed) => fed);
}, 90_000);

test("hcd hangs and then its fencer, with a site at home: the power is cut 6.4 s after the last sign of life, and the site is served elsewhere", async () => {
  const on = await settled();
  await on.sh(`kill -STOP ${await mainPid(on, "hcd")}`);
  const sentMs = await lastSent(on);
  await delay(sentMs + 2_500 - machineMs());
  await on.sh(`kill -STOP ${await mainPid(on, "hcd-fencer")}`);
  expect(machineMs() - sentMs).toBeLessThan(fenceMs);
  expect(await mounted(on)).toBe(true);
  await eventually("the power is cut", 15_000, async () => on.alive(), (alive) => !alive);
  inTime((of(on).resetAtMs as number) - sentMs);
  expect((await home()).name).not.toBe(on.name);
}, 120_000);

test("a shutdown with a site at home disarms it when all is ended, and is no reset", async () => {
  const on = await settled();
  const watchdog = of(on);
  expect(watchdog.armed()).toBe(true);
  await on.stop();
  expect(watchdog.history.at(-1)).toBe("disarmed");
  expect(watchdog.resetAtMs).toBeUndefined();
}, 60_000);
