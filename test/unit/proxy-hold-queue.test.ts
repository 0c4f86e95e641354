import { HeldRequests } from "../../daemon/proxy/held-requests.js";
import { HoldQueue, type Waiting } from "../../daemon/proxy/hold-queue.js";
import { limits } from "../../daemon/proxy/limits.js";

class Fake implements Waiting {
  public expired = false;
  public constructor(public readonly name: string, private readonly tried: string[], private readonly then: (request: Fake) => void = () => undefined) {}
  public attempt(): void {
    this.tried.push(this.name);
    this.then(this);
  }
  public expire(): void {
    this.expired = true;
  }
}
function filled(count: number, then?: (request: Fake) => void): { queue: HoldQueue; tried: string[]; requests: Fake[] } {
  const queue = new HoldQueue();
  const tried: string[] = [];
  const requests = Array.from({ length: count }, (_, at) => new Fake(String(at), tried, then));
  for (const request of requests) queue.add(request, 0);
  return { queue, tried, requests };
}

test("while nobody takes them the first one asks, alone, and keeps its place", () => {
  const { queue, tried, requests } = filled(3);
  queue.poke();
  queue.poke();
  expect(tried).toEqual(["0"]);
  queue.refused(requests[0] as Fake);
  queue.poke();
  expect([tried, queue.size]).toEqual([["0", "0"], 3]);
});
test("once it is taken the others follow in their order, some at a time", () => {
  const { queue, tried, requests } = filled(limits.tryingPerUnit + 10);
  queue.poke();
  queue.accepted(requests[0] as Fake);
  expect(tried).toEqual(requests.slice(0, limits.tryingPerUnit + 1).map(({ name }) => name));
  for (const request of requests.slice(1, 12)) queue.accepted(request);
  expect([tried.length, queue.waiting]).toEqual([limits.tryingPerUnit + 10, 0]);
});
test("one that is refused goes to its place again, before those behind it", () => {
  const { queue, tried, requests } = filled(4);
  queue.poke();
  queue.accepted(requests[0] as Fake); // 1, 2 and 3 ask
  for (const at of [3, 1, 2]) queue.refused(requests[at] as Fake);
  tried.length = 0;
  queue.poke();
  expect(tried).toEqual(["1"]);
});
test("attempts that are decided at once are a loop, not a recursion", () => {
  const all = 20_000;
  const { queue, tried } = filled(all, (request) => queue.accepted(request));
  queue.poke();
  expect([tried.length, queue.size]).toEqual([all, 0]);
});
test("thousands that are taken at once go in slices: others have their turn between", () => {
  const all = 10 * limits.begunAtOnce + 1;
  const tried: string[] = [];
  let turns = 0;
  const queue = new HoldQueue(() => {
    turns += 1;
  });
  for (let at = 0; at < all; at += 1) queue.add(new Fake(String(at), tried, (request) => queue.accepted(request)), 0);
  queue.poke();
  queue.poke(); // as each answer that ends does
  expect([tried.length, turns]).toEqual([limits.begunAtOnce, 1]);
  for (let turn = 2; turn <= 11; turn += 1) {
    queue.nextTurn();
    expect(turns).toBe(turn);
  }
  expect([tried.length, queue.size]).toEqual([all, 0]);
});
test("where nobody takes them no turn goes on by itself", () => {
  const tried: string[] = [];
  let turns = 0;
  const queue = new HoldQueue(() => {
    turns += 1;
  });
  for (let at = 0; at < 3; at += 1) queue.add(new Fake(String(at), tried, (request) => queue.refused(request)), 0);
  for (let at = 0; at < 2 * limits.begunAtOnce; at += 1) queue.poke();
  expect([tried.length, turns]).toEqual([limits.begunAtOnce, 1]);
  queue.nextTurn();
  expect([tried.length, turns]).toEqual([limits.begunAtOnce + 1, 2]); // what was asked for meanwhile
  queue.nextTurn();
  expect([tried.length, turns]).toEqual([limits.begunAtOnce + 1, 2]);
  expect(new Set(tried)).toEqual(new Set(["0"]));
});
test("when the unit has moved, whoever asks the old home is not waited for", () => {
  const { queue, tried } = filled(3);
  queue.poke();
  queue.poke(true);
  expect(tried).toEqual(["0", "1"]);
});
test("what has waited for too long ends, oldest first; what asks meanwhile is not cut off", () => {
  const { queue, tried, requests } = filled(3);
  const late = new Fake("late", tried);
  queue.add(late, limits.holdMs);
  queue.poke();
  expect(queue.expire(limits.holdMs + 1)).toBe(2);
  expect([...requests, late].map(({ expired }) => expired)).toEqual([false, true, true, false]);
  queue.remove(requests[0] as Fake);
  expect(queue.size).toBe(1);
});
test("one that came back behind others with its first waiting time ends when that is over, not when theirs is", () => {
  const { queue, tried } = filled(0);
  const [late, early] = [new Fake("late", tried), new Fake("early", tried)];
  queue.add(late, limits.holdMs);
  queue.add(early, 0);
  expect([queue.expire(limits.holdMs + 1), early.expired, late.expired, queue.size]).toEqual([1, true, false, 1]);
  queue.poke();
  expect(tried).toEqual(["late"]);
});

test("the first of a unit asks again less and less often while nobody takes it; a unit that has moved is asked for at once, and often again", () => {
  jest.useFakeTimers();
  try {
    const held = new HeldRequests(() => undefined);
    const tried: string[] = [];
    held.add("site-a", new Fake("a", tried, (request) => held.refused("site-a", request)), 0);
    const asks = (ms: number): number => {
      const before = tried.length;
      jest.advanceTimersByTime(ms);
      return tried.length - before;
    };
    const first = asks(1_000);
    expect([first >= 12, first <= 20]).toEqual([true, true]);
    asks(9_000);
    expect(asks(1_000)).toBe(4);
    held.pokeAll(() => true);
    expect(asks(500)).toBeGreaterThanOrEqual(6);
    held.stop();
  } finally {
    jest.useRealTimers();
  }
});
