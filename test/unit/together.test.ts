import { HcError } from "../../daemon/lib/errors.js";
import { Together, TogetherBy } from "../../daemon/lib/together.js";

/** A command that ends when it is told to, with the names that it was given. */
function gated(): { commands: { names: readonly string[]; end(error?: Error): void }[]; together: Together<string, string> } {
  const commands: { names: readonly string[]; end(error?: Error): void }[] = [];
  const together = new Together<string, string>((names) => new Promise((resolve, reject) => commands.push({ names, end: (error) => (error === undefined ? resolve(names.map((name) => `of ${name}`)) : reject(error)) })));
  return { commands, together };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what comes in one turn, or while a command runs, goes together into the next one, and each gets its own answer", async () => {
  const { commands, together } = gated();
  const first = together.call("a");
  await turn();
  const later = ["b", "c", "a"].map((name) => together.call(name));
  expect(commands.map(({ names }) => names)).toEqual([["a"]]);
  commands[0]?.end();
  expect(await first).toBe("of a");
  await turn();
  // "a" again too: what it was told began before it asked
  expect(commands.map(({ names }) => names)).toEqual([["a"], ["b", "c", "a"]]);
  commands[1]?.end();
  expect(await Promise.all(later)).toEqual(["of b", "of c", "of a"]);
  const alone = together.call("d");
  await turn();
  commands[2]?.end();
  expect(await alone).toBe("of d");
});

test("when a command for several fails, each is asked by itself and only the one at fault is told", async () => {
  const { commands, together } = gated();
  void together.call("a");
  await turn();
  const [good, bad] = [together.call("b"), together.call("gone").catch((error: Error) => error.message)];
  commands[0]?.end();
  await turn();
  commands[1]?.end(new Error("gone: dataset does not exist"));
  await turn();
  expect(commands[2]?.names).toEqual(["b"]);
  commands[2]?.end();
  expect(await good).toBe("of b");
  await turn();
  expect(commands[3]?.names).toEqual(["gone"]);
  commands[3]?.end(new Error("gone: dataset does not exist"));
  expect(await bad).toBe("gone: dataset does not exist");
  expect(commands).toHaveLength(4);
});

test("a pool that hangs is waited for once, not once for each name", async () => {
  const { commands, together } = gated();
  void together.call("a");
  await turn();
  const others = ["b", "c"].map((name) => together.call(name).catch((error: Error) => error.message));
  commands[0]?.end();
  await turn();
  commands[1]?.end(new HcError("COMMAND_TIMEOUT", "zfs get: ended at its deadline of 60000 ms."));
  expect(await Promise.all(others)).toEqual(["zfs get: ended at its deadline of 60000 ms.", "zfs get: ended at its deadline of 60000 ms."]);
  await turn();
  expect(commands).toHaveLength(2);
});

test("one command names at most a hundred", async () => {
  const { commands, together } = gated();
  const all = Array.from({ length: 251 }, (_, at) => together.call(`n${at}`));
  for (let at = 0; at < 3; at += 1) {
    await turn();
    commands[at]?.end();
  }
  expect(await Promise.all(all)).toHaveLength(251);
  expect(commands.map(({ names }) => names.length)).toEqual([100, 100, 51]);
});

test("by key: what shares no key shares no command, and a key that nobody waits for is forgotten", async () => {
  const commands: string[] = [];
  const ends: (() => void)[] = [];
  const together = new TogetherBy<string, void>((setting, names) => new Promise((resolve) => {
    commands.push(`${setting} ${names.join(" ")}`);
    ends.push(() => resolve(names.map(() => undefined)));
  }));
  const all = [together.call("a=1", "x"), together.call("a=1", "y"), together.call("a=2", "z")];
  await turn();
  all.push(together.call("a=1", "w"));
  expect(commands).toEqual(["a=1 x y", "a=2 z"]);
  expect(together.keys).toBe(2);
  for (const end of ends.splice(0)) end();
  await turn();
  expect(commands.slice(2)).toEqual(["a=1 w"]);
  expect(together.keys).toBe(1);
  for (const end of ends.splice(0)) end();
  await Promise.all(all);
  expect(together.keys).toBe(0);
});
