import { absentBeats, beatMs, silentBeats, WorkerWatch } from "../../daemon/proxy/worker-watch.js";

function setup(names = ["one"]) {
  const restarts: string[] = [];
  let ended: () => void = () => undefined;
  const watch = new WorkerWatch<string>(names, (name, why) => {
    restarts.push(names.length === 1 ? why : `${name} ${why}`);
    return new Promise<void>((resolve) => {
      ended = resolve;
    });
  });
  const beats = (count: number): void => {
    for (let at = 0; at < count; at += 1) watch.beat();
  };
  const end = async (): Promise<void> => {
    ended();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { watch, restarts, beats, end };
}

test("a worker that says something is left alone; one that was silent for 10 s is started anew, once", async () => {
  const { watch, restarts, beats, end } = setup();
  watch.joined("a", "one");
  for (let at = 0; at < 20; at += 1) {
    beats(silentBeats - 1);
    watch.heard("a");
  }
  expect(restarts).toEqual([]);
  beats(silentBeats);
  expect(restarts).toEqual(["gave no sign for 10 s"]);
  beats(1000); // it is under way
  expect(restarts).toHaveLength(1);
  watch.left("a");
  await end();
  watch.joined("b", "one");
  watch.heard("b");
  expect(watch.restarts).toBe(1);
});

test("the silence of a worker that has left counts no more, that of another one does", () => {
  const { watch, restarts, beats } = setup();
  watch.joined("a", "one");
  watch.joined("b", "one");
  beats(silentBeats - 1);
  watch.left("a");
  watch.heard("b");
  beats(silentBeats - 1);
  expect(restarts).toEqual([]);
  beats(1);
  expect(restarts).toHaveLength(1);
});

test("one that hangs again after each start is started anew with growing pauses, until it was well for ten minutes", async () => {
  const { watch, restarts, beats, end } = setup();
  const again = async (): Promise<number> => {
    let count = 0;
    watch.joined("a", "one");
    watch.heard("a");
    for (const before = restarts.length; restarts.length === before && count < 10_000; count += 1) beats(1);
    watch.left("a");
    await end();
    return (count * beatMs) / 1000;
  };
  const pauses: number[] = [];
  for (let round = 0; round < 7; round += 1) pauses.push(await again());
  expect(pauses[0]).toBe(10);
  expect(pauses.at(-1)).toBeGreaterThan(100);
  watch.joined("a", "one");
  for (let at = 0; at < 2_400; at += 1) {
    watch.heard("a");
    beats(1);
  }
  watch.left("a");
  expect([await again(), (await again()) <= 30]).toEqual([10, true]);
});
test("where none comes for 30 s it is started anew; while that does not help, with growing pauses", async () => {
  const { restarts, beats, end } = setup();
  beats(absentBeats - 1);
  expect(restarts).toEqual([]);
  beats(1);
  expect(restarts).toEqual(["was not there for 30 s"]);
  const pauses: number[] = [];
  for (let round = 2; round < 8; round += 1) {
    await end();
    let count = 0;
    for (; restarts.length < round && count < 10_000; count += 1) beats(1);
    pauses.push((count * beatMs) / 1000);
  }
  expect(pauses[0]).toBeLessThanOrEqual(31);
  expect(Math.max(...pauses)).toBeLessThanOrEqual(301);
  expect(pauses.at(-1)).toBeGreaterThan(100);
});
test("of several, the one that hangs is started anew, and those that are well are not", () => {
  const { watch, restarts, beats } = setup(["one", "two"]);
  watch.joined("a", "one");
  watch.joined("b", "two");
  for (let at = 0; at < 2 * silentBeats; at += 1) {
    watch.heard("b");
    beats(1);
  }
  expect(restarts).toEqual(["one gave no sign for 10 s"]);
});
test("of several, the one that never came is started anew", () => {
  const { watch, restarts, beats } = setup(["one", "two"]);
  for (let at = 0; at < absentBeats; at += 1) {
    if (at === 0) watch.joined("b", "two");
    watch.heard("b");
    beats(1);
  }
  expect(restarts).toEqual(["one was not there for 30 s"]);
});
