import { poolRests } from "../../../daemon/membership/node-facts.js";

const pool = (freeBytes: number) => ({ name: "hpool", dataset: "hpool/hc", guid: "1", health: "ONLINE", sizeBytes: "1000000", freeBytes: String(freeBytes) });

test("a pool is looked at more seldom while its free space hardly changes and there is much of it", () => {
  expect(poolRests(pool(500_000), pool(501_000))).toBe(true);
  expect(poolRests(pool(500_000), null)).toBe(false); // the first look
  expect(poolRests(pool(500_000), pool(510_000))).toBe(false); // it fills
  expect(poolRests(pool(510_000), pool(500_000))).toBe(false);
  expect(poolRests(pool(199_000), pool(199_000))).toBe(false); // little is left
});
