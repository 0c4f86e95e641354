import { randomBytes } from "node:crypto";
import fs, { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { limits } from "../../daemon/proxy/limits.js";
import { Spool, SpoolRoom } from "../../daemon/proxy/spool.js";
import { until } from "../support/proxy-pair.js";

let room: SpoolRoom;
beforeEach(() => {
  room = new SpoolRoom(mkdtempSync(join(tmpdir(), "hc-spool-")));
});
afterEach(() => {
  jest.restoreAllMocks();
  rmSync(room.folder as string, { recursive: true, force: true });
});

/** The disk takes nothing until what is returned is called. `asked`: writes that wait for it. */
function stillDisk(): { asked(): number; goOn(): void } {
  const { write } = fs;
  const waiting: (() => void)[] = [];
  const still = jest.spyOn(fs, "write").mockImplementation(((...args: Parameters<typeof write>) => void waiting.push(() => write(...args))) as never);
  return {
    asked: () => waiting.length,
    goOn: () => {
      still.mockRestore();
      for (const go of waiting.splice(0)) go();
    },
  };
}

/** All of it, as it comes. */
async function readAll(spool: Spool): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = 0; at < spool.size; ) {
    const part = await new Promise<Buffer | undefined>((resolve) => spool.read(at, resolve));
    if (spool.error !== undefined) throw spool.error;
    if (part === undefined) {
      await new Promise<void>((resolve) => spool.onChange(resolve));
      continue;
    }
    parts.push(Buffer.from(part));
    at += part.length;
  }
  return Buffer.concat(parts);
}

test("small pieces that come while the first large one is on its way to the file stay behind it", async () => {
  const spool = new Spool(room);
  const pieces = [randomBytes(limits.spoolMemoryPerRequest - 60_000), randomBytes(4 * 1024 * 1024)];
  for (const piece of pieces) expect(spool.append(piece)).toBe(true);
  // one at each turn until all is on the disk: also while the file is opened and written to for the first time
  for (let left = 200; left > 0; left -= 1) {
    const piece = randomBytes(250);
    pieces.push(piece);
    expect(spool.append(piece)).toBe(true);
    await new Promise(setImmediate);
  }
  expect((await readAll(spool)).equals(Buffer.concat(pieces))).toBe(true);
  spool.close();
  expect([room.memory, room.disk]).toEqual([0, 0]);
});

test("while the disk stands still a body that is not wanted any more takes no memory, and what it had on its way is not taken off twice", async () => {
  const disk = stillDisk();
  const [given, kept] = [new Spool(room), new Spool(room)];
  for (const spool of [given, kept]) spool.append(randomBytes(limits.spoolMemoryPerRequest + 1)); // to the file at once
  await until(() => disk.asked() === 2);
  given.append(randomBytes(1000));
  expect(room.unsaved).toBe(2 * (limits.spoolMemoryPerRequest + 1) + 1000);
  given.close();
  expect([room.unsaved, room.disk]).toEqual([limits.spoolMemoryPerRequest + 1, limits.spoolMemoryPerRequest + 1]);
  disk.goOn();
  await until(() => room.unsaved === 0);
  expect((await readAll(kept)).length).toBe(limits.spoolMemoryPerRequest + 1);
  kept.close();
  expect(room).toMatchObject({ memory: 0, disk: 0, unsaved: 0 });
});

test("while the disk stands still all bodies together wait for it, not only each one: those that have something before it are congested, until it goes on", async () => {
  const disk = stillDisk();
  const bytes = limits.spoolMemoryPerRequest + 1;
  jest.replaceProperty(limits, "spoolUnsaved", (3 * bytes) as never);
  const spools = Array.from({ length: 4 }, () => new Spool(room));
  const congested = (): boolean[] => spools.map((spool) => spool.congested);
  for (const spool of spools.slice(0, 3)) spool.append(randomBytes(bytes));
  expect(congested()).toEqual([false, false, false, false]);
  spools[0]?.append(Buffer.from("x"));
  // the last one has nothing there: nobody would wake it
  expect(congested()).toEqual([true, true, true, false]);
  const woken = Promise.all(spools.slice(0, 3).map((spool) => new Promise<void>((resolve) => spool.onChange(resolve))));
  await until(() => disk.asked() === 3);
  disk.goOn();
  await woken;
  await until(() => room.unsaved === 0);
  expect(congested()).toEqual([false, false, false, false]);
  for (const spool of spools) spool.close();
});

test("many small pieces before the disk are too much, however few their bytes are", async () => {
  const disk = stillDisk();
  const spool = new Spool(room);
  spool.append(randomBytes(limits.spoolMemoryPerRequest + 1));
  await until(() => disk.asked() === 1);
  for (let count = 0; count < limits.spoolUnsavedPieces; count += 1) spool.append(Buffer.from("x"));
  expect(spool.congested).toBe(false);
  spool.append(Buffer.from("x"));
  expect(spool.congested).toBe(true);
  disk.goOn();
  await until(() => room.unsaved === 0);
  expect(spool.congested).toBe(false);
  spool.close();
});

test("a filesystem with hardly any room left takes no body, and takes them again when there is some", () => {
  const gib = 1024 ** 3;
  const disk = { bsize: 1, blocks: 100 * gib, bavail: gib };
  jest.spyOn(fs, "statfs").mockImplementation(((_path: string, done: (error: null, seen: object) => void) => done(null, disk)) as never);
  jest.replaceProperty(limits, "spoolLookMs", -1 as never);
  const spool = new Spool(room);
  expect(spool.append(randomBytes(1000))).toBe(true); // in memory
  expect([spool.append(randomBytes(limits.spoolMemoryPerRequest)), room.disk]).toEqual([false, 0]);
  disk.bavail = 3 * gib;
  expect(spool.append(randomBytes(limits.spoolMemoryPerRequest))).toBe(true);
  // of a small one a tenth is enough
  Object.assign(disk, { blocks: 4 * gib, bavail: gib / 2 });
  expect(spool.append(randomBytes(1000))).toBe(true);
  spool.close();
});
