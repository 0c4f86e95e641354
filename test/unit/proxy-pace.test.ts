import { limits } from "../../daemon/proxy/limits.js";
import { makesPlace, Pace } from "../../daemon/proxy/pace.js";
import { Spool, SpoolRoom } from "../../daemon/proxy/spool.js";

const mib = 1024 ** 2;
// 600 s for all that it keeps
test.each<[string, number, number, number, boolean]>([
  ["nothing of it is scarce", 0, 0, 30_000, false],
  ["nothing came", 1, 0, 30_000, true],
  ["just fast enough", 20 * mib, mib, 30_000, false],
  ["a byte too slow", 20 * mib, mib - 1, 30_000, true],
  ["the same pace over a longer time", 20 * mib, 2 * mib, 60_000, false],
  ["the same bytes in a longer time", 20 * mib, mib, 60_000, true],
  ["a small one that trickles", 1000, 50, 30_000, false],
  ["a large one at the pace of a small one", 1024 * mib, mib, 30_000, true],
])("%s: %d bytes kept, %d came in %d ms: makes place: %s", (_, scarceBytes, cameBytes, tookMs, expected) => {
  expect(makesPlace(scarceBytes, cameBytes, tookMs)).toBe(expected);
});

test("a body is judged by the pace of its last turn, not by what it was before or while there was room", () => {
  const body = { size: 0, scarceBytes: 0 };
  const pace = new Pace(body, 0);
  const comes = (bytes: number, nowMs: number, scarce: boolean): boolean => {
    body.size += bytes;
    body.scarceBytes = scarce ? body.size : 0;
    return pace.isTooSlow(nowMs);
  };
  expect(comes(20 * mib, 1_000, true)).toBe(false);
  expect(comes(0, limits.paceMs - 1, true)).toBe(false);
  expect(comes(0, limits.paceMs, true)).toBe(false); // all of it came in this turn
  expect(comes(1, 2 * limits.paceMs, false)).toBe(false); // there is room
  expect(comes(2 * mib, 3 * limits.paceMs, true)).toBe(false);
  expect(comes(mib, 4 * limits.paceMs - 1, true)).toBe(false);
  expect(comes(0, 4 * limits.paceMs, true)).toBe(true);
});
test("time in which its sender was made to wait is not his", () => {
  const body = { size: 20 * mib, scarceBytes: 20 * mib };
  const pace = new Pace(body, 0);
  expect(pace.isTooSlow(limits.paceMs)).toBe(false);
  body.size += mib;
  pace.pause(limits.paceMs + 1_000);
  pace.resume(10 * limits.paceMs + 1_000);
  expect(pace.isTooSlow(11 * limits.paceMs - 1)).toBe(false);
  expect(pace.isTooSlow(11 * limits.paceMs)).toBe(false);
  pace.pause(11 * limits.paceMs);
  pace.resume(12 * limits.paceMs);
  expect(pace.isTooSlow(13 * limits.paceMs)).toBe(true);
});
test("scarce is what lies where most of the room of all is taken: in memory, on disk, or both", () => {
  const room = new SpoolRoom(undefined);
  const spool = new Spool(room);
  spool.append(Buffer.alloc(1000));
  const inMemory = room.memory;
  const at = (memory: number, disk: number): number => {
    Object.assign(room, { memory, disk });
    return spool.scarceBytes;
  };
  const [mostMemory, mostDisk] = [limits.spoolFullShare * limits.spoolMemory, limits.spoolFullShare * limits.spoolDisk];
  expect([at(mostMemory, mostDisk), at(mostMemory + 1, 0), at(0, mostDisk + 1)]).toEqual([0, 1000, 0]);
  Object.assign(room, { memory: inMemory, disk: 0 });
  spool.close();
  expect(room.memory).toBe(0);
});
