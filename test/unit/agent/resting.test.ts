import { delay } from "../../../daemon/lib/abort.js";
import type { Clock } from "../../../daemon/lib/clock.js";
import { type LoopNode, startLoopNode } from "../../support/loop-node.js";

/** The real clock, faster: ticks are short, order stays real. */
const speed = 20;
const clock: Clock = { monotonicMs: () => performance.now() * speed, wallMs: () => Date.now(), sleep: (ms, signal) => delay(ms / speed, signal) };
let node: LoopNode;
const published = (unit: string): { snapshots: { name: string }[] } | undefined => node.context.view.current().observedUnits.get("n1")?.get(unit);
async function until(what: string, look: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!look()) {
    if (performance.now() > end) throw new Error(`not in time: ${what}`);
    await delay(10);
  }
}

beforeAll(async () => {
  node = await startLoopNode(6, 3, clock);
}, 30_000);
afterAll(() => node.stop());

test("an idle node goes on with its rounds, but plans, asks and publishes nothing anew; that what is published is still true is told", async () => {
  await until("resting", () => node.agent.rounds() > 5 && node.text.commands.get("zfs get written") !== undefined);
  // what it does at first is done: nothing was published for a while
  let [last, same] = [-1, 0];
  await until("quiet", () => {
    same = node.published() === last ? same + 1 : 0;
    last = node.published();
    return same > 60;
  });
  const [rounds, written, atMs, commands] = [node.agent.rounds(), node.published(), node.agent.publishedAtMs(), new Map(node.text.commands)];
  const { services } = node.context;
  const states = services.states.bind(services);
  let lists = 0;
  services.states = () => {
    lists += 1;
    return states();
  };
  const plans = new Set([node.agent.last()]);
  for (let look = 0; look < 50; look += 1) {
    await delay(20); // 20 s of the node in all: a whole round comes every 30 s
    plans.add(node.agent.last());
  }
  services.states = states;
  expect(plans.size).toBeLessThanOrEqual(2);
  expect(lists).toBeLessThanOrEqual(4);
  const asked = (kind: string): number => (node.text.commands.get(kind) ?? 0) - (commands.get(kind) ?? 0);
  expect(node.agent.rounds() - rounds).toBeGreaterThanOrEqual(5);
  expect(node.published()).toBe(written);
  expect(node.agent.publishedAtMs()).toBeGreaterThan(atMs);
  expect(asked("zfs get all snapshots")).toBeLessThanOrEqual(1);
  expect(asked("zfs get datasets")).toBeLessThanOrEqual(7);
  expect([asked("zfs snapshot"), asked("zfs get look"), asked("zfs send")]).toEqual([0, 0, 0]);
});

test("what is written is in a snapshot, on the copy and published, and no other unit is looked at", async () => {
  const before = published("site-s003")?.snapshots.length ?? 0;
  const [streams, looks] = [node.streams(), node.text.commands.get("zfs get look") ?? 0];
  node.write("site-s003");
  await until("sent", () => node.streams() > streams);
  await until("published", () => (published("site-s003")?.snapshots.length ?? 0) > before);
  expect(published("site-s004")?.snapshots).toHaveLength(before);
  expect((node.text.commands.get("zfs get look") ?? 0) - looks).toBeLessThanOrEqual(4);
});

test("a service that ends is noticed in the next round, and started again", async () => {
  const rounds = node.agent.rounds();
  await node.context.services.stop("site-s002");
  await until("started again", () => node.agent.rounds() > rounds + 1 && node.agent.last()?.input.units.find(({ id }) => id === "site-s002")?.service === "active");
  expect((await node.context.services.states()).get("site-s002")).toBe("active");
});

test("one that was being started while the services were looked at did not end by itself", async () => {
  const { services } = node.context;
  const value = (name: string, unit?: string): number => node.agent.metrics().find((sample) => sample.name === name && (unit === undefined || sample.labels["unit"] === unit))?.value ?? 0;
  const troubles = value("hc_unit_troubles", "site-s004");
  const [states, start] = [services.states.bind(services), services.start.bind(services)];
  let starting = false;
  let starts = 0;
  let seen: () => void = () => undefined;
  const looked = new Promise<void>((resolve) => { seen = resolve; });
  services.start = async (site, stillHere) => {
    starts += 1;
    starting = true;
    await looked;
    await start(site, stillHere);
  };
  // a slow list: made while the site was being started, told when its sequence is over
  services.states = async () => {
    const list = await states();
    if (starting) {
      seen();
      await until("started", () => value("hc_agent_tasks_running") === 0);
      starting = false;
    }
    return list;
  };
  await services.stop("site-s004");
  await looked;
  const rounds = node.agent.rounds();
  await until("looked at again", () => node.agent.rounds() > rounds + 2 && node.agent.last()?.input.units.find(({ id }) => id === "site-s004")?.service === "active");
  expect([value("hc_unit_troubles", "site-s004") - troubles, starts]).toEqual([1, 1]);
  Object.assign(services, { states, start });
});
