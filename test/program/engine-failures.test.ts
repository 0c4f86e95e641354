import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../daemon/lib/backoff.js";
import { childrenOf } from "../support/hc-process.js";
import { testStacks, thing, type Spec } from "./engine-stack.js";

// an `up` is three processes; on a busy machine that takes its time
jest.setTimeout(120_000);
const newStack = testStacks();

test.each<[string, Partial<Spec>]>([["throws", { throws: "boom" }], ["rejects", { reject: "boom" }], ["exits", { exit: 0 }]])("a program that %s keeps everything", async (_how, fault) => {
  const stack = newStack();
  await stack.up({ resources: [thing("a"), thing("b")], outputs: { x: { value: "kept" } } });
  stack.done();
  const before = stack.stateText();
  const result = await stack.up({ resources: [thing("a")], outputs: { x: { value: "new" } }, ...fault });
  expect(result.result).toBe("failed");
  expect(result.outputs).toEqual({ x: "kept" });
  expect(stack.done()).toEqual([]);
  expect(stack.stateText()).toBe(before);
});

test("a failed create stops what comes after it, and the next up goes on", async () => {
  const stack = newStack();
  const spec = (fault: Record<string, unknown>) => ({ resources: [thing("a"), thing("b", { refTo: "a", ...fault }), thing("c", { refTo: "b" })] });
  await stack.up({ resources: [thing("gone")] });
  stack.done();
  const result = await stack.up(spec({ failCreate: "no room" }));
  expect(result).toMatchObject({ result: "failed", diagnostics: ["pulumi-nodejs:dynamic/test:Thing b: no room"] });
  expect(stack.done()).toEqual(["create a"]);
  expect(stack.names()).toEqual(["a", "default", "demo-dev", "gone"]);
  expect((await stack.up(spec({}))).changes).toMatchObject({ create: 2, delete: 1, same: 2 });
  expect(stack.done()).toEqual(["create b", "create c", "delete gone"]);
});

test("a half-made resource is kept and repaired by update; it can be destroyed", async () => {
  const stack = newStack();
  expect((await stack.up({ resources: [thing("a", { partial: true })] })).result).toBe("failed");
  expect(stack.resource("a")).toMatchObject({ initErrors: ["not ready"], outputs: { half: true } });
  expect(stack.latest().pending_operations).toBeUndefined();
  expect(stack.done()).toEqual([]);
  expect(await stack.up()).toMatchObject({ result: "succeeded", changes: { update: 1 } });
  expect(stack.said()).toContain("half-made");
  expect(stack.done()).toEqual(["update a"]);
  expect(stack.resource("a")?.initErrors).toBeUndefined();
  expect((await stack.run("destroy")).result).toBe("succeeded");
  expect(stack.things()).toEqual([]);
});

test("a failed delete keeps the resource and what it stands on", async () => {
  const stack = newStack();
  await stack.up({ resources: [thing("a"), thing("b", { refTo: "a" })] });
  writeFileSync(join(stack.world, "refuse-b"), "");
  expect((await stack.run("destroy")).result).toBe("failed");
  expect(stack.names()).toContain("a");
  rmSync(join(stack.world, "refuse-b"));
  expect((await stack.run("destroy")).result).toBe("succeeded");
  expect(stack.latest().resources).toBeUndefined();
});

test("Ctrl-C: the running step ends, nothing new starts, the state is saved, the next up goes on", async () => {
  const stack = newStack();
  const go = join(stack.dir, "go");
  const { child, result } = stack.start("up", { resources: [thing("a", { waitFor: go }), thing("b", { refTo: "a" })] });
  await stack.begun("a");
  child.kill("SIGINT");
  stack.touch("go");
  expect(await result).toMatchObject({ result: "cancelled" });
  expect(stack.done()).toEqual(["create a"]);
  expect(stack.names()).toContain("a");
  expect(stack.exists(stack.journal)).toBe(false);
  expect((await stack.up()).changes).toMatchObject({ create: 1, same: 2 });
  expect(stack.done()).toEqual(["create b"]);
});

test("giving up leaves the begun operation in the state", async () => {
  const stack = newStack();
  const hard = new AbortController();
  const running = stack.up({ resources: [thing("a", { waitFor: join(stack.dir, "go") })] }, { hardSignal: hard.signal });
  await stack.begun("a");
  hard.abort();
  expect((await running).result).toBe("failed");
  expect(stack.latest().pending_operations).toMatchObject([{ type: "creating" }]);
  stack.touch("go");
  expect((await stack.up()).changes.create).toBe(1);
});

test("kill -9 in the middle of a create: the next up takes it up again, and nothing is made twice", async () => {
  const stack = newStack();
  const go = join(stack.dir, "go");
  const { child, result } = stack.start("up", { resources: [thing("first"), thing("a", { waitFor: go, refTo: "first" })] });
  await stack.begun("a");
  const helpers = childrenOf(child.pid as number, "pulumi");
  expect(helpers.length).toBe(2);
  child.kill("SIGKILL");
  await expect(result).rejects.toThrow("killed");
  // program and provider end with their engine: no step goes on beside the next operation
  await until("the end of program and provider", { withinMs: 10_000 }, async () => (helpers.some((pid) => existsSync(`/proc/${pid}/stat`)) ? undefined : true));
  const made = readFileSync(join(stack.world, "a"), "utf8");
  expect(stack.exists(stack.journal)).toBe(true);
  stack.touch("go");
  const again = await stack.up();
  expect(again).toMatchObject({ result: "succeeded", changes: { create: 1, same: 2 } });
  expect(stack.said()).toContain("its creation was cut off; it is taken up again");
  expect(stack.resource("a")?.id).toBe((JSON.parse(made) as { id: string }).id);
  expect(stack.latest().pending_operations).toBeUndefined();
  expect(stack.exists(stack.journal)).toBe(false);
});

test("kill -9 in the middle of a create that nobody wants any more: destroy finds and removes it", async () => {
  const stack = newStack();
  const go = join(stack.dir, "go");
  const { child, result } = stack.start("up", { resources: [thing("a", { waitFor: go })] });
  await stack.begun("a");
  child.kill("SIGKILL");
  await expect(result).rejects.toThrow("killed");
  stack.touch("go");
  expect((await stack.run("destroy")).result).toBe("succeeded");
  expect(stack.things()).toEqual([]);
  expect(stack.latest()).not.toHaveProperty("pending_operations");
});

test("a lock of a living process refuses, one of a dead process is removed", async () => {
  const stack = newStack();
  const go = join(stack.dir, "go");
  const first = stack.up({ resources: [thing("a", { waitFor: go })] });
  await stack.begun("a");
  await expect(stack.start("up").result).resolves.toEqual({ thrown: "LOCKED" });
  // a preview only looks
  expect((await stack.start("preview").result).result).toBe("succeeded");
  stack.touch("go");
  await first;
  const locks = join(stack.dir, "ws", "state", ".pulumi", "locks", "organization", "demo", "dev");
  expect(readdirSync(locks)).toEqual([]);
  const { hostname } = await import("node:os");
  writeFileSync(join(locks, "0.json"), JSON.stringify({ pid: 2 ** 22 + 1, username: "x", hostname: hostname(), timestamp: "" }));
  expect((await stack.up()).result).toBe("succeeded");
  expect(readdirSync(locks)).toEqual([]);
});
