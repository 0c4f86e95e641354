import { nodeFacts, poolRests } from "../../../daemon/membership/node-facts.js";
import { ZfsChanges } from "../../../daemon/zfs/changes.js";

const pool = (freeBytes: number) => ({ name: "hpool", dataset: "hpool/hc", guid: "1", health: "ONLINE", sizeBytes: "1000000", freeBytes: String(freeBytes) });

test("a pool is looked at more seldom while its free space hardly changes and there is much of it", () => {
  expect(poolRests(pool(500_000), pool(501_000))).toBe(true);
  expect(poolRests(pool(500_000), null)).toBe(false); // the first look
  expect(poolRests(pool(500_000), pool(510_000))).toBe(false); // it fills
  expect(poolRests(pool(510_000), pool(500_000))).toBe(false);
  expect(poolRests(pool(199_000), pool(199_000))).toBe(false); // little is left
});

test("a command that is refused for want of room shows what is known of the pool to be old, once; a full pool explains it", async () => {
  let [nowMs, free, looks] = [0, 900_000, 0];
  const runner = {
    run: async (argv: readonly string[]) => {
      if (argv[0] === "zfs") looks += 1;
      return { code: 0, signal: null, stderr: "", durationMs: 1, stdout: argv[0] === "zfs" ? `used\t${1_000_000 - free}\navailable\t${free}\nguid\t1\n` : "ONLINE\n" };
    },
  };
  const changes = new ZfsChanges();
  const context = { cluster: { dataset: "hpool/hc" }, runner, changes, clock: { monotonicMs: () => nowMs } } as unknown as Parameters<typeof nodeFacts>[0];
  const facts = nodeFacts(context, {} as Parameters<typeof nodeFacts>[1]);
  const seen = async (atMs: number): Promise<[number, number]> => {
    nowMs = atMs;
    return [Number((await facts.pool())?.freeBytes), looks];
  };
  expect(await seen(0)).toEqual([900_000, 1]);
  expect(await seen(10_000)).toEqual([900_000, 2]);
  free = 10_000;
  expect(await seen(22_000)).toEqual([900_000, 2]); // it rests
  changes.refusals += 1;
  expect(await seen(24_000)).toEqual([10_000, 3]);
  changes.refusals += 1;
  expect(await seen(26_000)).toEqual([10_000, 3]);
  free = 500_000;
  expect(await seen(34_000)).toEqual([500_000, 4]);
  expect(await seen(36_000)).toEqual([500_000, 4]); // nothing was refused since
});
