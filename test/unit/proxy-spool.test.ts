import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { limits } from "../../daemon/proxy/limits.js";
import { Spool, SpoolRoom } from "../../daemon/proxy/spool.js";

let room: SpoolRoom;
beforeEach(() => {
  room = new SpoolRoom(mkdtempSync(join(tmpdir(), "hc-spool-")));
});
afterEach(() => rmSync(room.folder as string, { recursive: true, force: true }));

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
