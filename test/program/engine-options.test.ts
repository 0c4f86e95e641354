import { rmSync } from "node:fs";
import { testStacks, thing } from "./engine-stack.js";

// an `up` is three processes; on a busy machine that takes its time
jest.setTimeout(120_000);
const newStack = testStacks();

test("protect: neither deleted nor replaced, and nothing else is deleted either", async () => {
  const stack = newStack();
  await stack.up({ resources: [thing("a", { force: "1" }, { protect: true }), thing("b")] });
  stack.done();
  const dropped = await stack.up({ resources: [] });
  expect(dropped).toMatchObject({ result: "failed", diagnostics: [expect.stringMatching(/Thing a: it is protected/)] });
  expect(await stack.up({ resources: [thing("a", { force: "2" }, { protect: true }), thing("b")] })).toMatchObject({ result: "failed" });
  expect((await stack.run("destroy")).result).toBe("failed");
  expect(stack.done()).toEqual([]);
  expect((await stack.up({ resources: [thing("a", { force: "1" }), thing("b")] })).result).toBe("succeeded");
  expect((await stack.run("destroy")).changes.delete).toBe(3);
});

test("retainOnDelete leaves the thing, deletedWith lets it go with another", async () => {
  const stack = newStack();
  await stack.up({ resources: [thing("kept", {}, { retainOnDelete: true }), thing("host"), thing("child", {}, { deletedWith: "host", dependsOn: ["host"] })] });
  stack.done();
  expect((await stack.up({ resources: [] })).changes.delete).toBe(3);
  expect(stack.done()).toEqual(["delete host"]);
  expect(stack.things()).toEqual(["child", "kept"]);
});

test("dependsOn orders creation and deletion", async () => {
  const stack = newStack();
  await stack.up({ resources: [thing("c"), thing("b", {}, { dependsOn: ["c"] }), thing("a", {}, { dependsOn: ["b"] })] });
  expect(stack.done()).toEqual(["create c", "create b", "create a"]);
  await stack.run("destroy");
  expect(stack.done()).toEqual(["delete a", "delete b", "delete c"]);
});

test("ignoreChanges keeps the old value", async () => {
  const stack = newStack();
  await stack.up({ resources: [thing("a", { value: "1", list: [{ x: 1 }, { x: 2 }] }, { ignoreChanges: ["value", "list[0].x"] })] });
  expect(stack.resource("a")?.outputs).toMatchObject({ value: "1", list: [{ x: 1 }, { x: 2 }] });
  expect((await stack.up({ resources: [thing("a", { value: "2", list: [{ x: 9 }, { x: 2 }] }, { ignoreChanges: ["value", "list[0].x"] })] })).changes).toMatchObject({ same: 2 });
  expect((await stack.up({ resources: [thing("a", { value: "2", list: [{ x: 1 }, { x: 2 }] })] })).changes).toMatchObject({ update: 1 });
});

test("aliases: a renamed resource and a renamed parent stay the same things", async () => {
  const stack = newStack();
  await stack.up({ resources: [{ name: "old", component: true }, thing("a", {}, { parent: "old" }), thing("b", { refTo: "a" })] });
  stack.done();
  const result = await stack.up({ resources: [{ name: "new", component: true, opts: { aliases: [{ name: "old" }] } }, thing("a2", { name: "a" }, { parent: "new", aliases: [{ name: "a" }] }), thing("b", { refTo: "a2" })] });
  expect(result).toMatchObject({ result: "succeeded", changes: { create: 0, delete: 0, replace: 0, same: 4 } });
  expect(stack.done()).toEqual([]);
  expect(stack.names()).toEqual(["a2", "b", "default", "demo-dev", "new"]);
  expect(stack.resource("b")?.dependencies).toEqual([stack.resource("a2")?.urn]);
});

test("check's failures name the property and stop before anything is changed", async () => {
  const stack = newStack();
  const result = await stack.up({ resources: [thing("good"), thing("bad", { invalid: "x" }), thing("worse", { invalid: "y" })] });
  expect(result.result).toBe("failed");
  expect([...result.diagnostics].sort()).toEqual(["pulumi-nodejs:dynamic/test:Thing bad: invalid: x cannot be used", "pulumi-nodejs:dynamic/test:Thing worse: invalid: y cannot be used"]);
  expect(stack.done()).toEqual([]);
});

test("two resources of one name are refused", async () => {
  const stack = newStack();
  expect(await stack.up({ resources: [thing("a"), thing("a")] })).toMatchObject({ result: "failed", diagnostics: [expect.stringMatching(/two resources have the type .* and the name a/)] });
});

test("beforeApply stops an operation; its error comes through", async () => {
  const stack = newStack();
  await expect(stack.up({ resources: [thing("a")] }, { beforeApply: () => Promise.reject(new Error("no")) })).rejects.toThrow("no");
  expect(stack.done()).toEqual([]);
});

test("refresh sees drift and loss; up repairs both", async () => {
  const stack = newStack();
  const spec = { resources: [thing("a", { value: "1" }), thing("b", { value: "1" })] };
  await stack.up(spec);
  const { writeFileSync } = await import("node:fs");
  writeFileSync(`${stack.world}/a`, JSON.stringify({ id: "x", value: "drifted" }));
  rmSync(`${stack.world}/b`);
  const refreshed = await stack.run("refresh");
  expect(refreshed.changes).toMatchObject({ update: 1, delete: 1 });
  expect(stack.resource("a")?.outputs?.["value"]).toBe("drifted");
  stack.done();
  const repaired = await stack.up();
  expect(stack.plan.find((step) => step.name === "a")?.diff).toEqual([{ key: "value", kind: "update", old: "drifted", new: "1", forcesReplacement: false }]);
  expect(repaired.changes).toMatchObject({ update: 1, create: 1 });
  expect(stack.things()).toEqual(["a", "b"]);
});
