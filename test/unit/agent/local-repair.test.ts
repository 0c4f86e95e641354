import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BaseWatch } from "../../../daemon/agent/base-watch.js";
import { Troubles } from "../../../daemon/agent/troubles.js";
import type { NodeContext } from "../../../daemon/context.js";
import { createLogger } from "../../../daemon/lib/log.js";
import { DiskProbe } from "../../../daemon/membership/disk-probe.js";
import { SimClock } from "../../support/sim-clock.js";

test("troubles are counted for ten minutes, with the last reason, and are bounded", () => {
  let now = 0;
  const troubles = new Troubles(() => now);
  expect(troubles.of("site-a")).toBeUndefined();
  troubles.add("site-a", "start: one");
  now = 300_000;
  troubles.add("site-a", "check: two");
  expect(troubles.of("site-a")).toEqual({ count: 2, spanS: 300, last: "check: two" });
  now = 600_000;
  expect(troubles.of("site-a")).toEqual({ count: 1, spanS: 0, last: "check: two" });
  now = 900_000;
  expect([troubles.of("site-a"), troubles.counts().size, troubles.total]).toEqual([undefined, 0, 2]);
  troubles.add("site-a", "start: three");
  troubles.retain(new Set(["site-b"])); // it lives elsewhere now
  expect(troubles.of("site-a")).toBeUndefined();
  for (let at = 0; at < 500; at += 1) troubles.add("site-b", "x".repeat(5000));
  expect(troubles.of("site-b")).toEqual({ count: 50, spanS: 0, last: "x".repeat(300) });
});

describe("the web server that all sites share", () => {
  const setup = () => {
    const clock = new SimClock();
    const done = { repairs: 0, broken: 0, events: [] as string[] };
    let [answers, heals] = [true, true];
    const services = {
      baseAnswers: async () => answers,
      repairBase: async () => {
        done.repairs += 1;
        if (!heals) throw new Error("port 8079 is taken");
        answers = true;
      },
    };
    const context = { services, clock, log: createLogger("test", { write: () => undefined }), event: (_unit: string, event: string) => void done.events.push(event), host: { node: "n1" } } as unknown as NodeContext;
    const watch = new BaseWatch({ context, onBroken: () => {
      done.broken += 1;
    } });
    const pass = async (looks: number): Promise<void> => {
      for (let at = 0; at < looks; at += 1) {
        await watch.look();
        await clock.advance(5_000);
      }
    };
    return { done, watch, pass, set: (next: { answers?: boolean; heals?: boolean }) => ([answers, heals] = [next.answers ?? answers, next.heals ?? heals]) };
  };
  test("one look without an answer is nothing; the second starts it anew, once", async () => {
    const { done, watch, pass, set } = setup();
    set({ answers: false });
    await pass(1);
    expect(done.repairs).toBe(0);
    await pass(5);
    expect(done).toEqual({ repairs: 1, broken: 0, events: ["web-server-restarted"] });
    expect(watch.problem()).toBe("");
  });
  test("what does not help is tried less and less often, a person is told, and the sites are looked at anew", async () => {
    const { done, watch, pass, set } = setup();
    set({ answers: false, heals: false });
    await pass(120); // ten minutes
    expect(done.repairs).toBeGreaterThan(3);
    expect(done.repairs).toBeLessThan(20);
    expect(done.broken).toBe(done.repairs);
    expect(watch.problem()).toContain("port 8079 is taken");
    set({ heals: true });
    await pass(60);
    expect(watch.problem()).toBe("");
  });
});

test("a probe without its mount fails and writes nothing below it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-probe-"));
  const probe = DiskProbe.onMount(join(folder, ".probe"), new SimClock());
  await probe.probe();
  expect(probe.problem()).toContain("nothing is mounted on");
  expect(readdirSync(folder)).toEqual([]);
  rmSync(folder, { recursive: true });
  // /dev/shm and /proc are mounts of their own on every Linux
  const mounted = DiskProbe.onMount("/dev/shm/.hc-probe-test", new SimClock());
  await mounted.probe();
  expect(mounted.problem()).toBe("");
  rmSync("/dev/shm/.hc-probe-test");
});
