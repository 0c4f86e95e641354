import { testStacks, thing } from "./engine-stack.js";

// an `up` is three processes; on a busy machine that takes its time
jest.setTimeout(120_000);
const newStack = testStacks();

test("create, no change, update, drop, destroy", async () => {
  const stack = newStack();
  const group = { name: "g", component: true };
  const first = await stack.up({ resources: [group, thing("a", { value: "1" }, { parent: "g" }), thing("b", { refTo: "a" })], outputs: { b: { of: "b", field: "made" } } });
  expect(first).toMatchObject({ result: "succeeded", changes: { create: 4, update: 0, replace: 0, delete: 0, same: 0 }, outputs: { b: "made-b-" } });
  expect(stack.done()).toEqual(["create a", "create b"]);
  expect(stack.resource("a")?.parent).toMatch(/test:index:Group::g$/);
  expect(stack.resource("g")).toMatchObject({ custom: false, outputs: { told: "g" } });

  const before = stack.stateText();
  expect(await stack.up()).toMatchObject({ result: "succeeded", changes: { create: 0, same: 4 }, outputs: { b: "made-b-" } });
  expect(stack.done()).toEqual([]);
  expect(stack.stateText()).toBe(before);

  const changed = await stack.up({ resources: [group, thing("a", { value: "2" }, { parent: "g" }), thing("b", { refTo: "a" })], outputs: {} });
  expect(stack.plan.find((step) => step.name === "a")).toMatchObject({ op: "update", diff: [{ key: "value", kind: "update", old: "1", new: "2", forcesReplacement: false }] });
  expect(changed.changes).toMatchObject({ update: 2, same: 2 });
  expect(stack.done()).toEqual(["update a", "update b"]);
  expect(stack.resource("b")?.outputs?.["ref"]).toBe("made-a-2");
  expect(stack.resource("demo-dev")?.outputs).toEqual({});

  expect((await stack.up({ resources: [group] })).changes).toMatchObject({ delete: 2, same: 2 });
  expect(stack.done()).toEqual(["delete b", "delete a"]);

  expect(await stack.run("destroy")).toMatchObject({ result: "succeeded", changes: { delete: 2 } });
  expect(stack.latest().resources).toBeUndefined();
  expect(stack.things()).toEqual([]);
});

test("a dynamic resource with a serialized closure", async () => {
  const stack = newStack();
  const spec = { closure: true, resources: [thing("a", { value: "1" })], outputs: { made: { of: "a", field: "made" } } };
  expect(await stack.up(spec)).toMatchObject({ result: "succeeded", changes: { create: 2 }, outputs: { made: "made-a-1" } });
  expect(stack.resource("a")?.outputs?.["__provider"]).toContain("ENGINE_PROVIDER");
  expect((await stack.run("destroy")).result).toBe("succeeded");
  expect(stack.done()).toEqual(["create a", "delete a"]);
});

test("a preview changes nothing and announces what up does", async () => {
  const stack = newStack();
  expect(await stack.run("preview", { resources: [thing("a"), thing("b", { refTo: "a" })] })).toMatchObject({ result: "succeeded", changes: { create: 3 } });
  expect(stack.done()).toEqual([]);
  expect(stack.exists(stack.stateFile)).toBe(false);
  expect(stack.plan.find((step) => step.name === "b")?.diff).toContainEqual({ key: "ref", kind: "add", new: "[unknown]", forcesReplacement: false });
  const announced = stack.ops();
  await stack.up();
  expect(stack.ops()).toEqual(announced);
});

test("replace: the new one first, its dependents follow, the old one goes last", async () => {
  const stack = newStack();
  await stack.up({ resources: [thing("a", { force: "1" }), thing("b", { refTo: "a", refField: "id" })] });
  stack.done();
  const result = await stack.up({ resources: [thing("a", { force: "2" }), thing("b", { refTo: "a", refField: "id" })] });
  expect(stack.plan.find((step) => step.name === "a")?.diff).toEqual([{ key: "force", kind: "update", old: "1", new: "2", forcesReplacement: true }]);
  expect(result.changes).toMatchObject({ replace: 1, update: 1, delete: 0 });
  expect(stack.done()).toEqual(["create a", "update b", "delete a@1"]);
  expect(stack.things()).toEqual(["a@2", "b"]);
  expect(stack.names()).toEqual(["a", "b", "default", "demo-dev"]);
});

test("deleteBeforeReplace takes along the dependents that would be replaced", async () => {
  const stack = newStack();
  const spec = (force: string) => ({ resources: [thing("a", { force, first: true }), thing("b", { refTo: "a", refField: "id", refForces: true, first: true }), thing("c", { refTo: "a", refField: "id" })] });
  await stack.up(spec("1"));
  stack.done();
  const result = await stack.up(spec("2"));
  expect(result.changes).toMatchObject({ replace: 2, update: 1 });
  expect(stack.done().slice(0, 3)).toEqual(["delete b", "delete a@1", "create a"]);
  expect(stack.things()).toEqual(["a@2", "b", "c"]);
  expect(stack.latest().resources?.some((record) => record.pendingReplacement === true)).toBe(false);
});

test("replaceOnChanges works where the engine compares, replaceWith follows another replacement", async () => {
  const stack = newStack();
  const spec = (value: string) => ({ resources: [thing("a", { value, engineDiff: true }, { replaceOnChanges: ["value"] }), thing("b", {}, { replaceWith: ["a"] })] });
  await stack.up(spec("1"));
  expect((await stack.up(spec("2"))).changes).toMatchObject({ replace: 2 });
});

test("independent steps run at the same time, within the limit", async () => {
  const stack = newStack();
  const go = `${stack.dir}/go`;
  const names = ["a", "b", "c"];
  const running = stack.up({ resources: names.map((name) => thing(name, { waitFor: go })) }, { parallel: 3 });
  await Promise.all(names.map((name) => stack.begun(name)));
  stack.touch("go");
  expect((await running).changes.create).toBe(4);
});
