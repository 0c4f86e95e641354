import { delay } from "../../daemon/lib/abort.js";
import type { MovePlan } from "../../daemon/migration/plan-route.js";
import type { UnitWaits } from "../../daemon/migration/waits-route.js";
import { api, eventually, mainPid, ready } from "../support/hcd-lab.js";
import { strikeOnce } from "../support/move-kill.js";
import { MoveLab, movedHost, movedUnit } from "../support/move-lab.js";
import { ask } from "../support/sites-lab.js";

// A part of `npm run bench:move -- --kill`, which strikes every victim in every state; and what a move and a hold by hand tell.
jest.setTimeout(180_000);
let lab: MoveLab;
beforeAll(async () => {
  lab = await MoveLab.make("info");
});
afterAll(async () => {
  await lab?.sites.lab.destroy();
});
const elsewhere = async (): Promise<string> => {
  const { home } = await lab.unit();
  return lab.nodes.find(({ name }) => name !== home)?.name as string;
};

test("a dry run tells what a move would do and changes nothing; a move that may make nobody wait is given up, and the site goes on", async () => {
  const before = await lab.record();
  const to = await elsewhere();
  const plan = await lab.sites.call<MovePlan>("GET", `/v1/units/${movedUnit}/move-plan?to=${to}`);
  expect(plan).toMatchObject({ unit: movedUnit, from: before.home, to, refused: "" });
  expect(await lab.sites.call<MovePlan>("GET", `/v1/units/${movedUnit}/move-plan?to=n9`)).toMatchObject({ refused: expect.stringContaining("no node") });
  expect(await lab.record()).toEqual(before);
  const { operation } = await lab.sites.call<{ operation: string }>("POST", `/v1/units/${movedUnit}/move`, { to, reason: "test", maxHoldMs: 100 });
  expect(await lab.ended(operation)).toMatchObject({ state: "failed" });
  expect(await lab.record()).toMatchObject({ home: before.home, epoch: before.epoch });
  expect(await ask((lab.nodes[0] as (typeof lab.nodes)[number]).address, movedHost)).toBe(200);
});

test("a hold by hand keeps requests waiting, is in `hc status`, refuses a move, and its release answers them; the proxies tell how many waited and for how long", async () => {
  const to = await elsewhere();
  const sinceMs = Date.now();
  expect(await lab.sites.call("POST", `/v1/units/${movedUnit}/hold`, { forS: 60, reason: "test" })).toMatchObject({ inFlight: 0 });
  const asked = lab.nodes.map(({ address }) => ask(address, movedHost));
  let answered = 0;
  for (const one of asked) void one.then(() => (answered += 1));
  await eventually("in the status", 5_000, () => lab.sites.status(), ({ attention }) => attention.some(({ what }) => what.includes(`${movedUnit} is held for maintenance`)));
  await delay(500); // nothing is awaited: that no answer comes
  expect(answered).toBe(0);
  expect(await api(lab.sites.any(), "POST", `/v1/units/${movedUnit}/move`, { to, reason: "test" })).toMatchObject({ body: { error: { code: "CONFLICT" } } });
  await lab.sites.call("DELETE", `/v1/units/${movedUnit}/hold`);
  expect(await Promise.all(asked)).toEqual([200, 200, 200]);
  const waits = await eventually("what the proxies say", 10_000, () => lab.sites.call<UnitWaits>("GET", `/v1/units/${movedUnit}/waits?since=${sinceMs}`), ({ held }) => held >= 3);
  expect(waits).toMatchObject({ failed: 0, missing: [] });
  expect(waits.longestMs).toBeGreaterThan(500);
  // one that nobody ends is over by itself, for the visitors and in the record
  await lab.sites.call("POST", `/v1/units/${movedUnit}/hold`, { forS: 1, reason: "test" });
  const record = (): Promise<{ hold?: object }> => lab.sites.call("GET", `/v1/units/${movedUnit}`).then((seen) => (seen as { record: { hold?: object } }).record);
  expect(await ask(lab.nodes[0]?.address as string, movedHost)).toBe(200);
  await eventually("out of the record", 10_000, record, ({ hold }) => hold === undefined);
});

test("a page that asks its own site while that is held is answered, ends, and the hold has drained; what comes later waits", async () => {
  const { home } = await lab.unit();
  const [node, root] = [lab.node(home), `/hc/${movedUnit}`];
  await node.sh(`cat > ${root}/www/own.php <<'PHP'
<?php
if (isset($_GET['inner'])) exit('inner');
touch('/tmp/own-runs');
for ($i = 0; $i < 3000 && !file_exists('/tmp/own-go'); $i++) { usleep(10000); clearstatcache(); }
$own = stream_context_create(['http' => ['header' => "Host: {$_SERVER['HTTP_HOST']}"]]);
if (@file_get_contents('http://127.0.0.1/own.php?inner', false, $own) !== 'inner') http_response_code(500);
PHP
  rm -f ${root}/tmp/own-*`);
  const outer = ask(node.address, movedHost, { path: "/own.php" });
  await eventually("the page runs", 10_000, () => node.sh(`ls ${root}/tmp`), (names) => names.includes("own-runs"));
  const held = lab.sites.call("POST", `/v1/units/${movedUnit}/hold`, { forS: 60, reason: "test" });
  await eventually("in the status", 5_000, () => lab.sites.status(), ({ attention }) => attention.some(({ what }) => what.includes(`${movedUnit} is held for maintenance`)));
  await node.sh(`touch ${root}/tmp/own-go`);
  expect([await outer, await held]).toEqual([200, expect.objectContaining({ inFlight: 0 })]);
  const late = ask(node.address, movedHost, { path: "/own.php?inner" });
  await eventually("it waits", 5_000, () => api(node, "GET", "/metrics"), ({ body }) => /^hc_proxy_held [1-9]/m.test(String(body)));
  await lab.sites.call("DELETE", `/v1/units/${movedUnit}/hold`);
  expect(await late).toBe(200);
});

test("a crash of hcd closes no gate: no request waits; and what a person holds stays held", async () => {
  const { home } = await lab.unit();
  const node = lab.node(home);
  const crash = async (): Promise<void> => {
    const before = await mainPid(node, "hcd");
    await node.sh(`kill -9 ${before}`);
    await eventually("another process", 20_000, () => mainPid(node, "hcd"), (pid) => pid !== "0" && pid !== before);
    await ready(node, 60_000);
  };
  const serving = (): Promise<unknown> => eventually("it is told that it serves", 30_000, () => lab.sites.status(), ({ units }) => units.find(({ id }) => id === movedUnit)?.state === "serving");
  // the workers tell every 2 s, and hcd what they have told it: a number of the time before the crash is known to the process after it
  const held = async (): Promise<number> => Number(/^hc_proxy_held_total\{[^}]*unit="site-[^"]*"[^}]*\} ([0-9]+)$/m.exec(String((await api(node, "GET", "/metrics")).body))?.[1] ?? Number.NaN);
  await serving();
  await delay(2_500); // a whole report: what waited in the tests before is told
  const before = await eventually("what waited so far", 10_000, held, Number.isFinite);
  let over = false;
  const asked = (async () => {
    const codes = new Map<number, number>();
    while (!over) {
      const code = await ask(node.address, movedHost);
      codes.set(code, (codes.get(code) ?? 0) + 1);
      await delay(10);
    }
    return codes;
  })();
  await crash();
  await serving();
  over = true;
  expect([...(await asked).keys()]).toEqual([200]);
  await delay(2_500); // a whole report
  expect(await eventually("what waited", 10_000, held, Number.isFinite)).toBe(before);

  await lab.sites.call("POST", `/v1/units/${movedUnit}/hold`, { forS: 60, reason: "test" });
  let answered = 0;
  await Promise.all([crash(), (async () => {
    // one after the other: one that slips through while hcd is away or comes back would be answered
    for (let i = 0; i < 4; i += 1) {
      void ask(node.address, movedHost).then(() => (answered += 1));
      await delay(500);
    }
  })()]);
  expect(answered).toBe(0);
  await lab.sites.call("DELETE", `/v1/units/${movedUnit}/hold`);
  await eventually("all are answered", 10_000, async () => answered, (count) => count === 4);
});

test.each([["source hcd", "quieting"], ["target hcd", "starting"], ["etcd", "finalizing"], ["source power", "finalizing"]] as const)("a kill of %s about the state %s leaves one home that serves, nothing lost but what is reported, and no stuck request", async (blow, state) => {
  const struck = await strikeOnce(lab, 1, blow, state);
  expect(struck).toMatchObject({ violations: [] });
});
